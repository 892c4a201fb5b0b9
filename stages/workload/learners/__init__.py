"""Who trains: one learner per major version of fastai, found by what is installed.

The job that is timed lies behind this small interface; nothing outside a learner knows which version it is.
"""

import importlib
import importlib.util
import random
from pathlib import Path
from typing import Callable, Iterator, List, NamedTuple, Optional, Tuple

import numpy as np
import torch

from stages.errors import FaceoffError
from stages.records import Epoch, Recipe


class Job(NamedTuple):
    """What to learn, and from what."""

    recipe: Recipe
    precision: str
    batch_size: int
    seed: int  # of this repeat
    photos: List[Path]  # absolute
    valid: List[int]  # indices into `photos`, in the order in which they are predicted; the rest is for training
    classes: List[str]
    weights: Optional[Path]

    @property
    def train(self) -> List[int]:
        valid = set(self.valid)
        return [index for index in range(len(self.photos)) if index not in valid]

    def epochs(self, phase: str) -> int:
        return self.recipe.frozen_epochs if phase == "frozen" else self.recipe.unfrozen_epochs

    def learning_rates(self, phase: str) -> slice:
        """Peaks, as both versions of fastai take them: the lowest layers' and the head's, or the head's alone."""
        if phase == "frozen":
            return slice(self.recipe.frozen_learning_rate)
        return slice(*self.recipe.unfrozen_learning_rates)

    def warm_up_share(self, phase: str) -> float:
        """Share of the phase's steps in which the learning rate rises: at least one step, or fastai 1 divides by 0."""
        steps = self.epochs(phase) * (len(self.train) // self.batch_size)
        wanted = FROZEN_PCT_START if phase == "frozen" else self.recipe.pct_start
        return min(max(wanted, 1.5 / steps), 0.9)


AfterEpoch = Callable[[Tuple[Epoch, ...], dict], bool]  # see Learner.run_phase


class Prediction(NamedTuple):
    """Probabilities of the validation photos, a row per photo and a column per class, in the job's order."""

    probabilities: List[List[float]]
    labels: List[int]
    seconds: float

    @property
    def accuracy(self) -> float:
        """Share of photos whose most probable class is the right one."""
        right = [row.index(max(row)) == label for row, label in zip(self.probabilities, self.labels)]
        return sum(right) / len(right)


# One-cycle schedule and test-time augmentation, spelled out where the two versions' defaults differ. Values: fastai 1.
FROZEN_PCT_START = 0.3
DIV_FACTOR = 25.0
FINAL_DIV = 25.0e4
MOMENTUMS = (0.95, 0.85)
TTA_PASSES = 8  # augmented ones, beside the plain one
TTA_BETA = 0.4  # weight of the plain prediction


class Learner:
    """Interface of a learner. `prepare` first; then any number of phases and predictions."""

    told_by = ""  # a module that this version of fastai has and the other has not

    @property
    def version(self) -> str:
        """Of fastai. Cheap: the package itself imports nothing."""
        return str(importlib.import_module("fastai").__version__)

    def unsupported(self, precision: str) -> Optional[str]:
        """Why this stack cannot train at `precision` on this device; None if it can. Needs no import of fastai."""
        raise NotImplementedError

    def import_fastai(self) -> None:
        """Import what is needed of fastai; 3 to 10 s, apart from `prepare` so that it can be timed."""
        raise NotImplementedError

    def prepare(self, job: Job) -> None:
        """Build data loaders and network."""
        raise NotImplementedError

    @property
    def network(self) -> torch.nn.Module:
        """That is trained; after `prepare`."""
        raise NotImplementedError

    def algorithm(self) -> str:
        """What the precision was in fact, e.g. 'autocast to bfloat16'."""
        raise NotImplementedError

    def memory_format(self) -> str:
        """'contiguous' or 'channels_last'."""
        raise NotImplementedError

    def device(self) -> str:
        """'cpu', or the name of the GPU."""
        raise NotImplementedError

    def run_phase(
        self,
        phase: str,
        done: Tuple[Epoch, ...] = (),
        state: Optional[dict] = None,
        after_epoch: Optional[AfterEpoch] = None,
    ) -> Tuple[Epoch, ...]:
        """Train 'frozen' or 'unfrozen' and return the phase's epochs; all of them, unless `after_epoch` ends it.

        `after_epoch` is called between two epochs, outside of both's time, with the phase's epochs so far and all that
        the training's course hangs on, in types that torch.load takes without unpickling code; False ends the training
        there. Given the two as `done` and `state`, another process that is prepared for the same job goes on as this
        one would have; `state` is emptied once it is taken over, for its memory's sake.
        """
        raise NotImplementedError

    def fetch_batches(self) -> Iterator[int]:
        """Fetch one epoch's training batches from the loader and use none: the number of photos of each as it comes."""
        raise NotImplementedError

    def repeat_steps(self, goes_on: Callable[[], bool]) -> None:
        """Train on one and the same batch, on the device already, as long as `goes_on` says when asked before a step.

        As the last phase trained: its precision, its frozen layers. Changes the network; save it first.
        """
        raise NotImplementedError

    def predict(self, tta: bool) -> Prediction:
        """Predict the validation photos in fp32, plainly or with test-time augmentation."""
        raise NotImplementedError

    def save(self, path: Path) -> None:
        """Write the network's weights, in fp32."""
        raise NotImplementedError

    def load(self, path: Path) -> None:
        raise NotImplementedError


def find() -> Learner:
    """The learner for the fastai that is installed. Raises FaceoffError where there is none."""
    from stages.workload.learners.fastai1 import Fastai1
    from stages.workload.learners.fastai2 import Fastai2

    if importlib.util.find_spec("fastai") is not None:
        for kind in (Fastai2, Fastai1):
            if importlib.util.find_spec(kind.told_by) is not None:
                return kind()
    raise FaceoffError("this image has no fastai that faceoff can drive: it needs fastai 1.0.x or 2.x")


def device_name() -> str:
    """'cpu', or the name of the GPU that the job trains on."""
    return torch.cuda.get_device_name(0) if torch.cuda.is_available() else "cpu"


def seed_everything(seed: int) -> None:
    random.seed(seed)
    np.random.seed(seed)
    torch.manual_seed(seed)


def random_state() -> dict:
    """Of every generator that a training may draw from, but those of its loaders."""
    name, keys, *rest = np.random.get_state()
    return {
        "python": random.getstate(),
        "numpy": [name, keys.tolist(), *rest],
        "torch": torch.get_rng_state(),
        "cuda": torch.cuda.get_rng_state_all() if torch.cuda.is_available() else [],
    }


def set_random_state(state: dict) -> None:
    random.setstate(state["python"])
    np.random.set_state(tuple(state["numpy"]))
    torch.set_rng_state(state["torch"])
    if state["cuda"]:
        torch.cuda.set_rng_state_all(state["cuda"])
