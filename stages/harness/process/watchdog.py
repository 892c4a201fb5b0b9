"""Ends a job that stands still or takes too long. That it goes on, the job shows by a file that it touches."""

import contextlib
import dataclasses
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from signal import SIG_BLOCK

from stages.harness.params.schema import LimitParams
from stages.harness.process.signals import masked_signals

LOOKS = 20  # at the heartbeat, in the time that the job may stand still
LONGEST_PAUSE_SECONDS = 5.0


@dataclasses.dataclass(frozen=True)
class Watch:
    """What a job is held to."""

    heartbeat: Path  # touched by the job at every step
    limits: LimitParams

    def pause_seconds(self) -> float:
        """Between two looks."""
        minutes = [each for each in (self.limits.stall_minutes, self.limits.cell_minutes) if each is not None]
        return min([LONGEST_PAUSE_SECONDS, *(60 * each / LOOKS for each in minutes)])


@contextlib.contextmanager
def watched(watch: Watch | None, end: Callable[[], None]) -> Iterator[Callable[[], str | None]]:
    """Within, calls `end` once when the job is overdue. What it yields says which of LimitParams it broke, or None."""
    if watch is None:
        yield lambda: None
        return
    over, broken = threading.Event(), list[str]()

    def look() -> None:
        began = moved = time.monotonic()  # not the file's own time, which jumps when the machine's clock is set
        seen = _touched(watch.heartbeat)
        while not over.wait(watch.pause_seconds()):
            now, touched = time.monotonic(), _touched(watch.heartbeat)
            if touched != seen:
                seen, moved = touched, now
            for key, minutes, since in (
                ("cell_minutes", watch.limits.cell_minutes, began),
                ("stall_minutes", watch.limits.stall_minutes, moved),
            ):
                if minutes is not None and now - since > 60 * minutes:
                    broken.append(key)
                    end()
                    return

    thread = threading.Thread(target=look, daemon=True)
    with masked_signals(SIG_BLOCK):  # which the thread inherits: signals to stop are for the main one, which masks them
        thread.start()
    try:
        yield lambda: broken[0] if broken else None
    finally:
        over.set()
        thread.join()


def _touched(path: Path) -> int:
    with contextlib.suppress(FileNotFoundError):
        return path.stat().st_mtime_ns
    return 0
