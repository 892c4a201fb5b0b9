"""Which setting was faster, by how much: metrics/comparison.json, and for people reports/faceoff.html and .md.

Made of the results of every cell of params.yaml. A cell without a result is a status with its reason, never a number.

    python -m stages.compare
    python -m stages.compare --against REV
    python -m stages.compare --sites A B

The second form writes nothing. It says what became faster or slower since the results in that commit, and ends with 1
where a metric of a setting became slower by more than the margin for sure, with 2 where that can't be said. The third
compares what was collected from other machines: reports/sites.html.
"""

import argparse
import sys
from collections.abc import Iterable, Mapping
from pathlib import Path

from stages import codec, records
from stages.errors import run_entry
from stages.harness.cells import states
from stages.harness.comparison import compare as comparison
from stages.harness.comparison import quota, regression
from stages.harness.comparison.runs import read_images, read_profiles, read_run, read_run_of
from stages.harness.params import schema
from stages.harness.pipeline import revisions
from stages.harness.process.dvc_lock import dvc_stage
from stages.harness.report import page, sites, table
from stages.harness.results.metrics import TOTAL, declared
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
    given = parser.parse_args()
    if given.sites is not None:
        return sites.show(given.sites)
    return compare() if given.against is None else compare_against(given.against)


def compare() -> int:
    """Write the comparison, and say in a sentence what came out."""
    for path in (records.COMPARISON_PATH, records.REPORT_PATH, records.PAGE_PATH):
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
    codec.write_text(records.PAGE_PATH, page.html(compared, results, wanted, profiles, read_images(wanted.images)))
    print(table.conclusion(compared))
    return 0


def machine_warnings(machine: records.Machine, profiles: Mapping[str, records.Profile]) -> tuple[str, ...]:
    """Warn of what the processors are, which concerns all settings alike; by what the jobs may use of them."""
    seen = next((each.facts.hardware for each in profiles.values()), machine.hardware)
    return tuple(f"{each.found}; {each.advice}" for each in cpu.warnings(seen.cpu, seen.limits.cpuset))


def compare_against(revision: str) -> int:
    """Print what changed since; 1 where something is slower for sure, 2 where it can't be said."""
    wanted = schema.load()
    now = read_run("now", Path(), codec.read(records.MANIFEST_PATH, records.Manifest).sha256)
    with revisions.laid_out(revision) as folder:
        then = read_run_of(revision, folder)
        regression.check_same(now, then)
        changes = regression.changes(now, then, wanted.compare.margin)
        predicted = regression.predicted(now, then)
    for change in changes:
        metric = "" if change.metric == TOTAL else f", {change.metric}"
        print(f"{change.setting}{metric}: {change.words}")
    for setting, words in predicted.items():
        print(f"{setting}, predictions: {words}")
    for setting in regression.gone(now, then):
        print(f"{setting}: only in {revision}, so not compared")
    return conclude(changes, revision, wanted.compare.margin)


def conclude(changes: Iterable[regression.Change], revision: str, margin: float) -> int:
    """Print the last line, and return the exit code."""
    slower = [f"{each.setting} ({each.metric})" for each in changes if each.is_regression]
    unknown = [each.setting for each in changes if each.verdict == "cannot say" and each.metric == TOTAL]
    if slower:
        print(f"Slower than in {revision} by more than {100 * margin:g}%: {', '.join(slower)}.")
        return 1
    if unknown:
        print(f"Not to be told: {', '.join(unknown)}.")
        return 2
    print(f"Nothing is shown to be slower than in {revision} by more than {100 * margin:g}%.")
    return 0


if __name__ == "__main__":
    run_entry(main)
