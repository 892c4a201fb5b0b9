"""How far long work is, told to whoever watches: on a terminal in a line that each next one writes over.

Elsewhere a plain line comes now and then, ever more seldom, so that a log stays short. Where output goes into the pipe
of what draws such lines itself, `make repro` on a terminal, WATCHED says so; a carriage return then ends each of them.

Runs inside images: Python 3.7 syntax, standard library only; `make` runs it before anything is installed.
"""

import contextlib
import os
import shutil
import sys
import time
from typing import Callable, Iterator, Optional

WATCHED = "FACEOFF_WATCHED"  # variable: there is a terminal behind the pipe
ERASE = "\x1b[2K"  # what stands in the terminal's line
PAUSE_SECONDS = 0.25  # between two lines that are written over
FIRST_SECONDS, LONGEST_SECONDS = 10.0, 300.0  # before the first plain line, and at most between two

Tell = Callable[[Callable[[], str]], None]  # takes what makes the line, and asks it when it is time for one


def is_watched() -> bool:
    """Whether somebody sees lines as they come."""
    return sys.stdout.isatty() or WATCHED in os.environ


@contextlib.contextmanager
def telling() -> Iterator[Tell]:
    """Yield what is called, as often as one likes, with how far the work is."""
    watched, pause = is_watched(), FIRST_SECONDS
    due = time.monotonic() + (0.0 if watched else pause)

    def tell(say: Callable[[], str]) -> None:
        nonlocal due, pause
        now = time.monotonic()
        if now < due:
            return
        if watched:
            due = now + PAUSE_SECONDS
            width = shutil.get_terminal_size().columns - 1 if sys.stdout.isatty() else None
            print(ERASE + say()[:width], end="\r", flush=True)
        else:
            due = now + pause
            pause = min(2 * pause, LONGEST_SECONDS)
            print(say(), flush=True)

    try:
        yield tell
    finally:
        clear()


def clear() -> None:
    """Take what stands in the terminal's line away, before a line that stays."""
    if sys.stdout.isatty():
        print(ERASE, end="\r", flush=True)


def time_left(done: float, total: Optional[float], seconds: float) -> str:
    """Write what is left at this pace, to go behind how far it is; nothing where that is not known."""
    if not total or not done:
        return ""
    left = (total - done) * seconds / done
    return f", {left:.0f} s left" if left < 99.5 else f", {left / 60:.0f} min left"
