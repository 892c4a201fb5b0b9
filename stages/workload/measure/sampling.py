"""How a thing is measured: again and again until its time is up.

Runs inside images: Python 3.7 syntax, standard library only.
"""

import time
from typing import Callable, Iterator

MOST_SAMPLES = 20
SAMPLE_SECONDS = 0.02  # at least: what goes faster is done several times for one sample


class NotPossible(Exception):
    """Why a thing can't be measured here, in words."""


def rates(amount: float, work: Callable[[], None], seconds: float) -> Iterator[float]:
    """Yield `amount` per second, for each time that `work` is done, the first one left out: it is there to warm up.

    `work` returns when its work is done, that of a GPU included.
    """
    ends = time.perf_counter() + seconds
    once = _seconds(work, 1)
    if once < SAMPLE_SECONDS:
        once = _seconds(work, 1)  # the first time may have been longer by far
    times = max(1, int(SAMPLE_SECONDS / max(once, 1e-7)))
    for _ in range(MOST_SAMPLES):
        if time.perf_counter() > ends:
            return
        yield amount * times / _seconds(work, times)


def _seconds(work: Callable[[], None], times: int) -> float:
    began = time.perf_counter()
    for _ in range(times):
        work()
    return time.perf_counter() - began
