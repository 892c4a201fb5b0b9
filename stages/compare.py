"""Which setting was faster, by how much: metrics/comparison.json, and for people reports/faceoff.html and .md, from
the results of every cell of params.yaml. A cell without a result is a status with its reason, never a number.

    python -m stages.compare
    python -m stages.compare --against REV

The second form writes nothing. It says what became faster or slower since the results in that commit, and ends with 1
where a figure of a setting became slower by more than the margin for sure, with 2 where that can't be said.
"""

import argparse
import sys
from collections.abc import Iterable
from pathlib import Path

from stages import codec, records
from stages.errors import run_entry
from stages.harness.cells import states
from stages.harness.comparison import compare as comparison
from stages.harness.comparison import regression
from stages.harness.params import schema
from stages.harness.pipeline import revisions
from stages.harness.process.signals import stop_signals
from stages.harness.report import page, table
from stages.harness.results.metrics import TOTAL
from stages.harness.results.read import read_all
from stages.harness.statistics import steadiness
from stages.harness.statistics.estimates import CONFIDENCE


@stop_signals()
def main() -> int:
    parser = argparse.ArgumentParser(prog="python -m stages.compare", description="Which setting was faster.")
    parser.add_argument("--against", metavar="REV", help="a commit of results, to compare those of today with")
    revision = parser.parse_args().against
    return compare() if revision is None else compare_against(revision)


def compare() -> int:
    for path in (records.COMPARISON_PATH, records.REPORT_PATH, records.PAGE_PATH):
        path.unlink(missing_ok=True)
    wanted = schema.load()
    states.discard_noted(wanted.cells())
    profiles = read_profiles(wanted.images)
    results = read_all(wanted)
    for result in results:
        if result.status == "refused":
            print(f"faceoff: refused: {result.reason}", file=sys.stderr)
    compared = records.Comparison(
        baseline=wanted.compare.baseline,
        recipe=wanted.recipe,
        dataset_sha256=codec.read(records.DATASET_PATH, records.Dataset).sha256,
        margin=wanted.compare.margin,
        confidence=CONFIDENCE,
        machine=codec.read(records.MACHINE_PATH, records.Machine),
        warnings=steadiness.of_run(results),
        settings=comparison.compare(results, wanted.compare, profiles),
    )
    codec.write(records.COMPARISON_PATH, compared)
    codec.write_text(records.REPORT_PATH, table.markdown(compared))
    codec.write_text(records.PAGE_PATH, page.html(compared, results, wanted, profiles, read_images(wanted.images)))
    print(table.conclusion(compared))
    return 0


def compare_against(revision: str) -> int:
    wanted = schema.load()
    now = read_run("now", Path())
    with revisions.laid_out(revision) as folder:
        then = read_run(revision, folder)
        regression.check_same(now, then)
        changes = regression.changes(now, then, wanted.compare.margin)
        accuracies = regression.accuracies(now, then)
    for change in changes:
        figure = "" if change.figure == TOTAL else f", {change.figure}"
        print(f"{change.setting}{figure}: {change.words}")
    for setting, words in accuracies.items():
        print(f"{setting}, accuracy: {words}")
    for setting in regression.gone(now, then):
        print(f"{setting}: only in {revision}, so not compared")
    slower = [f"{each.setting} ({each.figure})" for each in changes if each.is_regression]
    untold = [change.setting for change in changes if change.verdict == "cannot say"]
    if slower:
        print(f"Slower than in {revision} by more than {100 * wanted.compare.margin:g}%: {', '.join(slower)}.")
        return 1
    if untold:
        print(f"Not to be told: {', '.join(untold)}.")
        return 2
    print(f"Nothing is shown to be slower than in {revision} by more than {100 * wanted.compare.margin:g}%.")
    return 0


def read_run(name: str, root: Path) -> regression.Run:
    """The results under `root`, and what they are results of."""
    wanted = schema.load(root)
    return regression.Run(
        name=name,
        machine=codec.read(root / records.MACHINE_PATH, records.Machine),
        dataset_sha256=codec.read(root / records.DATASET_PATH, records.Dataset).sha256,
        recipe=wanted.recipe,
        profiles=read_profiles(wanted.images, root),
        results=read_all(wanted, root),
    )


def read_profiles(images: Iterable[str], root: Path = Path()) -> dict[str, records.Profile]:
    """Those that there are: without one, a timing stands, and only what explains it is missing."""
    paths = {image: root / records.profile_path(image) for image in images}
    return {image: codec.read(path, records.Profile) for image, path in paths.items() if path.exists()}


def read_images(images: Iterable[str]) -> dict[str, records.Image]:
    """Those that there are."""
    paths = {image: records.image_path(image) for image in images}
    return {image: codec.read(path, records.Image) for image, path in paths.items() if path.exists()}


if __name__ == "__main__":
    run_entry(main)
