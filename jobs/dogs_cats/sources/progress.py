"""Long work that shows how far it is: photos and bytes that are done, and the time left."""

import time
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from typing import TypeVar

from stages.units import amount
from stages.watched import Telling, time_left

Item = TypeVar("Item")
Result = TypeVar("Result")


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
    began, already = time.monotonic(), done

    def say() -> str:
        left = time_left(done - already, total and total - already, time.monotonic() - began)
        return f"{title}: {state(done, total)}{left}"

    with Telling() as tell:

        def advance(more: int) -> None:
            nonlocal done
            done += more
            tell(say)

        yield advance


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
