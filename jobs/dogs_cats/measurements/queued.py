"""What a GPU takes for work that the host may launch more slowly than the GPU does it: the GPU's time, not the host's.

Work of one layer is so short that launching it takes longer, on a fast card. So the GPU is kept busy with something
else until all of a sample lies in its queue, between two events; that it was kept busy so long is checked, not hoped.
Runs inside images: Python 3.7 syntax; torch.
"""

import math
import time
from typing import Callable, Iterator, Optional

import torch

from jobs.dogs_cats.measurements.sampling import MOST_SAMPLES, TOO_SLOW, NotPossible, seconds_of

SAMPLE_SECONDS = 0.005  # of work, about
MOST_TIMES = 30  # that work is done for one sample: CUDA's queue holds about a thousand launches
EDGE = 2048  # of the square matrices that keep the GPU busy
MARGIN = 1.5  # of the time that the GPU is kept busy, over what launching took when it was tried
MOST_TRIES = 5  # each with twice the margin of the one before


def rates(amount: float, work: Callable[[], object], seconds: float) -> Iterator[float]:
    """Yield `amount` per second of the GPU's time. `work` returns when it is queued; the first time is a warm-up."""
    began = time.perf_counter()
    done = _finished(work)
    first = seconds_of(done, 1)
    if first > seconds:
        raise NotPossible(TOO_SLOW.format(first, seconds))
    once = min(seconds_of(done, 1) for _ in range(2))
    times = max(1, min(MOST_TIMES, int(SAMPLE_SECONDS / max(once, 1e-7))))
    sample = _Sample(work, times)
    samples = 0
    while samples < MOST_SAMPLES and (samples == 0 or time.perf_counter() - began < seconds):
        yield amount * times / sample.seconds()
        samples += 1


class _Sample:
    """Work so many times, all of it queued before the GPU begins with it."""

    def __init__(self, work: Callable[[], object], times: int) -> None:
        self._work, self._times = work, times
        left, right = (torch.ones(EDGE, EDGE, device="cuda") for _ in range(2))
        self._other = lambda: torch.mm(left, right)  # type: Callable[[], object]
        other = _finished(self._other)
        other_seconds = min(seconds_of(other, 1) for _ in range(3))
        launching = seconds_of(work, times)
        torch.cuda.synchronize()
        self._others = math.ceil(MARGIN * launching / other_seconds)

    def seconds(self) -> float:
        """Return what the GPU took."""
        for _ in range(MOST_TRIES):
            found = self._try()
            if found is not None:
                return found
            self._others *= 2
        raise NotPossible("the host launches it so slowly that the GPU waits, however long it is kept busy before")

    def _try(self) -> Optional[float]:
        begin, end = (torch.cuda.Event(enable_timing=True) for _ in range(2))
        for _ in range(self._others):
            self._other()
        begin.record()
        for _ in range(self._times):
            self._work()
        end.record()
        queued = not begin.query()
        end.synchronize()
        return begin.elapsed_time(end) / 1000.0 if queued else None


def _finished(work: Callable[[], object]) -> Callable[[], None]:
    """Return the work, until the GPU is done with it."""

    def done() -> None:
        work()
        torch.cuda.synchronize()

    return done
