"""What each side of a training step reaches alone: the loader without a use for its batches, compute without one.

Measured once a setting, after a training, outside of every timed epoch. Runs inside images: Python 3.7 syntax.
"""

import time
from typing import Optional

import torch

from jobs.dogs_cats import busy
from jobs.dogs_cats.clocks import synchronised_clock
from jobs.dogs_cats.learners import Learner
from jobs.dogs_cats.photos import Beat, Input
from stages.contract import Ceilings
from stages.errors import FaceoffError

SECONDS = 0.6  # that each side is counted for, about: it explains, and no verdict comes of it
LEAST_STEPS = 5  # ... but a rate of fewer steps would be chance
CAP_SECONDS = 6.0  # of both together, after which no batch and no step begins: a chance, or none, on a loaded machine
WARM_UP_STEPS = 2  # memory of the network's sizes is allocated in the first


def measure(learner: Learner, taken: Input, beat: Beat = None) -> Optional[Ceilings]:
    """Measure a learner that has trained; it must not be used for another training after this.

    None where the time was up before there was anything to count: another repeat may see to it.
    """
    began = time.perf_counter()
    loader = loader_samples_per_second(learner, taken, began + CAP_SECONDS / 2, beat)
    if loader is None:
        return None
    compute = compute_samples_per_second(learner, taken, began + CAP_SECONDS)
    return None if compute is None else Ceilings(loader, compute)


def loader_samples_per_second(learner: Learner, taken: Input, deadline: float, beat: Beat = None) -> Optional[float]:
    """Return the rate at which the workers deliver, once each has delivered a batch: starting them is not in it.

    `beat`: called at each batch, since no step of the network shows here that the job goes on.
    """
    skipped = min(taken.recipe.workers, len(taken.train) // taken.batch_size - 1)
    samples, began = 0, time.perf_counter()
    ended = began
    for index, size in enumerate(learner.fetch_batches()):
        ended = time.perf_counter()  # not later: the workers' end is no part of it
        if beat:
            beat()
        if index < skipped:
            began = ended
        else:
            samples += size
        if is_enough(index - skipped + 1, ended - began) or ended > deadline:
            break
    return samples / (ended - began) if samples else None


def compute_samples_per_second(learner: Learner, taken: Input, deadline: float) -> Optional[float]:
    """Return the rate of whole steps on the same batch, which lies on the device already."""
    pace = Pace(deadline)
    learner.repeat_steps(pace.goes_on)
    return taken.batch_size * pace.steps / pace.seconds if pace.steps > 0 else None


def device_busy_share(learner: Learner, taken: Input, reached: Ceilings) -> Optional[float]:
    """Return how much of a step of compute alone the GPU's kernels take; None without a GPU, and where a line says why.

    Nothing that is timed may follow in this process.
    """
    if not torch.cuda.is_available():
        return None
    try:
        return busy.share(learner.repeat_steps, taken.batch_size / reached.compute_samples_per_second)
    except Exception as error:  # it explains: no training fails of it
        kind = "" if isinstance(error, FaceoffError) else type(error).__name__ + ": "
        print("busy share of the GPU in a step: not known: {}{}".format(kind, (str(error).splitlines() or [""])[0]))
        return None


def is_enough(steps: int, seconds: float) -> bool:
    """Whether so many steps, in so much time, tell the rate."""
    return steps >= LEAST_STEPS and seconds > SECONDS


class Pace:
    """Tells a loop of steps whether another one is due, and how long the steps after the warm-up took."""

    def __init__(self, deadline: float) -> None:
        self.steps = -1 - WARM_UP_STEPS  # done, the warm-up not counted
        self.seconds = 0.0
        self._began = 0.0
        self._deadline = deadline

    def goes_on(self) -> bool:
        """Say whether another step is due; to be asked before each."""
        self.steps += 1
        now = time.perf_counter()
        if self.steps == 0:
            self._began = now = synchronised_clock()
        if now <= self._deadline and (self.steps < 1 or not is_enough(self.steps, now - self._began)):
            return True
        self.seconds = synchronised_clock() - self._began
        return False
