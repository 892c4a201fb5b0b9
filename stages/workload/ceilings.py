"""What each side of a training step reaches alone: the loader without a use for its batches, compute without a loader.

Measured after the training, outside of every timed epoch. Runs inside images: Python 3.7 syntax.
"""

import time
from typing import Callable, Optional

from stages.records import Ceilings
from stages.workload.clocks import synchronised_clock
from stages.workload.learners import Job, Learner

SECONDS = 3.0  # that each side may take, about: a cell shall not get much longer by this
LEAST_STEPS = 5  # ... but a rate of fewer steps would be chance
WARM_UP_STEPS = 2  # memory of the network's sizes is allocated in the first


Beat = Optional[Callable[[], object]]


def measure(learner: Learner, job: Job, beat: Beat = None) -> Ceilings:
    """Of a learner that has trained; it must not be used for another training after this."""
    return Ceilings(loader_images_per_second(learner, job, beat), compute_images_per_second(learner, job))


def loader_images_per_second(learner: Learner, job: Job, beat: Beat = None) -> float:
    """Rate at which the workers deliver, once each has delivered a batch: starting them is not in it.

    `beat`: called at each batch, since no step of the network shows here that the job goes on.
    """
    skipped = min(job.recipe.workers, len(job.train) // job.batch_size - 1)
    images, began = 0, time.perf_counter()
    ended = began
    for index, size in enumerate(learner.fetch_batches()):
        ended = time.perf_counter()  # not later: the workers' end is no part of it
        if beat:
            beat()
        if index < skipped:
            began = ended
            continue
        images += size
        if index - skipped + 1 >= LEAST_STEPS and ended - began > SECONDS:
            break
    return images / (ended - began)


def compute_images_per_second(learner: Learner, job: Job) -> float:
    """Rate of whole steps on the same batch, which lies on the device already."""
    pace = Pace()
    learner.repeat_steps(pace.goes_on)
    return job.batch_size * pace.steps / pace.seconds


class Pace:
    """Tells a loop of steps whether another one is due, and how long the steps after the warm-up took."""

    def __init__(self) -> None:
        self.steps = -1 - WARM_UP_STEPS  # done, the warm-up not counted
        self.seconds = 0.0
        self._began = 0.0

    def goes_on(self) -> bool:
        """To be asked before each step."""
        self.steps += 1
        if self.steps == 0:
            self._began = synchronised_clock()
        if self.steps < LEAST_STEPS or time.perf_counter() - self._began < SECONDS:
            return True
        self.seconds = synchronised_clock() - self._began
        return False
