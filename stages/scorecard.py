"""One image's metrics under names that are the same for every image: metrics/scorecard.json, for `dvc metrics diff`.

Which image: `image` in params.yaml. And the curves of all of them: metrics/curves.csv, for `dvc plots`.

    python -m stages.scorecard
"""

from stages import codec, records
from stages.errors import run_entry
from stages.harness.params import schema
from stages.harness.process.dvc_lock import dvc_stage
from stages.harness.results import scorecard


@dvc_stage
def main() -> int:
    """Write metrics/scorecard.json and the curves from metrics/comparison.json."""
    for path in (records.SCORECARD_PATH, records.CURVES_PATH):
        path.unlink(missing_ok=True)
    wanted = schema.load()
    compared = codec.read(records.COMPARISON_PATH, records.Comparison)
    codec.write_text(records.SCORECARD_PATH, scorecard.card(compared, wanted.image))
    codec.write_text(records.CURVES_PATH, scorecard.curves(compared, wanted.images))
    return 0


if __name__ == "__main__":
    run_entry(main)
