"""What could keep the face-off from running, looked at before the first image is built: metrics/preflight.json.

    python -m stages.preflight          the second command of stage `machine`, whose record it reads
    python -m stages.preflight --all    look at the machine, then every check, and inside each image that is here too:
                                        `make preflight`

Ends with 1 and a line for each check that failed.
"""

import argparse
from pathlib import Path

from rich.console import Console

from stages import checks, codec, records
from stages.errors import run_entry
from stages.harness import checklist, params, preflight, situation
from stages.harness.locks import only_run
from stages.harness.signals import stop_signals
from stages.workload.probes import conditions, files, limits


@stop_signals()
def main() -> int:
    parser = argparse.ArgumentParser(prog="python -m stages.preflight")
    parser.add_argument("--all", action="store_true", help="show every check, and look inside each image that is here")
    if parser.parse_args().all:
        with only_run():  # which has the machine's record, and its own session
            return checklist.run_stage("machine") or show_all()
    done, _ = check(params.load())
    return checks.report(done, "preflight")


def show_all() -> int:
    done, found = check(params.load())
    checklist.show(done, Console())
    codes = [checklist.look_inside(image.name) for image in found.images if image.here]
    return int(any(codes) or any(each.status == "failed" for each in done))


def check(wanted: params.Params) -> tuple[tuple[records.Check, ...], situation.Situation]:
    """Look, and write down what is right and what is not."""
    records.PREFLIGHT_PATH.unlink(missing_ok=True)
    found = situation.look(wanted, look_at_moment, Path.cwd())
    done = preflight.look_over(wanted, found)
    codec.write(records.PREFLIGHT_PATH, records.Preflight(None, done))
    return done, found


def look_at_moment() -> situation.Moment:
    doubts = conditions.doubts(conditions.look(records.DATA_DIR))
    return situation.Moment(doubts, limits.shm_free_bytes(files.ROOT))


if __name__ == "__main__":
    run_entry(main)
