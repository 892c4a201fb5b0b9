"""What the job is told by its environment, and the file in which it tells what it does: docs/job.md.

Runs inside images: Python 3.7 syntax, standard library only.
"""

import faulthandler
import json
import os
import signal
import time
from pathlib import Path
from typing import Any, Dict, Optional

from stages import contract
from stages.errors import FaceoffError

INTERVAL_SECONDS = 1.0  # between two signs of life


def cell() -> Dict[str, Any]:
    """Return what FACEOFF_CELL says of the cell, or of the command on the host."""
    document = json.loads(_variable(contract.CELL))  # type: Dict[str, Any]
    return document


def folder(name: str) -> Path:
    """Return the folder that one of contract.DATA, OUTPUT and STATE names."""
    return Path(_variable(name))


def steps() -> Optional[int]:
    """Return after how many steps the training shall end; None: it is no dry-run."""
    return int(os.environ[contract.STEPS]) if contract.STEPS in os.environ else None


def say(**event: Any) -> None:
    """Append a line to the events file, if there is one."""
    path = os.environ.get(contract.EVENTS)
    if path:
        with open(path, "a", encoding="utf-8") as file:  # noqa: PTH123 - by name: it may be /dev/stdout
            file.write(json.dumps(event, allow_nan=False) + "\n")


def _variable(name: str) -> str:
    if name not in os.environ:
        raise FaceoffError("{} is not set: docs/job.md says what a job is given".format(name))
    return os.environ[name]


class Heartbeat:
    """Touch the events file at most once a second: the watchdog takes that for a sign of life.

    To be called wherever the job goes on: by the network as a forward hook, which every step of any kind goes through,
    and by what takes long without a step. From then on SIGUSR1 prints on stderr where each thread is.
    """

    def __init__(self) -> None:
        self._path = os.environ.get(contract.EVENTS)
        self._last = 0.0
        faulthandler.register(signal.SIGUSR1, all_threads=True)

    def __call__(self, *_: Any) -> None:
        """Show that the job goes on."""
        now = time.monotonic()
        if self._path and now - self._last >= INTERVAL_SECONDS:
            self._last = now
            Path(self._path).touch()
