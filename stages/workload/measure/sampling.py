"""How a thing is measured: again and again until its time is up.

Runs inside images: Python 3.7 syntax, standard library only.
"""

import math
import time
from typing import Callable, Iterator

MOST_SAMPLES = 12
SAMPLE_SECONDS = 0.02  # at least: what goes faster is done several times for one sample
MOST_OVERHEAD = 0.02  # of a sample: to queue work on a device, and to wait for it
GROWTH = 10  # of the number of times, at most, from one try to the next


class NotPossible(Exception):
    """Why a thing can't be measured here, in words."""


def nothing() -> None:
    """Wait for nothing: the work is done when it returns."""


def rates(
    amount: float,
    work: Callable[[], object],
    seconds: float,
    finish: Callable[[], object] = nothing,
    overhead_seconds: float = 0.0,
) -> Iterator[float]:
    """Yield `amount` per second, for each time that `work` is done, the first one left out: it is there to warm up.

    `finish`: waits for work that is only queued when `work` returns, as a GPU's is. `overhead_seconds`: what it takes
    to queue next to nothing and to wait for it; a sample is so long that this is little of it.
    """
    began = time.perf_counter()
    wanted = max(SAMPLE_SECONDS, overhead_seconds / MOST_OVERHEAD)
    times, taken = 1, _seconds(work, 1, finish)
    if taken > seconds:
        raise NotPossible(
            "once takes {:.2g} s, and its share of the time is {:.2g} s: raise profile.measure_seconds in "
            "params.yaml".format(taken, seconds)
        )
    if taken < wanted:
        taken = _seconds(work, 1, finish)  # the first time may have been longer by far
    while taken < wanted:
        times = min(GROWTH * times, max(times + 1, math.ceil(times * wanted / max(taken, 1e-9))))
        taken = _seconds(work, times, finish)
    done = 0
    while done < MOST_SAMPLES and (done == 0 or time.perf_counter() - began < seconds):
        yield amount * times / _seconds(work, times, finish)
        done += 1


def _seconds(work: Callable[[], object], times: int, finish: Callable[[], object]) -> float:
    began = time.perf_counter()
    for _ in range(times):
        work()
    finish()
    return time.perf_counter() - began
