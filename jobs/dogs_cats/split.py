"""Where the time of training steps goes: waiting for the loader, copy to the device, compute, the rest.

On a GPU the moments are CUDA events: markers in the queue of work, which cost a microsecond and wait for nothing, read
after the epoch, when the device has been synchronised anyhow. On a CPU they are the clock.

Runs inside images: Python 3.7 syntax, standard library and torch.
"""

import time
from contextlib import contextmanager
from typing import Any, Iterator, Tuple

import torch

from stages.contract import Split


class Splitter:
    """Collects one epoch's moments; a learner calls it at each.

    A step: `asks` the loader, `copies` (the batch is there), `computes` (it is on the device), `computed`. What the
    device does to a batch before the network (fastai 1 normalises, fastai 2 augments and normalises) is compute.
    """

    def __init__(self) -> None:
        self.active = False
        self._mark = event if torch.cuda.is_available() else time.perf_counter  # type: Callable[[], Any]
        self._clear()

    def _clear(self) -> None:
        self._waits_seconds = []  # type: List[float]
        self._copies = []  # type: List[Any]
        self._computes = []  # type: List[Any]
        self._computed = []  # type: List[Any]
        self._asked = 0.0

    def begin(self) -> None:
        """Note that an epoch's training begins, and asks for its first batch."""
        self._clear()
        self._began = self._mark()
        self.active = True
        self.asks()

    def asks(self) -> None:
        """Note that the loader is asked for a batch."""
        self._asked = time.perf_counter()

    def copies(self) -> None:
        """Note that the batch is there, and copied to the device."""
        self._waits_seconds.append(time.perf_counter() - self._asked)
        self._copies.append(self._mark())

    def computes(self) -> None:
        """Note that the batch is on the device."""
        self._computes.append(self._mark())

    def computed(self) -> None:
        """Note that the step is computed."""
        self._computed.append(self._mark())

    def end(self) -> None:
        """Note that the epoch's training is done: what the loader does for validation is not counted."""
        self.active = False

    def split(self, train_seconds: float) -> Tuple[int, Split]:
        """Return steps and split of an epoch that trained for `train_seconds`; the device must be synchronised before.

        A GPU that still works when the host asks for a batch does not wait: of the host's waiting, only what falls into
        a gap between the device's work on two batches counts.
        """
        gaps = [between(*pair) for pair in zip([self._began, *self._computed], self._copies)]
        wait = sum(min(pair) for pair in zip(self._waits_seconds, gaps))
        copy = sum(between(*pair) for pair in zip(self._copies, self._computes))
        compute = sum(between(*pair) for pair in zip(self._computes, self._computed))
        return len(self._computed), Split(wait, copy, compute, max(0.0, train_seconds - wait - copy - compute))

    def step_seconds(self) -> Tuple[float, ...]:
        """Return what each step took, from the end of the one before to its own; the device must be synchronised."""
        moments = [self._began, *self._computed]
        return tuple(round(between(*pair), 6) for pair in zip(moments, self._computed))


def event() -> Any:
    """Return a marker at the end of what is queued on the GPU; it tells its time once the GPU has come there."""
    marker = torch.cuda.Event(enable_timing=True)
    marker.record()
    return marker


def between(earlier: Any, later: Any) -> float:
    """Return the seconds from one moment to the other; both must have passed."""
    if isinstance(earlier, float):
        return later - earlier
    return earlier.elapsed_time(later) / 1000.0


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
