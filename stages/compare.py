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
import sys
from collections.abc import Callable, Mapping
from pathlib import Path

from stages import codec, records
from stages.errors import FaceoffError, run_entry
from stages.harness.cells import states
from stages.harness.comparison import against, quota
from stages.harness.comparison import compare as comparison
from stages.harness.comparison.runs import read_images, read_profiles, read_run, read_run_of
from stages.harness.params import schema
from stages.harness.pipeline import revisions
from stages.harness.process.dvc_lock import dvc_stage
from stages.harness.report import against as report
from stages.harness.report import bmf, page, sites, table, tidy
from stages.harness.results.metrics import declared
from stages.harness.results.read import read_all
from stages.harness.statistics import stability
from stages.harness.statistics.estimates import CONFIDENCE
from stages.workload.probes import cpu


@dvc_stage
def main() -> int:
    """Compare the settings with each other, or all with what they were."""
    parser = argparse.ArgumentParser(prog="python -m stages.compare", description="Which setting was faster.")
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
    for path in (records.COMPARISON_PATH, records.RESULTS_PATH, records.REPORT_PATH, records.PAGE_PATH):
        path.unlink(missing_ok=True)
    wanted = schema.load()
    states.discard_noted(wanted.cells())
    profiles = read_profiles(wanted.images)
    job = codec.read(records.JOB_PATH, records.Job)
    machine = codec.read(records.MACHINE_PATH, records.Machine)
    results = read_all(wanted)
    for result in results:
        if result.status == "refused":
            print(f"faceoff: refused: {result.reason}", file=sys.stderr)
    compared = records.Comparison(
        baseline=wanted.compare.baseline,
        job=job.name,
        total=job.total,
        metrics=declared(job, results),
        data_sha256=codec.read(records.MANIFEST_PATH, records.Manifest).sha256,
        margin=wanted.compare.margin,
        confidence=CONFIDENCE,
        machine=machine,
        warnings=(
            *machine_warnings(machine, profiles),
            *quota.warnings(results, profiles),
            *stability.of_run(results, job),
        ),
        settings=comparison.compare(results, wanted.compare, profiles, job),
    )
    codec.write(records.COMPARISON_PATH, compared)
    codec.write_text(records.REPORT_PATH, table.markdown(compared))
    images = read_images(wanted.images)
    codec.write_text(records.RESULTS_PATH, tidy.text(job, machine, results, wanted.variants, profiles, images))
    codec.write_text(records.PAGE_PATH, page.html(compared, results, wanted, profiles, images))
    print(table.conclusion(compared))
    return 0


def machine_warnings(machine: records.Machine, profiles: Mapping[str, records.Profile]) -> tuple[str, ...]:
    """Warn of what the processors are, which concerns all settings alike; by what the jobs may use of them."""
    seen = next((each.facts.hardware for each in profiles.values()), machine.hardware)
    return tuple(f"{each.found}; {each.advice}" for each in cpu.warnings(seen.cpu, seen.limits.cpuset))


def compare_against(revision: str, write: Callable[[records.Against], str]) -> int:
    """Print what changed since; 1 where something is worse for sure, 2 where it can't be said, 3 where it may be."""
    try:
        wanted = schema.load()
        now = read_run("now", Path(), codec.read(records.MANIFEST_PATH, records.Manifest).sha256)
    except FaceoffError as error:  # 1 is a regression
        raise FaceoffError(str(error), exit_code=2) from None
    with revisions.laid_out(revision) as folder:
        found = against.judge(now, read_run_of(revision, folder), wanted.compare)
    print(write(found), end="")
    return found.exit_code


if __name__ == "__main__":
    run_entry(main)
