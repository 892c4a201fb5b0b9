"""Long work that shows how far it is: a bar on a terminal, now and then a plain line elsewhere."""

import sys
import time
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from typing import NamedTuple, TypeVar

from rich.progress import BarColumn, Progress, TextColumn, TimeRemainingColumn

SECONDS_BETWEEN_LINES = 10.0

Item = TypeVar("Item")
Result = TypeVar("Result")
Show = Callable[[int, str], None]


class Unit(NamedTuple):
    """What is counted: its name, and how many of what is reported make one."""

    name: str
    size: int


PHOTOS = Unit("photos", 1)
MEGABYTES = Unit("MB", 1_000_000)


@contextmanager
def progress(title: str, total: int | None, unit: Unit, done: int = 0) -> Iterator[Callable[[int], None]]:
    """Yield a function that is told how much more is done. The total is None where it is unknown."""

    def state() -> str:
        whole = "" if total is None else f"of {total / unit.size:,.0f} "
        return f"{done / unit.size:,.0f} {whole}{unit.name}"

    with (_bar if sys.stdout.isatty() else _lines)(title, total) as show:

        def advance(more: int) -> None:
            nonlocal done
            done += more
            show(done, state())

        yield advance


@contextmanager
def _bar(title: str, total: int | None) -> Iterator[Show]:
    columns = (TextColumn("{task.description}"), BarColumn(), TextColumn("{task.fields[state]}"), TimeRemainingColumn())
    with Progress(*columns, transient=True) as bar:
        task = bar.add_task(title, total=total, state="")
        yield lambda done, state: bar.update(task, completed=done, state=state)


@contextmanager
def _lines(title: str, total: int | None) -> Iterator[Show]:
    printed_at = time.monotonic()

    def show(done: int, state: str) -> None:
        nonlocal printed_at
        if time.monotonic() - printed_at >= SECONDS_BETWEEN_LINES:
            printed_at = time.monotonic()
            print(f"{title}: {state}")

    yield show


def in_parallel(work: Callable[[Item], Result], items: Sequence[Item], title: str) -> list[Result]:
    """`work` of every item, in order; in threads, as what is done with photos (files, hashes, Pillow) frees the GIL.

    The first error, or Ctrl-C, drops what has not begun.
    """
    pool = ThreadPoolExecutor()
    try:
        with progress(title, len(items), PHOTOS) as advance:
            results = []
            for result in pool.map(work, items):
                results.append(result)
                advance(1)
            return results
    finally:
        pool.shutdown(cancel_futures=True)
