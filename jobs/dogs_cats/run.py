"""Run a command of the job: train, evaluate, download, check, estimate or measure.

Imports late: what runs on the host needs no torch, and what runs inside images nothing of the host's. Python 3.7
syntax.
"""

import importlib
import os
import sys
from contextlib import suppress
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
    """Run the command that the first argument names."""
    from jobs.dogs_cats.imports import cheap
    from stages.errors import FaceoffError

    name, arguments = (sys.argv[1:2] or [""])[0], sys.argv[2:]
    try:
        if name not in COMMANDS:
            raise FaceoffError("run.py: no command {!r}; there are {}".format(name, ", ".join(COMMANDS)))
        with cheap():
            command = importlib.import_module("jobs.dogs_cats." + COMMANDS[name])
        return int(command.main(arguments))
    except FaceoffError as error:
        if error.exit_code == 1:
            tell(str(error))
        raise
    except Exception as error:
        tell("{}: {}".format(type(error).__name__, (str(error).splitlines() or [""])[0]))
        raise


def tell(error: str) -> None:
    """Tell of the error; on a full disk what is printed has to do."""
    from jobs.dogs_cats import seam

    with suppress(OSError):
        seam.say(error=error)


def leave(code: int) -> int:
    """End at once where all went well: torch and fastai take seconds to end, and what counts is on the disk."""
    if code == 0 and "torch" in sys.modules:
        sys.stdout.flush()
        sys.stderr.flush()
        os._exit(code)
    return code


if __name__ == "__main__":
    sys.path[0] = str(ROOT)  # in place of this folder, whose names are no packages of their own
    from stages.errors import run_entry

    run_entry(lambda: leave(main()))
