"""One image's figures under names that are the same for every image: metrics/scorecard.json, for `dvc metrics diff`,
and its loss curves, metrics/curves.csv, for `dvc plots diff`. Which image: `image` in params.yaml.

    python -m stages.scorecard
"""

from stages import codec, records
from stages.errors import run_entry
from stages.harness import cells, params, scorecard
from stages.harness.signals import stop_signals


@stop_signals()
def main() -> int:
    for path in (records.SCORECARD_PATH, records.CURVES_PATH):
        path.unlink(missing_ok=True)
    wanted = params.load()
    card, curves = scorecard.of_image(cells.read_all(wanted), wanted.image)
    codec.write_text(records.SCORECARD_PATH, card)
    codec.write_text(records.CURVES_PATH, curves)
    return 0


if __name__ == "__main__":
    run_entry(main)
