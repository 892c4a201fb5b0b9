"""Two lines below all others on a terminal, drawn anew twice a second: what goes on, and how far the run is.

Drawn by hand: of a display that lays out whole tables, each line that a job prints would cost milliseconds.
"""

import sys
import threading
from collections.abc import Callable

from rich.cells import cell_len, set_cell_size
from rich.console import Console

from stages.harness.process import signals

PAUSE_SECONDS = 0.5
ERASE_BELOW, BACK_UP = "\x1b[J", "\r\x1b[1A"  # the cursor stays where the upper line begins
BRIGHT, DIM, NORMAL = "\x1b[36m", "\x1b[2m", "\x1b[0m"
BAR_SHARE = 3  # one in so many letters of the width is the bar's


class Screen:
    """What is printed while it is entered scrolls by above the two lines."""

    def __init__(self, console: Console, say: Callable[[], tuple[str, float, str]]) -> None:
        """`say`: what goes on ('': nothing new), the share that is done, and what stands beside the bar."""
        self._console, self._say = console, say
        self._drawn = ""
        self._lock, self._over = threading.Lock(), threading.Event()
        self._thread = threading.Thread(target=self._draw_now_and_then, daemon=True)

    def __enter__(self) -> "Screen":
        signals.start(self._thread)
        return self

    def __exit__(self, *_: object) -> None:
        self._over.set()
        self._thread.join()
        self._drawn = ""
        sys.stdout.write(ERASE_BELOW)
        sys.stdout.flush()

    def print(self, line: str) -> None:
        """Print a line above."""
        with self._lock:
            sys.stdout.write(f"{ERASE_BELOW}{line}\n{self._drawn}")
            sys.stdout.flush()

    def _draw_now_and_then(self) -> None:
        while not self._over.wait(PAUSE_SECONDS):
            with self._lock:
                self._drawn = self._lines() or self._drawn
                sys.stdout.write(ERASE_BELOW + self._drawn)
                sys.stdout.flush()

    def _lines(self) -> str:
        what, share, beside = self._say()
        if not what:
            return ""
        width = self._console.width - 1
        length = max(10, width // BAR_SHARE)
        done = min(length, round(share * length))
        bar = f"{BRIGHT}{'━' * done}{DIM}{'━' * (length - done)}{NORMAL}"
        return f"{cut(what, width)}\n{bar} {cut(beside, width - length - 1)}{BACK_UP}"


def cut(text: str, width: int) -> str:
    """Return as much of the text as fits."""
    return text if cell_len(text) <= width else set_cell_size(text, max(1, width - 1)).rstrip() + "…"
