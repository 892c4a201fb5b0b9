"""Take a pack of another machine: check it, and lay it under sites/NAME/<session>.

    python -m stages.collect FILE --as NAME

A second one of the same site adds a session. From three sessions of each of two sites on,
`python -m stages.compare --sites A B` can tell which is faster.
"""

import argparse
import sys
from pathlib import Path

from stages import variables
from stages.errors import run_entry
from stages.harness import formatting
from stages.harness.process.locks import held
from stages.harness.process.signals import stop_signals
from stages.harness.report import sites
from stages.harness.report.sites import remade
from stages.harness.sites import collect, names
from stages.harness.sites.collect import Collected
from stages.harness.sites.sessions import Session

COLLECTING_PATH = Path(".dvc/tmp/faceoff.collecting")


@stop_signals()
def main() -> int:
    """Collect a pack, and say what is there now."""
    parser = argparse.ArgumentParser(
        prog=".venv/bin/python -m stages.collect", description="Take a pack of another machine."
    )
    parser.add_argument("file", metavar="FILE", type=Path, help="a zip that `.venv/bin/python -m stages.pack` made")
    parser.add_argument("--as", metavar="NAME", dest="site", required=True, help="what to call the site")
    given = parser.parse_args()
    with held(COLLECTING_PATH, "sites/"):
        found = collect.collect(given.file, given.site, finish)
    print(variables.shown(sentence(found)))
    for line in sites.publish([given.site]) if found.is_new else ():
        print(variables.shown(line))
    return 0


def finish(session: Session, folder: Path) -> None:
    """Make its report anew, and say so where that is impossible."""
    why_not = remade.remake(session, folder)
    if why_not:
        print(variables.shown(f"faceoff: no report of session {session.name}: {why_not}"), file=sys.stderr)


def sentence(found: Collected) -> str:
    """Say what was collected, or that it had been before."""
    session, count = found.session, len(names.session_dirs(found.session.site))
    if not found.is_new:
        return f"{found.folder} is there already, the same: nothing was changed."
    whole = sum(each.status == "ok" for each in session.results)
    refused = [each.reason for each in session.results if each.status == "refused"]
    stale = f" ({len(refused)} refused, the first: {refused[0]})" if refused else ""
    return (
        f"{found.folder}: {whole} of {formatting.count(len(session.results), 'cell')} whole{stale}, on "
        f"{formatting.machine(session.machine)}; site {session.site} has {formatting.count(count, 'session')} now."
    )


if __name__ == "__main__":
    run_entry(main)
