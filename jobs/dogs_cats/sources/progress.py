"""Long work that shows how far it is: a bar on a terminal, now and then a plain line elsewhere."""

import sys
import time
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from typing import TypeVar

from rich.progress import BarColumn, Progress, TextColumn, TimeRemainingColumn

from stages.units import amount

SECONDS_BETWEEN_LINES = 10.0

Item = TypeVar("Item")
Result = TypeVar("Result")
Show = Callable[[int, str], None]


def photos_of(done: int, total: int | None) -> str:
    """Say how many photos are done."""
    return f"{done:,} of {total:,} photos"


def bytes_of(done: int, total: int | None) -> str:
    """Say how much has arrived."""
    return amount(done) if total is None else f"{amount(done)} of {amount(total)}"


@contextmanager
def progress(
    title: str, total: int | None, state: Callable[[int, int | None], str], done: int = 0
) -> Iterator[Callable[[int], None]]:
    """Yield a function that is told how much more is done. The total is None where it is unknown."""
    with (_bar if sys.stdout.isatty() else _lines)(title, total, done) as show:

        def advance(more: int) -> None:
            nonlocal done
            done += more
            show(done, state(done, total))

        yield advance


@contextmanager
def _bar(title: str, total: int | None, done: int) -> Iterator[Show]:
    columns = (TextColumn("{task.description}"), BarColumn(), TextColumn("{task.fields[state]}"), TimeRemainingColumn())
    with Progress(*columns, transient=True) as bar:
        task = bar.add_task(title, total=total, completed=done, state="")
        yield lambda done, state: bar.update(task, completed=done, state=state)


@contextmanager
def _lines(title: str, total: int | None, done: int) -> Iterator[Show]:
    began_at = printed_at = time.monotonic()
    already = done

    def show(done: int, state: str) -> None:
        nonlocal printed_at
        now = time.monotonic()
        if now - printed_at >= SECONDS_BETWEEN_LINES:
            printed_at = now
            rate = (done - already) / (now - began_at)
            left = "" if total is None or rate == 0 else f", {_duration((total - done) / rate)} left"
            print(f"{title}: {state}{left}", flush=True)

    yield show


def _duration(seconds: float) -> str:
    return f"{seconds:.0f} s" if seconds < 99.5 else f"{seconds / 60:.0f} min"


def in_parallel(work: Callable[[Item], Result], items: Sequence[Item], title: str) -> list[Result]:
    """Return `work` of every item, in order.

    In threads, as what is done with photos (files, hashes, Pillow) frees the GIL. The first error,
    or Ctrl-C, drops what has not begun.
    """
    pool = ThreadPoolExecutor()
    try:
        with progress(title, len(items), photos_of) as advance:
            results = []
            for result in pool.map(work, items):
                results.append(result)
                advance(1)
            return results
    finally:
        pool.shutdown(cancel_futures=True)
