"""How a thing is measured: again and again until its time is up.

Runs inside images: Python 3.7 syntax, standard library only.
"""

import time
from typing import Callable, Iterator

from stages.errors import FaceoffError

MOST_SAMPLES = 12
SAMPLE_SECONDS = 0.02  # at least: what goes faster is done several times for one sample
TOO_SLOW = "once takes {:.2g} s, and its share of the time is {:.2g} s: raise profile.measure_seconds in params.yaml"


class NotPossible(FaceoffError):
    """Why a thing can't be measured here, in words."""


def rates(amount: float, work: Callable[[], None], seconds: float) -> Iterator[float]:
    """Yield `amount` per second, for each time that `work` is done, the first one left out: it is there to warm up.

    `work` returns when its work is done.
    """
    began = time.perf_counter()
    once = seconds_of(work, 1)
    if once > seconds:
        raise NotPossible(TOO_SLOW.format(once, seconds))
    if once < SAMPLE_SECONDS:
        once = seconds_of(work, 1)  # the first time may have been longer by far
    times = max(1, int(SAMPLE_SECONDS / max(once, 1e-7)))
    done = 0
    while done < MOST_SAMPLES and (done == 0 or time.perf_counter() - began < seconds):
        yield amount * times / seconds_of(work, times)
        done += 1


def seconds_of(work: Callable[[], object], times: int) -> float:
    """Return what the work takes so many times, one after the other."""
    began = time.perf_counter()
    for _ in range(times):
        work()
    return time.perf_counter() - began
