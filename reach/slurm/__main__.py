"""Sessions of this checkout's face-off on a Slurm cluster, and their packs back as sites.

    python -m reach.slurm submit --node n1 --node n2 --sessions 3 --hours 2 [--as SITE] [-- --gres=gpu:1]
    python -m reach.slurm follow          wait for their ends, and collect the packs of those that are whole
    python -m reach.slurm again           hand in once more what did not become whole: it goes on where it was

What stands after -- is sbatch's.
"""

import argparse
import math
import shutil
import subprocess
import sys
import time
from pathlib import Path

from reach import session
from reach.slurm import sessions
from reach.slurm.sessions import Standing, Submitted
from stages.errors import FaceoffError, run_entry
from stages.harness.sites import names

FOLDER = Path(".reach/slurm")
POLL_SECONDS = 2.0


def main() -> int:
    """Read the command line, and do what it says."""
    arguments, options = _parted(sys.argv[1:])
    parser = argparse.ArgumentParser(
        prog=".venv/bin/python -m reach.slurm",
        description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("--folder", type=Path, default=FOLDER, help=f"which all nodes see; by itself {FOLDER}")
    doing = parser.add_subparsers(dest="doing", required=True)
    submit = doing.add_parser("submit", help="hand in sessions")
    submit.add_argument("--node", action="append", metavar="NAME", help="where; again for more; none: Slurm picks")
    submit.add_argument("--sessions", type=int, default=3, metavar="N", help="on each node; 3 if not given")
    submit.add_argument("--hours", type=float, required=True, help="time limit of each")
    submit.add_argument("--as", dest="site", metavar="SITE", help="their site; if not given, one a node, of its name")
    submit.add_argument("--preset", metavar="NAME", help="a file of presets/, without .yaml")
    submit.add_argument("--shared", action="store_true", help="beside other jobs, which disturb: not --exclusive")
    follow = doing.add_parser("follow", help="wait, and collect")
    follow.add_argument("--once", action="store_true", help="do not wait")
    follow.add_argument("--partial", action="store_true", help="collect what is whole of sessions that are not, too")
    doing.add_parser("again", help="hand in once more what did not become whole")
    given = parser.parse_args(arguments)
    folder = given.folder.resolve()
    if given.doing == "submit":
        return _submit(given, folder, options)
    if given.doing == "again":
        return _again(folder)
    return _follow(folder, wait=not given.once, partial=given.partial)


def _parted(arguments: list[str]) -> tuple[list[str], list[str]]:
    """Part the arguments at the first --, after which they are sbatch's."""
    if "--" not in arguments:
        return arguments, []
    place = arguments.index("--")
    return arguments[:place], arguments[place + 1 :]


def _submit(given: argparse.Namespace, folder: Path, options: list[str]) -> int:
    if given.sessions < 1 or not 0 < given.hours < math.inf:
        raise FaceoffError("--sessions is at least 1, and --hours above 0", exit_code=2)
    nodes = list(dict.fromkeys(given.node or [None]))
    if nodes == [None] and given.site is None:
        raise FaceoffError("--as SITE or --node NAME: what is the site to be called?", exit_code=2)
    wanted = [(node, given.site or node.lower()) for node in nodes]
    for _, site in wanted:
        names.check_site(site)
    minutes = sessions.minutes(given.hours)
    options = [*([] if given.shared else ["--exclusive"]), *options]
    for node, site in wanted:
        made = sessions.prepare(Path.cwd(), folder, site, given.sessions, given.preset, minutes)
        while made:
            try:
                kept = sessions.submit(made[0], Submitted(site, node, minutes, tuple(options), ()))
            except FaceoffError:  # of those that Slurm did not take nothing is left
                for each in made:
                    shutil.rmtree(each)
                raise
            print(f"{made.pop(0).name}: job {kept.jobs[-1]}")
    print(".venv/bin/python -m reach.slurm follow waits for them, and collects their packs; the jobs need it not.")
    return 0


def _again(folder: Path) -> int:
    found = sessions.read(folder)
    for each, wanted in found.items():
        stands = sessions.standing(each, wanted)
        if stands.state not in (*sessions.UNDERWAY, session.DONE):
            kept = sessions.submit(each, wanted)
            print(f"{each.name}: was {stands.state}, goes on as job {kept.jobs[-1]}")
    return 0


def _follow(folder: Path, wait: bool, partial: bool) -> int:
    found = sessions.read(folder)
    seen: dict[Path, Standing] = {}
    while True:
        for each, wanted in found.items():
            stands = sessions.standing(each, wanted)
            if stands != seen.get(each):
                print(f"{each.name}: {stands.state}" + (f" ({stands.why})" if stands.why else ""))
                seen[each] = stands
        if not wait or not any(each.state in sessions.UNDERWAY for each in seen.values()):
            break
        time.sleep(POLL_SECONDS)
    codes = []
    for each, wanted in found.items():
        state, pack = seen[each].state, each / sessions.PACK
        if state == session.DONE or (partial and state not in sessions.UNDERWAY and pack.exists()):
            codes.append(_collect(pack, wanted.site))
    left = sum(each.state not in (*sessions.UNDERWAY, session.DONE) for each in seen.values())
    if left:
        print(f"{left} not whole: their log.txt says why; `again` goes on, `follow --partial` takes what is there")
    return 1 if left or any(codes) else 0


def _collect(pack: Path, site: str) -> int:
    command = [sys.executable, "-m", "stages.collect", str(pack), "--as", site]
    return subprocess.run(command, check=False).returncode


if __name__ == "__main__":
    run_entry(main)
