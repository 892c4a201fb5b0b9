"""Which setting was faster, by how much: metrics/comparison.json, and for people reports/faceoff.html and .md.

For other programs, metrics/results.csv has each metric of each cell.

Made of the results of every cell of params.yaml. A cell without a result is a status with its reason, never a number.

    python -m stages.compare
    python -m stages.compare --against REV [--json | --markdown]
    python -m stages.compare --bmf
    python -m stages.compare --sites A B

The second form writes nothing. It says what became faster or slower since the results in that commit, and ends with 1
where a metric of a setting became slower by more than the margin for sure, with 2 where that can't be said. With
compare.thresholds these decide instead: 1 where one broke for sure, 3 where one broke and it may be chance. --markdown
is for a job's summary, --bmf prints the comparison that there is as Bencher takes it. The last compares what was
collected from other machines: reports/sites.html.
"""

import argparse
import gc
import sys
from collections.abc import Callable
from pathlib import Path

from stages import codec, records
from stages.errors import FaceoffError, run_entry
from stages.harness.cells import states
from stages.harness.comparison import against, face_off, runs
from stages.harness.params import schema
from stages.harness.pipeline import revisions
from stages.harness.process.dvc_lock import dvc_stage
from stages.harness.report import against as report
from stages.harness.report import bmf, pages, sites, table, tidy
from stages.workload.probes import cpu


@dvc_stage
def main() -> int:
    """Compare the settings with each other, or all with what they were."""
    gc.freeze()  # what was imported stays, and statsmodels looks for garbage at each correction of p-values
    parser = argparse.ArgumentParser(prog=".venv/bin/python -m stages.compare", description="Which setting was faster.")
    parser.add_argument("--against", metavar="REV", help="a commit of results, to compare those of today with")
    parser.add_argument("--sites", metavar="SITE", nargs="+", help="sites that were collected, the first the baseline")
    form = parser.add_mutually_exclusive_group()
    form.add_argument("--json", dest="write", action="store_const", const=codec.text, help="print --against as JSON")
    form.add_argument(
        "--markdown", dest="write", action="store_const", const=report.markdown, help="print --against as Markdown"
    )
    form.add_argument("--bmf", action="store_true", help="print the comparison that there is as Bencher's JSON")
    given = parser.parse_args()
    if given.write and given.against is None:
        parser.error("--json and --markdown are of --against REV")
    if [given.sites is not None, given.against is not None, given.bmf].count(True) > 1:
        parser.error("--sites, --against REV and --bmf are each a comparison of its own: ask for one of them")
    if given.sites is not None:
        return sites.show(given.sites)
    if given.against is not None:
        return compare_against(given.against, given.write or report.text)
    if given.bmf:
        print(bmf.text(codec.read(records.COMPARISON_PATH, records.Comparison)), end="")
        return 0
    return compare()


def compare() -> int:
    """Write the comparison, and say in a sentence what came out."""
    try:
        wanted = schema.load()
        states.discard_noted(wanted.cells())
        found = face_off.read(wanted, cpu.warnings)  # in a clone without its data, from the earlier comparison too
    finally:
        for path in (records.COMPARISON_PATH, records.RESULTS_PATH, records.REPORT_PATH, records.PAGE_PATH):
            path.unlink(missing_ok=True)
    codec.write(records.COMPARISON_PATH, found.compared)
    of_run = found.job, found.compared.machine, found.results, found.wanted.variants, found.profiles, found.images
    codec.write_text(records.RESULTS_PATH, tidy.text(*of_run))
    pages.write(found)
    print(table.conclusion(found.compared))
    return 0


def compare_against(revision: str, write: Callable[[records.Against], str]) -> int:
    """Print what changed since; 1 where something is worse for sure, 2 where it can't be said, 3 where it may be."""
    try:
        wanted, known = schema.load(), revisions.known(revision)
        if known != revision:
            print(f"faceoff: git knows no {revision} here, so {known} is taken", file=sys.stderr)
        now = runs.read_run("now", Path())
        with revisions.laid_out(known) as folder:
            found = against.judge(now, runs.read_run(known, folder), wanted.compare)
    except FaceoffError as error:  # 1 is a regression
        raise FaceoffError(str(error), exit_code=2) from None
    print(write(found), end="")
    return found.exit_code


if __name__ == "__main__":
    run_entry(main)
