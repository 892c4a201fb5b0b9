"""Run a command of the job: train, evaluate, download, check, estimate or measure.

Imports late: what runs on the host needs no torch, and what runs inside images nothing of the host's. Python 3.7
syntax.
"""

import importlib
import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
COMMANDS = {
    "train": "training",
    "evaluate": "evaluation",
    "download": "download",
    "check": "check",
    "estimate": "estimate",
    "measure": "measurements",
}


def main() -> int:
    from jobs.dogs_cats import seam
    from stages.errors import FaceoffError

    name, arguments = (sys.argv[1:2] or [""])[0], sys.argv[2:]
    try:
        if name not in COMMANDS:
            raise FaceoffError("run.py: no command {!r}; there are {}".format(name, ", ".join(COMMANDS)))
        command = importlib.import_module("jobs.dogs_cats." + COMMANDS[name])
        return int(command.main(arguments))
    except FaceoffError as error:
        if error.exit_code == 1:
            seam.say(error=str(error))
        raise


if __name__ == "__main__":
    sys.path[0] = str(ROOT)  # in place of this folder, whose names are no packages of their own
    from stages.errors import run_entry

    run_entry(main)
