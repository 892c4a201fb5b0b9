"""A batch that cannot be handed over ends the training with its reason; without that, the training waits for ever."""

import dataclasses
import multiprocessing.queues
from pathlib import Path

import pytest
from torch.utils.data import DataLoader

from jobs.dogs_cats import failures, lost_batches, parameters
from jobs.dogs_cats.photos import Input
from stages.errors import FaceoffError
from tests.project import DOGS_CATS

WAITED_SECONDS = 20  # then torch says 'DataLoader timed out', which no test here expects


class Lost:
    """Raises in the queue's thread, as a tensor does in torch 1.2 that finds no room in /dev/shm."""

    def __init__(self, error: Exception) -> None:
        self.error = error

    def __reduce__(self) -> str:
        raise self.error


def load(error: Exception) -> None:
    """Have a loader's process lose the second of four batches."""
    recipe = dataclasses.replace(parameters.section(DOGS_CATS).recipe, workers=2)
    items = [0, Lost(error), 2, 3]
    with failures.explained(Input(recipe, "fp32", 16, 43, [], [], [], None, Path()), "1.0.48"):
        list(DataLoader(items, batch_size=None, num_workers=2, timeout=WAITED_SECONDS))


def test_a_full_dev_shm_is_told() -> None:
    with pytest.raises(FaceoffError, match="the loader's processes ran out of shared memory"):
        load(RuntimeError("unable to write to file </torch_20_1805>"))


def test_any_other_error_is_raised_where_the_batch_was_awaited() -> None:
    with pytest.raises(OSError, match=r"in DataLoader worker process 1[\s\S]*Too many open files"):
        load(OSError("Too many open files"))


def test_an_error_that_cannot_be_handed_over_either_is_raised_as_what_kept_it() -> None:
    class OfAFunction(Exception):
        pass

    with pytest.raises(Exception, match="OfAFunction"):
        load(OfAFunction())


def test_queues_are_left_as_they_were() -> None:
    before = vars(multiprocessing.queues.Queue)[lost_batches.HOOK]
    with lost_batches.reported():
        assert vars(multiprocessing.queues.Queue)[lost_batches.HOOK] is not before
    assert vars(multiprocessing.queues.Queue)[lost_batches.HOOK] is before
