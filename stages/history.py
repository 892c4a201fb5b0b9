"""Each setting's metrics over the commits that brought results, as a page: reports/history.html.

    python -m stages.history [--commits N] [--output FILE]

It reads git alone: commit metrics/ after a run, and the run is part of the history. Where a metric changed for sure is
marked; runs of another machine, job or data are never compared. It prints what changed, and writes nothing else.
"""

import argparse
import sys
from pathlib import Path

from stages import codec
from stages.errors import FaceoffError, run_entry
from stages.harness.comparison import history
from stages.harness.params import schema
from stages.harness.pipeline import revisions
from stages.harness.report import history as report

COMMITS = 100


def main() -> int:
    """Draw the page, and say in a line for each change what it is."""
    parser = argparse.ArgumentParser(prog=".venv/bin/python -m stages.history", description="Metrics over commits.")
    parser.add_argument(
        "--commits", type=int, default=COMMITS, metavar="N", help="the latest ones, %(default)s at most"
    )
    parser.add_argument("--output", type=Path, default=report.HISTORY_PATH, metavar="FILE", help="%(default)s")
    given = parser.parse_args()
    if given.commits < 1:
        raise FaceoffError(f"--commits: expected 1 or more, found {given.commits}", exit_code=2)
    margin = schema.load().compare.margin
    measured = history.read(given.commits)
    if revisions.is_shallow():
        line = "this clone is shallow, so earlier commits are not in it: `git fetch --unshallow` brings them"
        print(f"faceoff: {line}", file=sys.stderr)
    if not any(each.run for each in measured):
        why = f" ({measured[-1].reason})" if measured else ""
        raise FaceoffError(f"no commit has results that can be read{why}; run `make repro` and commit metrics/", 2)
    found = history.history(measured)
    codec.write_text(given.output, report.html(found, margin))
    for each in report.changes(found):
        print(f"{each.setting}, {each.metric}: {each.verdict} {report.words(found, each)}, {each.ratio:.3f} times")
    print(f"{report.headline(found)}: {given.output}")
    return 0


if __name__ == "__main__":
    run_entry(main)
