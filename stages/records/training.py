"""How a network is trained and on what photos, and what came out of a cell.

Runs inside images: Python 3.7 syntax, standard library only.
"""

import dataclasses
from typing import Any, Dict, Optional, Tuple

from stages.codec import check
from stages.records.cells import Cell
from stages.records.environment import Conditions, Load

PRECISIONS = ("fp32", "mixed")
STATUSES = ("ok", "failed", "unsupported")
PHASES = ("frozen", "unfrozen")
ARCHITECTURES = ("resnet18", "resnet34", "resnet50", "resnet101", "resnet152", "tf_efficientnet_lite0")


@dataclasses.dataclass(frozen=True)
class Recipe:
    """How the network is trained; the `recipe` section of params.yaml, read on the host and inside images alike."""

    arch: str
    pretrained: bool
    size: int  # edge of the square input, pixels
    frozen_epochs: int
    unfrozen_epochs: int
    frozen_learning_rate: float  # peak of the one-cycle schedule, for the head
    unfrozen_learning_rates: Tuple[float, float]  # peak for the first layer group and for the head
    pct_start: float  # share of the unfrozen schedule in which the learning rate rises
    workers: int  # processes that load photos
    channels_last: bool  # memory format of the network and its input, where the image's torch has it
    seed: int

    def __post_init__(self) -> None:
        check("arch", self.arch, self.arch in ARCHITECTURES, "one of " + ", ".join(ARCHITECTURES))
        check("size", self.size, self.size >= 32, "at least 32 pixels")
        check("frozen_epochs", self.frozen_epochs, self.frozen_epochs >= 0, "0 or more")
        check("unfrozen_epochs", self.unfrozen_epochs, self.unfrozen_epochs >= 0, "0 or more")
        total = self.frozen_epochs + self.unfrozen_epochs
        check("unfrozen_epochs", self.unfrozen_epochs, total >= 1, "at least one epoch, frozen or unfrozen")
        check("frozen_learning_rate", self.frozen_learning_rate, self.frozen_learning_rate > 0, "above 0")
        rates = self.unfrozen_learning_rates
        check("unfrozen_learning_rates", list(rates), 0 < rates[0] <= rates[1], "two rates above 0, the lower first")
        check("pct_start", self.pct_start, 0 < self.pct_start < 1, "between 0 and 1")
        check("workers", self.workers, self.workers >= 0, "0 or more")
        check("seed", self.seed, 0 <= self.seed < 2**32, "between 0 and 2**32 - 1")


@dataclasses.dataclass(frozen=True)
class Photo:
    """One file of the data set."""

    path: str  # relative to data/photos, e.g. 'train/cats/cat.0.jpg'
    size_bytes: int
    sha256: str


@dataclasses.dataclass(frozen=True)
class Manifest:
    """data/manifest.json: what the other stages depend on, instead of on a folder of 25,000 files."""

    source: str  # e.g. 'kaggle lingjin525/dogs-and-cats-fastai version 1'
    photos: Tuple[Photo, ...]  # sorted by path
    left_out: Dict[str, str]  # photo that does not decode: why
    sha256: str  # of the sorted (path, sha256) lines of `photos`


@dataclasses.dataclass(frozen=True)
class Dataset:
    """metrics/dataset.json: the counts that people look at."""

    source: str
    sha256: str  # the manifest's
    counts: Dict[str, Dict[str, int]]  # split, then class
    total_photos: int
    total_bytes: int
    left_out: Dict[str, str]
    weights_sha256: Optional[str]  # None where the recipe trains from scratch


@dataclasses.dataclass(frozen=True)
class Session:
    """metrics/session.json: what session.max_hours of params.yaml counts from. Written in every run of the pipeline."""

    began_at: str  # UTC, ISO 8601


@dataclasses.dataclass(frozen=True)
class Split:
    """Where the time of training steps went, in sums over `steps`. The four parts make up the whole."""

    steps: int
    wait_seconds: float  # for the loader
    copy_seconds: float  # of the batch to the device
    compute_seconds: float  # forward, backward and optimiser; by CUDA events on a GPU
    other_seconds: float  # the rest of the loop: callbacks, bookkeeping

    @property
    def seconds(self) -> float:
        return self.wait_seconds + self.copy_seconds + self.compute_seconds + self.other_seconds


@dataclasses.dataclass(frozen=True)
class Ceilings:
    """What each side of a step reaches alone, measured after the training, which it does not disturb."""

    loader_images_per_second: float  # batches fetched as fast as they come, and not used
    compute_images_per_second: float  # the same batch, on the device already, again and again


