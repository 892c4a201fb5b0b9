"""Who trains: one learner per major version of fastai, found by what is installed.

The job that is timed lies behind this small interface; nothing outside a learner knows which version it is.
"""

import importlib
import importlib.util
import random
from pathlib import Path
from typing import Callable, Iterator, List, NamedTuple, Optional

import numpy as np
import torch

from jobs.dogs_cats.imports import cheap
from jobs.dogs_cats.photos import Input
from stages.contract import Span
from stages.errors import FaceoffError

AfterEpoch = Callable[[Span, dict], bool]  # see Learner.run_phase


class Prediction(NamedTuple):
    """Probabilities of the validation photos, a row per photo and a column per class, in the input's order."""

    probabilities: List[List[float]]
    labels: List[int]
    seconds: float

    @property
    def accuracy(self) -> float:
        """Return the share of photos whose most probable class is the right one."""
        right = [row.index(max(row)) == label for row, label in zip(self.probabilities, self.labels)]
        return sum(right) / len(right)


# One-cycle schedule and test-time augmentation, spelled out where the two versions' defaults differ. Values: fastai 1.
DIV_FACTOR = 25.0
FINAL_DIV = 25.0e4
MOMENTUMS = (0.95, 0.85)
TTA_PASSES = 8  # augmented ones, beside the plain one
TTA_BETA = 0.4  # weight of the plain prediction


class Learner:
    """Interface of a learner. `prepare` first; then any number of phases and predictions."""

    module = ""  # a module that this version of fastai has and the other has not

    @property
    def version(self) -> str:
        """Return fastai's own. Cheap: the package itself imports nothing."""
        return str(importlib.import_module("fastai").__version__)

    def unsupported(self, precision: str) -> Optional[str]:
        """Say why this stack cannot train at `precision` on this device; None if it can. Needs no import of fastai."""
        raise NotImplementedError

    def import_fastai(self) -> None:
        """Import what is needed of fastai; 3 to 10 s, apart from `prepare` so that it can be timed."""
        raise NotImplementedError

    def prepare(self, taken: Input) -> None:
        """Build data loaders and network."""
        raise NotImplementedError

    @property
    def network(self) -> torch.nn.Module:
        """Return what is trained; after `prepare`."""
        raise NotImplementedError

    def algorithm(self) -> str:
        """Say what the precision was in fact, e.g. 'autocast to bfloat16'."""
        raise NotImplementedError

    def number_format(self) -> str:
        """Return 'fp32', 'fp16' or 'bf16': what convolutions compute in."""
        raise NotImplementedError

    def memory_format(self) -> str:
        """Return 'contiguous' or 'channels_last'."""
        raise NotImplementedError

    def device(self) -> str:
        """Return 'cpu', or the name of the GPU."""
        raise NotImplementedError

    def run_phase(
        self,
        phase: str,
        done: int = 0,
        state: Optional[dict] = None,
        after_epoch: Optional[AfterEpoch] = None,
    ) -> List[Span]:
        """Train 'frozen' or 'unfrozen' and return the epochs that were trained; all, unless `after_epoch` ends it.

        `after_epoch` is called between two epochs, outside of both's time, with the epoch that ended and all that the
        training's course hangs on, in types that torch.load takes without unpickling code; False ends the training
        there. Given that `state`, and how many epochs of the phase are `done`, another process that is prepared for the
        same input goes on as this one would have; `state` is emptied once it is taken over, for its memory's sake.
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
        """Read the network's weights."""
        raise NotImplementedError


def find() -> Learner:
    """Return the learner for the fastai that is installed. Raises FaceoffError where there is none."""
    with cheap():  # by the networks comes torchvision
        from jobs.dogs_cats.learners.fastai1 import Fastai1
        from jobs.dogs_cats.learners.fastai2 import Fastai2

    if importlib.util.find_spec("fastai") is not None:
        for kind in (Fastai2, Fastai1):
            if importlib.util.find_spec(kind.module) is not None:
                return kind()
    raise FaceoffError("this environment has no fastai that the job can drive: it needs fastai 1.0.x or 2.x")


def device_name() -> str:
    """Return 'cpu', or the name of the GPU that the job trains on."""
    return torch.cuda.get_device_name(0) if torch.cuda.is_available() else "cpu"


def seed_everything(seed: int) -> None:
    """Seed every generator that a training may draw from."""
    random.seed(seed)
    np.random.seed(seed)
    torch.manual_seed(seed)


def random_state() -> dict:
    """Return that of every generator that a training may draw from, but those of its loaders."""
    name, keys, *rest = np.random.get_state()
    return {
        "python": random.getstate(),
        "numpy": [name, keys.tolist(), *rest],
        "torch": torch.get_rng_state(),
        "cuda": torch.cuda.get_rng_state_all() if torch.cuda.is_available() else [],
    }


def set_random_state(state: dict) -> None:
    """Take over what `random_state` returned."""
    random.setstate(state["python"])
    np.random.set_state(tuple(state["numpy"]))
    torch.set_rng_state(state["torch"])
    if state["cuda"]:
        torch.cuda.set_rng_state_all(state["cuda"])
