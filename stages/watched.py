"""How far long work is, told to whoever watches: on a terminal in a line that each next one writes over.

Elsewhere a plain line comes now and then, ever more seldom, so that a log stays short. Where output goes into the pipe
of what draws such lines itself, `make repro` on a terminal, WATCHED says so; a carriage return then ends each of them.

Runs inside images: Python 3.7 syntax, standard library only; `make` runs it before anything is installed.
"""

import os
import shutil
import sys
import time
from typing import Callable, Optional

WATCHED = "FACEOFF_WATCHED"  # variable: there is a terminal behind the pipe
ERASE = "\x1b[2K"  # what stands in the terminal's line
PAUSE_SECONDS = 0.25  # between two lines that are written over
FIRST_SECONDS, LONGEST_SECONDS = 10.0, 300.0  # before the first plain line, and at most between two


def is_watched() -> bool:
    """Whether somebody sees lines as they come."""
    return sys.stdout.isatty() or WATCHED in os.environ


class Telling:
    """What is called, as often as one likes, with how far the work is; it is entered while that goes on."""

    def __init__(self) -> None:
        self._is_watched = is_watched()
        self._pause = PAUSE_SECONDS if self._is_watched else FIRST_SECONDS
        self._due = time.monotonic() + (0.0 if self._is_watched else self._pause)

    def __enter__(self) -> "Telling":
        return self

    def __exit__(self, *_: object) -> None:
        clear()

    def __call__(self, say: Callable[[], str], at_once: bool = False) -> None:
        """Ask `say` for the line when it is time for one; `at_once`: it will be long until there is another."""
        now = time.monotonic()
        if now < self._due and not (at_once and self._is_watched):
            return
        self._due = now + self._pause
        if self._is_watched:
            width = shutil.get_terminal_size().columns - 1 if sys.stdout.isatty() else None
            print(ERASE + say()[:width], end="\r", flush=True)
        else:
            self._pause = min(2 * self._pause, LONGEST_SECONDS)
            print(say(), flush=True)


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
