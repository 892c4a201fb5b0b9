"""Where the time of training steps goes: waiting for the loader, copy to the device, compute, the rest.

On a GPU the moments are CUDA events: markers in the queue of work, which cost some microseconds and wait for nothing,
read after the epoch, when the device has been synchronised anyhow. On a CPU they are the clock.

Of compute on a GPU it is told beside, how much is waiting for the host to launch work: how far an event passes behind
the host's clock at its recording is what lay in the queue then. Where that is next to nothing at the end of a stretch,
the device has gone through the stretch as fast as it was launched, and would with faster arithmetic go no faster.

Runs inside images: Python 3.7 syntax, standard library and torch.
"""

import statistics
import time
from contextlib import contextmanager
from typing import Any, Iterator, List, NamedTuple, Optional, Tuple

import torch

from stages.contract import Split

BEGUN, COPIES, COMPUTES, PASSES, COMPUTED, ENDED = range(6)
# What may be left in the queue where the device waits for the host: the kernels that were launched last. With more, a
# device without end would make the step by as much shorter.
MOST_LAG_SHARE = 0.1  # of a step's compute
ANCHOR_SECONDS, ANCHOR_TRIES = 100e-6, 5  # that a mark takes at most, where nothing interrupts the host amid it
LEAST_LAG_SECONDS = 50e-6  # but this always: an event's own way, and a kernel or two


class Mark(NamedTuple):
    """A moment of a step."""

    kind: int
    host: float  # the clock just before it was queued; on a CPU all that there is
    event: Any  # None on a CPU


class Splitter:
    """Collects one epoch's moments; a learner calls it at each.

    A step: `asks` the loader, `copies` (the batch is there), `computes` (it is on the device), `passes` as often as one
    likes, `computed`. What the device does to a batch before the network (fastai 1 normalises, fastai 2 augments and
    normalises) is compute.
    """

    def __init__(self) -> None:
        self.active = False
        self._has_device = torch.cuda.is_available()
        self._clear()

    def _clear(self) -> None:
        self._marks = []  # type: List[Mark]
        self._waits_seconds = []  # type: List[float]
        self._asked = 0.0

    def _mark(self, kind: int) -> None:
        host = time.perf_counter()  # before: what takes the processor away in between looks like lag, never like none
        self._marks.append(Mark(kind, host, event() if self._has_device else None))

    def _anchor(self, kind: int) -> None:
        """Mark a moment at which the device has nothing to do, and its clock and the host's can be compared."""
        for _ in range(ANCHOR_TRIES):
            self._mark(kind)
            if not self._has_device or time.perf_counter() - self._marks[-1].host < ANCHOR_SECONDS:
                return
            last = self._marks.pop()
        self._marks.append(last)

    def begin(self) -> None:
        """Note that an epoch's training begins, and asks for its first batch; the device must be synchronised."""
        self._clear()
        self._anchor(BEGUN)
        self.active = True
        self.asks()

    def asks(self) -> None:
        """Note that the loader is asked for a batch."""
        self._asked = time.perf_counter()

    def copies(self) -> None:
        """Note that the batch is there, and copied to the device."""
        self._waits_seconds.append(time.perf_counter() - self._asked)
        self._mark(COPIES)

    def computes(self) -> None:
        """Note that the batch is on the device."""
        self._mark(COMPUTES)

    def passes(self) -> None:
        """Note that a part of compute is launched: to be called before the loop waits for the device, which hides it.

        The network's forward pass, its backward pass. On a CPU launching is computing.
        """
        if self._has_device:
            self._mark(PASSES)

    def computed(self) -> None:
        """Note that the step is computed."""
        self._mark(COMPUTED)

    def end(self) -> None:
        """Note that the epoch's training is done; the device must be synchronised. Validation's loader is not seen."""
        self._anchor(ENDED)
        self.active = False

    def split(self, train_seconds: float) -> Tuple[int, Split]:
        """Return steps and split of an epoch that trained for `train_seconds`; the device must be synchronised before.

        A GPU that still works when the host asks for a batch does not wait: of the host's waiting, only what falls into
        a gap between the device's work on two batches counts.
        """
        wait = copy = 0.0
        computes = []  # type: List[float]
        waits_seconds = iter(self._waits_seconds)
        stretches = [between(*pair) for pair in zip(self._marks, self._marks[1:])]
        for mark, seconds in zip(self._marks[1:], stretches):
            if mark.kind == COPIES:
                wait += min(next(waits_seconds), seconds)
            elif mark.kind == COMPUTES:
                copy += seconds
                computes.append(0.0)
            elif mark.kind in (PASSES, COMPUTED):
                computes[-1] += seconds
        compute = sum(computes)
        other = max(0.0, train_seconds - wait - copy - compute)
        steps = sum(mark.kind == COMPUTED for mark in self._marks)
        return steps, Split(wait, copy, compute, other, self._launch_seconds(stretches, computes))

    def _launch_seconds(self, stretches: List[float], computes: List[float]) -> Optional[float]:
        """Return the seconds of compute in stretches at whose end next to nothing was left in the device's queue."""
        if not self._has_device:
            return None
        most = max(LEAST_LAG_SECONDS, MOST_LAG_SHARE * statistics.median(computes)) if computes else 0.0
        ends = zip(self._marks[1:], stretches, self._lags_seconds(stretches)[1:])
        launches = (seconds for mark, seconds, lag in ends if mark.kind in (PASSES, COMPUTED) and lag <= most)
        return min(sum(computes), sum(launches))  # summed up in another order, which the last digit shows

    def _lags_seconds(self, stretches: List[float]) -> List[float]:
        """Return how far the device was behind the host at each mark.

        Both clocks say the same at the first mark and at the last, where the device was synchronised: the last one
        tells how much faster one of them goes, some 0.01 %.
        """
        hosts = [mark.host - self._marks[0].host for mark in self._marks]
        lags, device = [0.0], 0.0
        for host, seconds in zip(hosts[1:], stretches):  # mark by mark: CUDA tells times in so many digits of ms
            device += seconds
            lags.append(device - host)
        drift = lags[-1] / hosts[-1] if self._marks[-1].kind == ENDED and hosts[-1] > 0 else 0.0
        return [lag - drift * host for lag, host in zip(lags, hosts)]

    def step_seconds(self) -> Tuple[float, ...]:
        """Return what each step took, from the end of the one before to its own; the device must be synchronised."""
        ends = [mark for mark in self._marks if mark.kind in (BEGUN, COMPUTED)]
        return tuple(round(between(*pair), 6) for pair in zip(ends, ends[1:]))


def event() -> Any:
    """Return a marker at the end of what is queued on the GPU; it tells its time once the GPU has come there."""
    marker = torch.cuda.Event(enable_timing=True)
    marker.record()
    return marker


def between(earlier: Mark, later: Mark) -> float:
    """Return the seconds from one moment to the other; both must have passed."""
    if earlier.event is None:
        return later.host - earlier.host
    return earlier.event.elapsed_time(later.event) / 1000.0


@contextmanager
def copies_marked(module: Any, splitter: Splitter) -> Iterator[None]:
    """Have the function `to_device` that this module of fastai calls on a batch mark its begin and end meanwhile."""
    to_device = module.to_device  # type: Callable[..., Any]

    def marked(*args: Any, **kwargs: Any) -> Any:
        if not splitter.active:
            return to_device(*args, **kwargs)
        splitter.copies()
        batch = to_device(*args, **kwargs)
        splitter.computes()
        return batch

    module.to_device = marked
    try:
        yield
    finally:
        module.to_device = to_device
