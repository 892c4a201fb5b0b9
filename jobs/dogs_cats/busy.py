"""How much of a step the device's kernels take, by torch's profiler, in steps that are thrown away after all others.

The profiler makes launches slower, and what it loads (CUPTI) stays in the process and may slow down what comes after:
so it is the last thing that a training's process does, evaluation is another process, and what the kernels take is
divided by the time of a step that was not profiled. Runs inside images: Python 3.7 syntax; torch from 1.8.1.
"""

from typing import Any, Callable, Iterable, Iterator, Tuple

import torch

from jobs.dogs_cats.clocks import synchronised_clock
from stages.errors import FaceoffError

WARM_UP_STEPS = 3
MOST_STEPS, LEAST_STEPS = 15, 3  # that are profiled
SECONDS = 5.0  # that the profiled steps take, about, unless so few take longer
MOST_STEP_SECONDS = 10.0  # of a step that is worth the wait
COPY_ENGINES = ("Memcpy HtoD", "Memcpy DtoH", "Memcpy HtoH")  # no kernels: they go on beside them
RANGES = ("ProfilerStep", "Optimizer.")  # names of the host, shown over the kernels that they launched


def share(repeat_steps: Callable[[Callable[[], bool]], None], step_seconds: float) -> float:
    """Return the share of `step_seconds` in which a kernel runs. Raises FaceoffError where that can't be told.

    `repeat_steps` trains for as long as what it is given says, which it asks before each step.
    """
    profiled = Profiled(_profiler(), _steps(step_seconds))
    repeat_steps(profiled.goes_on)
    busy = union_seconds(_kernels(profiled.profiler.events()))
    if busy == 0.0:
        raise FaceoffError(
            "the profiler showed no kernel: another one may be at work, or the driver does not permit it"
        )
    return min(1.0, busy / profiled.steps / step_seconds)


class Profiled:
    """Tells a loop of steps whether another one is due, and profiles those after the warm-up."""

    def __init__(self, profiler: Any, steps: int) -> None:
        self.profiler = profiler
        self.steps = steps
        self._done = -1 - WARM_UP_STEPS

    def goes_on(self) -> bool:
        """Say whether another step is due; to be asked before each."""
        self._done += 1
        if self._done == 0:
            synchronised_clock()  # what was launched before is none of them
            self.profiler.start()
        elif self._done == self.steps:
            synchronised_clock()
            self.profiler.stop()
        return self._done < self.steps


def union_seconds(stretches: Iterable[Tuple[float, float]]) -> float:
    """Return the time in which at least one is under way. Of each, begin and end in microseconds."""
    union, last = 0.0, float("-inf")
    for begin, end in sorted(stretches):
        union += max(0.0, end - max(begin, last))
        last = max(last, end)
    return union / 1e6


def _kernels(events: Iterable[Any]) -> Iterator[Tuple[float, float]]:
    for event in events:
        if str(event.device_type).rpartition(".")[2] != "CUDA":  # the calls that launch
            continue
        if getattr(event, "is_user_annotation", False) or event.name.startswith((*COPY_ENGINES, *RANGES)):
            continue
        yield event.time_range.start, event.time_range.end


def _steps(step_seconds: float) -> int:
    if step_seconds > MOST_STEP_SECONDS:
        raise FaceoffError("a step takes {:.0f} s, {:.0f} s at most".format(step_seconds, MOST_STEP_SECONDS))
    return max(LEAST_STEPS, min(MOST_STEPS, int(SECONDS / step_seconds)))


def _profiler() -> Any:
    """Return a profiler of kernels alone: what it notes of the host would slow down launches all the more."""
    if not torch.cuda.is_available():
        raise FaceoffError("without a GPU there are no kernels")
    profiler = getattr(torch, "profiler", None)
    if not hasattr(profiler, "profile"):
        raise FaceoffError("torch {} has no profiler of kernels: 1.8.1 brought it".format(torch.__version__))
    kernels = profiler.ProfilerActivity.CUDA
    if hasattr(profiler, "supported_activities") and kernels not in profiler.supported_activities():
        raise FaceoffError("torch {} was built without a profiler of kernels".format(torch.__version__))
    return profiler.profile(activities=[kernels])
