"""What each side of a training step reaches alone: the loader without a use for its batches, compute without one.

Measured after the training, outside of every timed epoch. Runs inside images: Python 3.7 syntax.
"""

import time

from jobs.dogs_cats.clocks import synchronised_clock
from jobs.dogs_cats.learners import Learner
from jobs.dogs_cats.photos import Beat, Input
from stages.contract import Ceilings

SECONDS = 3.0  # that each side may take, about: a cell shall not get much longer by this
LEAST_STEPS = 5  # ... but a rate of fewer steps would be chance
MOST_SECONDS = 8.0  # ... and a chance is better than a minute of it, on a loaded machine
WARM_UP_STEPS = 2  # memory of the network's sizes is allocated in the first


def measure(learner: Learner, taken: Input, beat: Beat = None) -> Ceilings:
    """Measure a learner that has trained; it must not be used for another training after this."""
    return Ceilings(loader_samples_per_second(learner, taken, beat), compute_samples_per_second(learner, taken))


def loader_samples_per_second(learner: Learner, taken: Input, beat: Beat = None) -> float:
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
            continue
        samples += size
        if is_enough(index - skipped + 1, ended - began):
            break
    return samples / (ended - began)


def compute_samples_per_second(learner: Learner, taken: Input) -> float:
    """Return the rate of whole steps on the same batch, which lies on the device already."""
    pace = Pace()
    learner.repeat_steps(pace.goes_on)
    return taken.batch_size * pace.steps / pace.seconds


def is_enough(steps: int, seconds: float) -> bool:
    """Whether so many steps, in so much time, tell the rate."""
    return seconds > (SECONDS if steps >= LEAST_STEPS else MOST_SECONDS)


class Pace:
    """Tells a loop of steps whether another one is due, and how long the steps after the warm-up took."""

    def __init__(self) -> None:
        self.steps = -1 - WARM_UP_STEPS  # done, the warm-up not counted
        self.seconds = 0.0
        self._began = 0.0

    def goes_on(self) -> bool:
        """Say whether another step is due; to be asked before each."""
        self.steps += 1
        if self.steps == 0:
            self._began = synchronised_clock()
        if self.steps < 1 or not is_enough(self.steps, time.perf_counter() - self._began):
            return True
        self.seconds = synchronised_clock() - self._began
        return False
