"""What the stages hand each other: frozen records, one schema version, strict JSON.

A record says what ran, where, and what came out. Amounts carry their unit in the name (`train_seconds`,
`peak_memory_bytes`). Unknown is None, never 0 and never a guess.

Runs inside images: Python 3.7 syntax, standard library only.
"""

import dataclasses
import difflib
import hashlib
import json
import math
import os
import re
import tempfile
import typing
from pathlib import Path
from typing import Any, Dict, Optional, Tuple, Type, TypeVar

from stages.errors import FaceoffError

SCHEMA_VERSION = 1

PRECISIONS = ("fp32", "mixed")
STATUSES = ("ok", "failed", "unsupported")
PHASES = ("frozen", "unfrozen")
# Of a setting: a cell's statuses, and 'partial' (some repeats ran whole), 'refused' (the result is of other params) and
# 'missing' (no result).
SETTING_STATUSES = (*STATUSES, "partial", "refused", "missing")
# In total time against the baseline. 'faster' and 'slower': in every one of at least two repeats.
OUTCOMES = ("baseline", "faster", "slower", "undecided", "not compared")
ARCHITECTURES = ("resnet18", "resnet34", "resnet50", "resnet101", "resnet152", "tf_efficientnet_lite0")

MANIFEST_PATH = Path("data/manifest.json")
PHOTOS_DIR = Path("data/photos")
WEIGHTS_DIR = Path("data/weights")
MACHINE_PATH = Path("metrics/machine.json")
DATASET_PATH = Path("metrics/dataset.json")
COMPARISON_PATH = Path("metrics/comparison.json")
SCORECARD_PATH = Path("metrics/scorecard.json")
CURVES_PATH = Path("metrics/curves.csv")
REPORT_PATH = Path("reports/faceoff.md")

Record = TypeVar("Record")


class RecordError(FaceoffError):
    """A value that is not what the schema says: names the file, the key, what was expected and what was found."""


# --------------------------------------------------------------------------------------------- cells and settings


@dataclasses.dataclass(frozen=True)
class Cell:
    """One run of the matrix: a setting (image, precision, batch size) and which repeat of it."""

    image: str
    precision: str
    batch_size: int
    repeat: int

    @property
    def setting(self) -> str:
        """Name of what is compared, `image/precision-bsN`, e.g. 'cuda-10.0/fp32-bs16'."""
        return "{}/{}-bs{}".format(self.image, self.precision, self.batch_size)

    @property
    def train_path(self) -> Path:
        return Path("metrics") / self.setting / "train-{}.json".format(self.repeat)

    @property
    def evaluate_path(self) -> Path:
        return Path("metrics") / self.setting / "evaluate-{}.json".format(self.repeat)

    @property
    def predictions_path(self) -> Path:
        """CSV with a row per validation photo: photo, label, probability of each class with and without TTA."""
        return Path("metrics") / self.setting / "predictions-{}.csv".format(self.repeat)

    @property
    def model_dir(self) -> Path:
        """Folder that holds the trained model; empty where the cell did not end 'ok'."""
        return Path("models") / self.setting / str(self.repeat)


def image_path(image: str) -> Path:
    """Where the `image` stage says what it built, pulled or found."""
    return Path("metrics") / image / "image.json"


def profile_path(image: str) -> Path:
    return Path("metrics") / image / "profile.json"


# -------------------------------------------------------------------------------------------------------- records


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
class Contents:
    """What an image holds, read inside it."""

    python: str
    torch: Optional[str]
    torchvision: Optional[str]
    fastai: Optional[str]
    cuda: Optional[str]  # torch.version.cuda; None for a build without CUDA
    cudnn: Optional[int]  # torch.backends.cudnn.version()
    packages: Dict[str, str]  # distribution: version
    packages_sha256: str


@dataclasses.dataclass(frozen=True)
class Image:
    """metrics/<image>/image.json: what the image stage built, pulled or, for `host`, found."""

    name: str
    reference: Optional[str]  # what `docker run` takes; None where the job runs without a container
    image_id: Optional[str]  # sha256:… of the engine
    size_bytes: Optional[int]
    base: Optional[str]
    contents: Contents


@dataclasses.dataclass(frozen=True)
class Gpu:
    name: str
    uuid: str
    driver: str
    memory_bytes: int
    compute_capability: Optional[str]  # e.g. '7.5'


@dataclasses.dataclass(frozen=True)
class Machine:
    """metrics/machine.json: what the hardware is. No clock and no free memory: nothing that moves between two runs."""

    machine_id: Optional[str]  # one-way hash of the operating system's machine id
    cpu: Optional[str]
    physical_cores: Optional[int]
    logical_cpus: Optional[int]
    memory_bytes: Optional[int]
    kernel: str
    gpus: Tuple[Gpu, ...]
    gpus_reason: Optional[str]  # why `gpus` is empty


