"""One image's figures under names that are the same for every image: metrics/scorecard.json, for `dvc metrics diff`.
Which image: `image` in params.yaml. And the curves of all of them: metrics/curves.csv, for `dvc plots`.

    python -m stages.scorecard
"""

from stages import codec, records
from stages.errors import run_entry
from stages.harness.params import schema
from stages.harness.process.signals import stop_signals
from stages.harness.results import scorecard
from stages.harness.results.read import read_all


@stop_signals()
def main() -> int:
    for path in (records.SCORECARD_PATH, records.CURVES_PATH):
        path.unlink(missing_ok=True)
    wanted = schema.load()
    results = read_all(wanted)
    codec.write_text(records.SCORECARD_PATH, scorecard.card(results, wanted.image))
    codec.write_text(records.CURVES_PATH, scorecard.curves(results, wanted.images))
    return 0


if __name__ == "__main__":
    run_entry(main)