@dataclasses.dataclass(frozen=True)
class Epoch:
    """One epoch as it was timed, raw. Clocks are read after the device has been synchronised."""

    phase: str  # 'frozen' or 'unfrozen'
    index: int  # within the phase, from 0
    train_seconds: float
    valid_seconds: float
    epoch_seconds: float  # from the epoch's begin to its end, validation and bookkeeping included
    train_images: int
    train_images_per_second: float
    train_loss: float
    valid_loss: float
    accuracy: float  # share of validation photos told right, without TTA
    peak_process_memory_bytes: Optional[int]  # resident, of the training process; its loader's workers are not in it
    peak_gpu_memory_bytes: Optional[int]  # allocated by torch's caching allocator on the training device
    split: Split  # of the training steps; about `train_seconds` in all

    def __post_init__(self) -> None:
        check("phase", self.phase, self.phase in PHASES, "one of " + ", ".join(PHASES))
        check("train_seconds", self.train_seconds, self.train_seconds > 0, "above 0")


@dataclasses.dataclass(frozen=True)
class Environment:
    """What decides a timing, beside the recipe."""

    device: str
    python: str
    torch: str
    cuda: Optional[str]
    cudnn: Optional[int]
    fastai: str
    torch_threads: int


@dataclasses.dataclass(frozen=True)
class Container:
    """What params.yaml lets the cell's container have."""

    gpus: str
    shm_size: str
    memory: Optional[str]
    cpus: Optional[float]


@dataclasses.dataclass(frozen=True)
class Sitting:
    """One process's part of a training."""

    after_epochs: int  # that were done when it began; the next one is its first, and so a cold one
    load: Load  # from the begin of its first epoch to the end of its last whole one

    def __post_init__(self) -> None:
        check("after_epochs", self.after_epochs, self.after_epochs >= 0, "0 or more")


@dataclasses.dataclass(frozen=True)
class TrainResult:
    """metrics/<image>/<precision>-bs<N>/train-<repeat>.json"""

    cell: Cell
    status: str
    reason: Optional[str]  # why the status is not 'ok'
    recipe: Recipe
    dataset_sha256: str
    machine_sha256: str  # fingerprint of the Machine that it ran on
    image_sha256: Optional[str]  # likewise of the Image; None where there was no image.json
    facts_sha256: Optional[str]  # likewise of the image's Facts; None where there was no profile
    container: Container
    environment: Optional[Environment]
    algorithm: Optional[str]  # what 'fp32' or 'mixed' was, e.g. 'autocast to bfloat16'
    memory_format: Optional[str]  # 'contiguous' or 'channels_last'
    epochs: Tuple[Epoch, ...]
    ceilings: Optional[Ceilings]  # None where the cell did not end 'ok'
    sittings: Tuple[Sitting, ...]  # one where nothing interrupted it; empty where it did not end 'ok'
    conditions: Tuple[Conditions, ...]  # before each sitting's first epoch, and after the last epoch
    warnings: Tuple[str, ...]  # what casts doubt on the times: a busy CPU, a throttled card, more than one sitting
    started_at: str  # UTC, ISO 8601; of the first sitting, and of a cell that failed, of the attempt that did
    import_seconds: Optional[float]  # of fastai, in the last sitting
    wall_seconds: float  # from a process's first line to its last epoch's end, or to just before this record is written

    def __post_init__(self) -> None:
        _check_status(self.status, self.reason)
        _check_whole(self, "environment", "algorithm", "epochs", "sittings", "ceilings")

    def phase_seconds(self, phase: str) -> float:
        """Sum of the phase's epoch times, as fastai's recorder would report them."""
        return sum(epoch.epoch_seconds for epoch in self.epochs if epoch.phase == phase)


@dataclasses.dataclass(frozen=True)
class EvaluateResult:
    """metrics/<image>/<precision>-bs<N>/evaluate-<repeat>.json"""

    cell: Cell
    status: str
    reason: Optional[str]
    photos: int
    accuracy: Optional[float]  # without TTA
    accuracy_tta: Optional[float]
    predict_seconds: Optional[float]  # one plain pass over the validation photos
    predict_tta_seconds: Optional[float]  # the article's prediction phase: one plain and eight augmented passes
    peak_process_memory_bytes: Optional[int]
    peak_gpu_memory_bytes: Optional[int]
    predictions_sha256: str  # of the file of predictions
    conditions: Tuple[Conditions, ...]  # before the plain pass, and after the one with TTA
    load: Optional[Load]  # in between
    warnings: Tuple[str, ...]  # as of a training
    started_at: str
    wall_seconds: float

    def __post_init__(self) -> None:
        _check_status(self.status, self.reason)
        _check_whole(self, "accuracy", "accuracy_tta", "predict_seconds", "predict_tta_seconds", "load")


def _check_status(status: str, reason: Optional[str]) -> None:
    check("status", status, status in STATUSES, "one of " + ", ".join(STATUSES))
    check("reason", reason, (status == "ok") == (reason is None), "a reason, exactly where the status is not 'ok'")


def _check_whole(result: Any, *names: str) -> None:
    """What a cell that ran whole says."""
    for name in names:
        value = getattr(result, name)
        check(name, value, result.status != "ok" or value not in (None, ()), "a value, where the status is 'ok'")