@dataclasses.dataclass(frozen=True)
class Profile:
    """metrics/<image>/profile.json: the environment as the job sees it, inside the image."""

    image: str
    contents: Contents
    gpus: Tuple[Gpu, ...]
    gpus_reason: Optional[str]
    device: str  # what the job will train on: 'cpu', or the name of the GPU
    cpu: Optional[str]
    usable_cpus: float  # the least of affinity and cgroup quota
    memory_bytes: Optional[int]  # of the machine
    memory_limit_bytes: Optional[int]  # of the container; None: no limit
    shm_bytes: Optional[int]
    disk_total_bytes: Optional[int]  # where data/ lies
    disk_free_bytes: Optional[int]
    os: str
    kernel: str
    torch_threads: Optional[int]


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
class TrainResult:
    """metrics/<image>/<precision>-bs<N>/train-<repeat>.json"""

    cell: Cell
    status: str
    reason: Optional[str]  # why the status is not 'ok'
    recipe: Recipe
    dataset_sha256: str
    machine_sha256: str  # fingerprint of the Machine that it ran on
    environment: Optional[Environment]
    algorithm: Optional[str]  # what 'fp32' or 'mixed' was, e.g. 'autocast to bfloat16'
    memory_format: Optional[str]  # 'contiguous' or 'channels_last'
    epochs: Tuple[Epoch, ...]
    started_at: str  # UTC, ISO 8601
    import_seconds: Optional[float]  # of fastai
    wall_seconds: float  # the whole cell, from the process's first line to just before this record is written

    def __post_init__(self) -> None:
        _check_status(self.status, self.reason)

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
    started_at: str
    wall_seconds: float

    def __post_init__(self) -> None:
        _check_status(self.status, self.reason)


@dataclasses.dataclass(frozen=True)
class Summary:
    """One figure of one setting, over the repeats that ran whole."""

    samples: Dict[str, float]  # repeat: value, raw
    mean: float
    spread: Optional[float]  # sample standard deviation; None with one sample


@dataclasses.dataclass(frozen=True)
class Ratio:
    """One figure of one setting divided by the baseline's of the same repeat."""

    pairs: Dict[str, float]  # repeat: quotient
    mean: float  # geometric
    lowest: Optional[float]  # None with one pair, which has no spread
    highest: Optional[float]


@dataclasses.dataclass(frozen=True)
class SettingFigures:
    """What came out of one setting, and how it compares with the baseline."""

    setting: str
    status: str  # of SETTING_STATUSES
    reasons: Dict[str, str]  # repeat that gave no figures: its status and why
    devices: Tuple[str, ...]  # that the repeats ran on: 'cpu', or the name of a GPU
    algorithms: Tuple[str, ...]  # what the precision was, in the repeats that say so
    figures: Dict[str, Summary]
    ratios: Dict[str, Ratio]
    outcome: str  # of OUTCOMES

    def __post_init__(self) -> None:
        check("status", self.status, self.status in SETTING_STATUSES, "one of " + ", ".join(SETTING_STATUSES))
        check("outcome", self.outcome, self.outcome in OUTCOMES, "one of " + ", ".join(OUTCOMES))


@dataclasses.dataclass(frozen=True)
class Comparison:
    """metrics/comparison.json: every setting of params.yaml, figures of what ran whole, ratios to the baseline."""

    baseline: str
    recipe: Recipe
    dataset_sha256: str
    cpu: Optional[str]  # of the machine that compares
    settings: Tuple[SettingFigures, ...]


def _check_status(status: str, reason: Optional[str]) -> None:
    check("status", status, status in STATUSES, "one of " + ", ".join(STATUSES))
    check("reason", reason, (status == "ok") == (reason is None), "a reason, exactly where the status is not 'ok'")


# ---------------------------------------------------------------------------------------------------------- codec


def check(key: str, value: object, holds: bool, expected: str) -> None:
    """Raise a RecordError that names `key` unless `holds`. For `__post_init__`; `decode` puts the place in front."""
    if not holds:
        raise RecordError("{}: expected {}, found {}".format(key, expected, _shown(value)))


def write(path: Path, record: Any) -> None:
    """Write the record as JSON, whole or not at all: a temporary file beside it, synced, then renamed.

    Raises ValueError for NaN and infinities, which JSON does not have.
    """
    document = {"schema_version": SCHEMA_VERSION}
    document.update(dataclasses.asdict(record))
    text = json.dumps(document, indent=2, allow_nan=False, ensure_ascii=False) + "\n"
    write_text(path, text)


def write_text(path: Path, text: str) -> None:
    """Write a text file whole or not at all."""
    path.parent.mkdir(parents=True, exist_ok=True)
    handle, temporary = tempfile.mkstemp(dir=str(path.parent), prefix="." + path.name + ".")
    try:
        with os.fdopen(handle, "w", encoding="utf-8", newline="") as file:
            file.write(text)
            file.flush()
            os.fsync(file.fileno())
        Path(temporary).chmod(0o644)  # mkstemp gives 0600, which another user's rerun could not read
        Path(temporary).replace(path)
    except BaseException:
        Path(temporary).unlink()
        raise


def fingerprint(record: Any) -> str:
    """sha256 of the record's content, the same wherever and however it is written."""
    return hashlib.sha256(json.dumps(dataclasses.asdict(record), sort_keys=True).encode()).hexdigest()


