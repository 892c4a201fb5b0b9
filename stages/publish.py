"""Show the table, record one DVC experiment per image, for `dvc metrics diff IMAGE IMAGE`, and say what to commit.

It is what `make repro` ends with.

    python -m stages.publish
"""

import sys

from rich.console import Console

from stages import codec, records
from stages.errors import FaceoffError, run_entry
from stages.harness.params import schema
from stages.harness.params.overrides import merged
from stages.harness.pipeline import experiments, revisions
from stages.harness.process.signals import stop_signals
from stages.harness.report import table
from stages.harness.results import scorecard

TRACKED = ("metrics", "dvc.lock", "params.yaml")


@stop_signals()
def main() -> int:
    """Show the table, then record an experiment for each image."""
    wanted = schema.load()
    compared = codec.read(records.COMPARISON_PATH, records.Comparison)
    console = Console()
    table.show(compared, console)
    lines = ["", f"Results: metrics/, and as a page {records.PAGE_PATH}."]
    try:
        lines.append(table.how_to_diff([publish(image, compared) for image in wanted.images]))
    except FaceoffError as error:
        lines.append(f"No DVC experiments, so no `dvc metrics diff` of images: {error}.")
    changed = revisions.uncommitted(TRACKED)
    if changed:
        lines.append(f"To keep them in git: git add {' '.join(changed)} && git commit")
    for line in lines:
        console.print(line, markup=False, highlight=False, soft_wrap=True)
    return 0


def publish(image: str, compared: records.Comparison) -> str:
    """Record the image's experiment, and warn of what hides it; the experiment's name."""
    files = {
        schema.PARAMS_PATH: merged(schema.PARAMS_PATH.read_text(encoding="utf-8"), {"image": image}),
        records.SCORECARD_PATH: scorecard.card(compared, image),
        records.CURVES_PATH: scorecard.curves(compared, [image]),  # its own alone, for `dvc plots diff`
    }
    name = experiments.publish(image, files, TRACKED)
    hidden = experiments.hidden_by(name)
    if hidden:
        print(f"faceoff: {hidden} hides the experiment {name} from `dvc metrics diff`: rename it", file=sys.stderr)
    return name


if __name__ == "__main__":
    run_entry(main, to_the_end=True)
