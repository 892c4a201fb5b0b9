"""Ends a job that stands still or takes too long.

That it goes on, a job shows by its file of events: by each line that it adds, or by touching it. Before the first
such sign nothing is known of its pace, and nothing is held against it but the time in all.
"""

import contextlib
import dataclasses
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path

from stages.harness.params.schema import LimitParams
from stages.harness.process import signals

LOOKS = 20  # at the heartbeat, in the time that the job may stand still
LONGEST_PAUSE_SECONDS = 5.0


@dataclasses.dataclass(frozen=True)
class Watch:
    """What a job is held to."""

    heartbeat: Path | None  # of the job: its events; None: it has none
    limits: LimitParams
    runs: Path | None = None  # changed whenever the job is run once more: each run is held to the limits by itself

    def pause_seconds(self) -> float:
        """Return what lies between two looks."""
        minutes = [each for each in (self.limits.stall_minutes, self.limits.cell_minutes) if each is not None]
        return min([LONGEST_PAUSE_SECONDS, *(60 * each / LOOKS for each in minutes)])


@contextlib.contextmanager
def watched(watch: Watch | None, end: Callable[[], None]) -> Iterator[Callable[[], str | None]]:
    """Call `end` once, within, when the job is overdue. What it yields says which of LimitParams it broke, or None."""
    if watch is None:
        yield lambda: None
        return
    over, broken = threading.Event(), list[str]()
    at_first = touched_at(watch.heartbeat), touched_at(watch.runs)  # not in the thread, which may begin after the job

    def look() -> None:
        began = time.monotonic()  # not the file's own time, which jumps when the machine's clock is set
        moved: float | None = None  # when the job gave its last sign of life; None: none yet
        seen, run = at_first
        while not over.wait(watch.pause_seconds()):
            now, touched = time.monotonic(), touched_at(watch.heartbeat)
            if touched != seen:
                seen, moved = touched, now
            if touched_at(watch.runs) != run:
                run, began = touched_at(watch.runs), now
                moved = now if 0 < run < touched else None  # its first sign may have come before this look
            for key, minutes, since in (
                ("cell_minutes", watch.limits.cell_minutes, began),
                ("stall_minutes", watch.limits.stall_minutes, moved),
            ):
                if minutes is not None and since is not None and now - since > 60 * minutes:
                    broken.append(key)
                    end()
                    return

    thread = threading.Thread(target=look, daemon=True)
    signals.start(thread)
    try:
        yield lambda: broken[0] if broken else None
    finally:
        over.set()
        thread.join()


def touched_at(path: Path | None) -> int:
    """Return the file's time of change, 0 where there is none."""
    with contextlib.suppress(FileNotFoundError):
        return path.stat().st_mtime_ns if path else 0
    return 0