def read(path: Path, kind: Type[Record]) -> Record:
    """Read a record of this kind.

    Raises RecordError, naming the file and the key, for a missing or unreadable file, another schema version, unknown
    or missing keys and values of the wrong type.
    """
    try:
        document = json.loads(path.read_text(encoding="utf-8"), parse_constant=_refuse_constant)
    except FileNotFoundError:
        raise RecordError("{}: missing; the stage that writes it has not run: run `make repro`".format(path)) from None
    except (OSError, ValueError, RecursionError) as error:
        raise RecordError("{}: not readable as JSON ({})".format(path, error)) from None
    version = document.pop("schema_version", None) if isinstance(document, dict) else None
    if type(version) is not int or version != SCHEMA_VERSION:  # True and 1.0 equal 1
        raise RecordError(
            "{}: not of schema version {}; made by another version of faceoff: measure again with "
            "`dvc repro -f`".format(path, SCHEMA_VERSION)
        )
    record: Record = decode(kind, document, str(path))
    return record


def decode(kind: Any, value: Any, where: str) -> Any:
    """The value as `kind`: a dataclass, str, int, float, bool, Optional, Tuple or Dict[str, …] of these.

    `where` names the place in messages. Raises RecordError for anything that is not exactly of that kind; an int is
    taken for a float, a bool is never taken for a number.
    """
    origin = getattr(kind, "__origin__", None)
    if dataclasses.is_dataclass(kind):
        return _decode_dataclass(kind, value, where)
    if type(None) in getattr(kind, "__args__", ()):  # Optional is the only union in use
        return None if value is None else decode(kind.__args__[0], value, where)
    if origin in (tuple, Tuple):
        return _decode_tuple(kind, value, where)
    if origin in (dict, Dict):
        _expect(isinstance(value, dict) and all(isinstance(key, str) for key in value), where, "a mapping", value)
        return {key: decode(kind.__args__[1], item, "{}[{!r}]".format(where, key)) for key, item in value.items()}
    if kind is float:
        _expect(_is_finite_number(value), where, "a finite number" + _number_hint(value), value)
        return float(value)
    if kind is int:
        _expect(isinstance(value, int) and not isinstance(value, bool), where, "a whole number", value)
    elif kind is bool:
        _expect(isinstance(value, bool), where, "true or false", value)
    else:
        _expect(isinstance(value, kind), where, "text" if kind is str else kind.__name__, value)
    return value


def _is_finite_number(value: Any) -> bool:
    try:
        return isinstance(value, (int, float)) and not isinstance(value, bool) and math.isfinite(value)
    except OverflowError:  # an int above what a float holds
        return False


def _number_hint(value: Any) -> str:
    """YAML takes 1e-5 for text."""
    is_exponent = isinstance(value, str) and re.fullmatch(r"[-+]?[0-9.]+[eE][-+]?[0-9]+", value)
    return ", with a point before its exponent as in 1.0e-5" if is_exponent else ""


def _decode_dataclass(kind: Any, value: Any, where: str) -> Any:
    _expect(isinstance(value, dict), where, "a mapping", value)
    hints = typing.get_type_hints(kind)
    unknown = [str(key) for key in value if key not in hints]
    if unknown:
        close = difflib.get_close_matches(unknown[0], hints, n=1)
        hint = " (did you mean {!r}?)".format(close[0]) if close else ""
        raise RecordError("{}: unknown key {!r}{}; expected {}".format(where, unknown[0], hint, ", ".join(hints)))
    required = [field.name for field in dataclasses.fields(kind) if field.default is dataclasses.MISSING]
    missing = [name for name in required if name not in value]
    if missing:
        raise RecordError("{}: key '{}' is missing".format(where, missing[0]))
    decoded = {name: decode(hints[name], item, join(where, name)) for name, item in value.items()}
    try:
        return kind(**decoded)
    except RecordError as error:
        raise RecordError(join(where, str(error))) from None


def _decode_tuple(kind: Any, value: Any, where: str) -> Tuple[Any, ...]:
    _expect(isinstance(value, list), where, "a list", value)
    kinds = kind.__args__
    if len(kinds) == 2 and kinds[1] is Ellipsis:
        kinds = (kinds[0],) * len(value)
    _expect(len(kinds) == len(value), where, "a list of {}".format(len(kinds)), value)
    return tuple(
        decode(each, item, "{}[{}]".format(where, index)) for index, (each, item) in enumerate(zip(kinds, value))
    )


def join(where: str, key: str) -> str:
    """'params.yaml: recipe' and 'size' make 'params.yaml: recipe.size'; a file's name is set off by a colon."""
    if where.endswith((".json", ".yaml")):
        return "{}: {}".format(where, key)
    return "{}.{}".format(where, key)


def _expect(holds: bool, where: str, expected: str, found: object) -> None:
    if not holds:
        raise RecordError("{}: expected {}, found {}".format(where, expected, _shown(found)))


def _shown(value: object) -> str:
    text = repr(value)
    return text if len(text) <= 80 else text[:77] + "..."


def _refuse_constant(name: str) -> None:
    raise ValueError("{} is not a JSON number".format(name))
