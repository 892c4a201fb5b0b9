"""Shows that a cell goes on, and where it stands when it does not: stages/harness/process/watchdog.py looks on.

Runs inside images: Python 3.7 syntax, standard library only.
"""

import faulthandler
import os
import signal
import time
from pathlib import Path
from typing import Any

INTERVAL_SECONDS = 1.0


class Heartbeat:
    """Touches a file at most once a second. To be called wherever the job goes on: by the network as a forward hook,
    which every step of any kind goes through, and by what takes long without a step.

    From then on SIGUSR1 prints on stderr where each thread is.
    """

    def __init__(self, path: Path) -> None:
        self._path = path
        self._last = time.monotonic()
        faulthandler.register(signal.SIGUSR1, all_threads=True)

    def __call__(self, *_: Any) -> None:
        now = time.monotonic()
        if now - self._last >= INTERVAL_SECONDS:
            self._last = now
            if self._path.exists():  # it isn't where a cell runs without stages.inside
                os.utime(str(self._path))
