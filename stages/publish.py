"""Record one DVC experiment per image, for `dvc metrics diff IMAGE IMAGE`, and show the table.

It is what `make repro` ends with.

    python -m stages.publish
"""

import sys

from rich.console import Console

from stages import codec, records
from stages.errors import FaceoffError, run_entry
from stages.harness.params import schema
from stages.harness.params.overrides import merged
from stages.harness.pipeline import experiments
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
        for image in wanted.images:
            publish(image, compared)
        lines.append(table.how_to_diff(wanted.images))
    except FaceoffError as error:
        lines.append(f"No DVC experiments, so no `dvc metrics diff` of images: {error}.")
    for line in lines:
        console.print(line, markup=False, highlight=False, soft_wrap=True)
    return 0


def publish(image: str, compared: records.Comparison) -> None:
    """Record the image's experiment, and warn of what hides it."""
    files = {
        schema.PARAMS_PATH: merged(schema.PARAMS_PATH.read_text(encoding="utf-8"), {"image": image}),
        records.SCORECARD_PATH: scorecard.card(compared, image),
        records.CURVES_PATH: scorecard.curves(compared, [image]),  # its own alone, for `dvc plots diff`
    }
    experiments.publish(image, files, TRACKED)
    hidden = experiments.hidden_by(image)
    if hidden:
        print(f"faceoff: {hidden} hides the experiment {image} from `dvc metrics diff`: rename it", file=sys.stderr)


if __name__ == "__main__":
    run_entry(main, to_the_end=True)
