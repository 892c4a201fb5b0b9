"""What the stages hand each other: frozen records, which stages/codec.py writes and reads as strict JSON.

A record says what ran, where, and what came out. Amounts carry their unit in the name (`train_seconds`,
`peak_memory_bytes`). Unknown is None, never 0 and never a guess.

Runs inside images: Python 3.7 syntax, standard library only.
"""

import dataclasses
from pathlib import Path
from typing import Any, Dict, Optional, Tuple

from stages.codec import check, check_absent

PRECISIONS = ("fp32", "mixed")
STATUSES = ("ok", "failed", "unsupported")
PHASES = ("frozen", "unfrozen")
# Of a setting: a cell's statuses, and 'partial' (some repeats ran whole), 'refused' (the result is of other params) and
# 'missing' (no result).
SETTING_STATUSES = (*STATUSES, "partial", "refused", "missing")
# Of a ratio to the baseline. 'equivalent': the interval lies within the margin. 'inconclusive': more repeats would
# settle it. 'cannot say': too few pairs, a confounded comparison, or cells that failed.
VERDICTS = ("baseline", "faster", "slower", "equivalent", "inconclusive", "cannot say")
ACCURACY_VERDICTS = ("better", "worse", "no difference shown")
BOTTLENECKS = ("input-bound", "compute-bound", "balanced")
CHECK_STATUSES = ("passed", "warning", "failed", "not checked")
MIG = " MIG "  # between a card's name and its instance's, as torch tells them
ARCHITECTURES = ("resnet18", "resnet34", "resnet50", "resnet101", "resnet152", "tf_efficientnet_lite0")

DATA_DIR = Path("data")
MANIFEST_PATH = Path("data/manifest.json")
PHOTOS_DIR = Path("data/photos")
WEIGHTS_DIR = Path("data/weights")
MACHINE_PATH = Path("metrics/machine.json")
DATASET_PATH = Path("metrics/dataset.json")
COMPARISON_PATH = Path("metrics/comparison.json")
SCORECARD_PATH = Path("metrics/scorecard.json")
CURVES_PATH = Path("metrics/curves.csv")
REPORT_PATH = Path("reports/faceoff.md")
PAGE_PATH = Path("reports/faceoff.html")
PREFLIGHT_PATH = Path("metrics/preflight.json")
SESSION_PATH = Path("metrics/session.json")

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

    @property
    def checkpoint_path(self) -> Path:
        """Where a training keeps its last whole epoch; gone some time after DVC has noted the result."""
        return Path("models") / self.setting / "{}.checkpoint".format(self.repeat)

    @property
    def running_path(self) -> Path:
        """There while the cell is trained or evaluated: the job touches it at every step, and why it fails goes in."""
        return Path("models") / self.setting / "{}.running".format(self.repeat)

    @property
    def matrix_name(self) -> str:
        """What dvc.yaml's matrix calls it: '1-cuda-10.0-fp32-16' of 'train@1-cuda-10.0-fp32-16'."""
        return "{}-{}-{}-{}".format(self.repeat, self.image, self.precision, self.batch_size)


def image_path(image: str) -> Path:
    """Where the `image` stage says what it built, pulled or found."""
    return Path("metrics") / image / "image.json"


def profile_path(image: str) -> Path:
    return Path("metrics") / image / "profile.json"


def facts_path(image: str) -> Path:
    """The part of the profile that cells depend on."""
    return Path("metrics") / image / "facts.json"


def preflight_path(image: str) -> Path:
    """What preflight found inside the image."""
    return Path("metrics") / image / "preflight.json"


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
    nccl: Optional[str]  # e.g. '2.27.3'; None for a build without it
    cuda_architectures: Tuple[str, ...]  # that torch was compiled for, e.g. 'sm_70', 'compute_90' (PTX); empty: none
    pillow: Optional[str]
    pillow_simd: Optional[bool]  # whether Pillow is the fork pillow-simd
    packages: Dict[str, str]  # distribution: version
    packages_sha256: str
    absent: Dict[str, str]  # null field: why

    def __post_init__(self) -> None:
        check_absent(self)


@dataclasses.dataclass(frozen=True)
class Image:
    """metrics/<image>/image.json: what the image stage built, pulled or, for `host`, found."""

    name: str
    reference: Optional[str]  # what `docker run` takes; None where the job runs without a container
    image_id: Optional[str]  # sha256:… of the engine
    size_bytes: Optional[int]
    base: Optional[str]
    base_digest: Optional[str]  # of the registry that the base came from; None where the engine knows of none
    engine: Optional[str]  # of Docker, e.g. '28.2.2'
    runtime: Optional[str]  # that runs its containers, e.g. 'runc'
    contents: Contents
    absent: Dict[str, str]

    def __post_init__(self) -> None:
        check_absent(self)


@dataclasses.dataclass(frozen=True)
class Cache:
    """One of the processor's caches, each `size_bytes` large, of which the machine has `instances`."""

    level: int
    kind: str  # 'data', 'instruction' or 'unified'
    size_bytes: int
    instances: int


@dataclasses.dataclass(frozen=True)
class Cpu:
    """The processors of the machine, whatever a container may use of them."""

    model: Optional[str]
    architecture: str  # as the kernel names it, e.g. 'x86_64'
    sockets: Optional[int]
    physical_cores: Optional[int]
    logical_cpus: Optional[int]
    numa_nodes: Optional[int]
    base_hertz: Optional[int]
    max_hertz: Optional[int]
    caches: Tuple[Cache, ...]  # empty: the kernel shows none
    isa: Tuple[str, ...]  # of the instruction sets that matter to training, those that it has
    absent: Dict[str, str]  # null field: why

    def __post_init__(self) -> None:
        check_absent(self)


@dataclasses.dataclass(frozen=True)
class Limits:
    """What the process may use of the machine: cgroup version 1 or 2, affinity, the size of /dev/shm."""

    cgroup_version: Optional[int]
    cpuset: str  # CPUs that it may run on, as the kernel lists them: '0-3,8'
    cpu_quota: Optional[float]  # CPUs' worth of time; None: no limit
    usable_cpus: float  # the least of cpuset and quota
    memory_bytes: Optional[int]  # None: no limit
    shm_bytes: Optional[int]  # size of /dev/shm
    absent: Dict[str, str]

    def __post_init__(self) -> None:
        check_absent(self)


@dataclasses.dataclass(frozen=True)
class Disk:
    """The file system that data/ lies on."""

    filesystem: Optional[str]  # e.g. 'ext4', 'overlay', 'tmpfs'
    kind: Optional[str]  # 'solid state', 'rotating', 'memory' or 'network'
    total_bytes: Optional[int]
    absent: Dict[str, str]

    def __post_init__(self) -> None:
        check_absent(self)


@dataclasses.dataclass(frozen=True)
class Gpu:
    """What a card is: nothing that moves while it works. Units: NVML's, as bytes, hertz and watts."""

    name: Optional[str]  # this and all that follows may be unknown: a card that fell off its bus says nothing
    uuid: Optional[str]
    driver: str
    driver_cuda: Optional[str]  # newest CUDA that the driver runs, e.g. '13.0'
    memory_bytes: Optional[int]
    compute_capability: Optional[str]  # e.g. '7.5'
    cores: Optional[int]  # CUDA cores
    max_sm_hertz: Optional[int]
    max_memory_hertz: Optional[int]
    memory_bus_bits: Optional[int]
    power_limit_watts: Optional[float]
    pcie_max_generation: Optional[int]
    pcie_max_width: Optional[int]  # lanes
    ecc: Optional[bool]
    mig: Optional[bool]
    persistence: Optional[bool]
    absent: Dict[str, str]

    def __post_init__(self) -> None:
        check_absent(self)

    @property
    def title(self) -> str:
        """The name, and for a card that does not tell one what else says which it is."""
        return self.name or self.uuid or "a card that does not tell its name"


@dataclasses.dataclass(frozen=True)
class Hardware:
    """What there is and what of it may be used, read from inside a container or on the host; nothing that moves."""

    kernel: str
    cpu: Cpu
    memory_bytes: Optional[int]  # of the whole machine
    limits: Limits
    disk: Disk
    gpus: Tuple[Gpu, ...]
    gpus_reason: Optional[str]  # why `gpus` is empty
    absent: Dict[str, str]

    def __post_init__(self) -> None:
        check("gpus_reason", self.gpus_reason, bool(self.gpus) == (self.gpus_reason is None), "a reason, without a GPU")
        check_absent(self, "gpus_reason")


@dataclasses.dataclass(frozen=True)
class Machine:
    """metrics/machine.json: the machine as the host sees it, the same in every run. Its fingerprint guards results."""

    machine_id: Optional[str]  # one-way hash of the operating system's machine id
    hardware: Hardware
    absent: Dict[str, str]

    def __post_init__(self) -> None:
        check_absent(self)


@dataclasses.dataclass(frozen=True)
class GpuState:
    """What a card is doing at one moment."""

    uuid: Optional[str]
    memory_free_bytes: Optional[int]
    memory_used_bytes: Optional[int]
    sm_hertz: Optional[int]
    memory_hertz: Optional[int]
    temperature_celsius: Optional[int]
    power_watts: Optional[float]
    busy_share: Optional[float]  # of the last sampling period, 0 to 1
    throttle_reasons: Optional[Tuple[str, ...]]  # e.g. 'software thermal slowdown'; empty: none
    pcie_generation: Optional[int]
    pcie_width: Optional[int]
    other_processes: Optional[Tuple[str, ...]]  # 'pid 17, python, 1.2 GiB'; this process is not among them
    absent: Dict[str, str]

    def __post_init__(self) -> None:
        check_absent(self)


@dataclasses.dataclass(frozen=True)
class Conditions:
    """What moves, at one moment: what is free, how busy and how hot it is."""

    at: str  # UTC, ISO 8601
    memory_available_bytes: Optional[int]  # of the machine
    disk_free_bytes: Optional[int]  # to this user
    cpu_hertz: Optional[int]  # mean over the CPUs, now
    cpu_busy_share: Optional[float]  # of all CPUs of the machine, by whatever runs on it but this process; 0 to 1
    gpus: Tuple[GpuState, ...]
    gpus_reason: Optional[str]  # why `gpus` is empty
    absent: Dict[str, str]

    def __post_init__(self) -> None:
        check("gpus_reason", self.gpus_reason, bool(self.gpus) == (self.gpus_reason is None), "a reason, without a GPU")
        check_absent(self, "gpus_reason")


@dataclasses.dataclass(frozen=True)
class Load:
    """What took the CPUs from the job, from the begin of a span of time to its end."""

    seconds: float  # that the span took
    others_share: Optional[float]  # of all CPUs' time, by processes that are not the job's
    steal_share: Optional[float]  # of all CPUs' time, that the hypervisor gave to other machines
    throttled_seconds: Optional[float]  # that the job's cgroup was held back by a CPU quota, summed over the CPUs
    absent: Dict[str, str]

    def __post_init__(self) -> None:
        check_absent(self)


@dataclasses.dataclass(frozen=True)
class Facts:
    """metrics/<image>/facts.json: the environment as the job sees it, as far as it stays the same from run to run.

    The cells depend on this file, so that they are measured again when it changes, and not when only a clock did.
    """

    image: str
    device: str  # what the job trains on: 'cpu', or the name of the GPU
    os: Optional[str]
    glibc: Optional[str]
    torch_threads: int
    hardware: Hardware
    contents: Contents
    absent: Dict[str, str]

    def __post_init__(self) -> None:
        check_absent(self)

    @property
    def cards(self) -> Tuple[Gpu, ...]:
        """Those that may be the one that the job trains on: torch tells a name, and equal cards have the same."""
        return tuple(gpu for gpu in self.hardware.gpus if gpu.name and self.device.split(MIG)[0] == gpu.name)

    @property
    def on_mig_instance(self) -> bool:
        """Whether it trains on a part of a card: 'NVIDIA A100-SXM4-40GB MIG 1g.5gb', as torch names it."""
        return MIG in self.device


@dataclasses.dataclass(frozen=True)
class Measurement:
    """One thing that the machine was made to do, several times, inside the image."""

    name: str  # e.g. 'matrix product, fp16'
    detail: str  # what exactly: shapes, sizes, number of threads
    unit: str  # 'flop/s', 'bytes/s' or 'images/s'
    samples: Tuple[float, ...]  # empty where it could not be measured
    median: Optional[float]
    spread: Optional[float]  # interquartile range
    peak: Optional[float]  # theoretical, where it is known
    absent: Dict[str, str]

    def __post_init__(self) -> None:
        check_absent(self)


@dataclasses.dataclass(frozen=True)
class Profile:
    """metrics/<image>/profile.json: the environment inside the image, at one moment, and what it can do."""

    facts: Facts
    conditions: Conditions
    measurements: Tuple[Measurement, ...]
    wall_seconds: float  # that it took, imports and measurements left out


@dataclasses.dataclass(frozen=True)
class Check:
    """One thing that preflight looked at."""

    name: str  # e.g. 'shared memory, batch size 64'
    status: str  # of CHECK_STATUSES
    needed: str  # with its unit
    found: str
    advice: Optional[str]  # what to do; None exactly where it passed

    def __post_init__(self) -> None:
        check("status", self.status, self.status in CHECK_STATUSES, "one of " + ", ".join(CHECK_STATUSES))
        told = (self.status == "passed") == (self.advice is None)
        check("advice", self.advice, told, "what to do, exactly where the status is not 'passed'")


@dataclasses.dataclass(frozen=True)
class Preflight:
    """metrics/preflight.json of the host, metrics/<image>/preflight.json of an image from inside."""

    image: Optional[str]  # None: the host
    checks: Tuple[Check, ...]


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


@dataclasses.dataclass(frozen=True)
class Summary:
    """One figure of one setting, over the repeats that ran whole."""

    samples: Dict[str, float]  # repeat: value, raw
    mean: float
    spread: Optional[float]  # sample standard deviation; None with one sample


@dataclasses.dataclass(frozen=True)
class Ratio:
    """One figure of one setting divided by the baseline's of the same repeat, and what that says."""

    pairs: Dict[str, float]  # repeat: quotient, raw
    mean: float  # geometric, after drift is taken out
    low: Optional[float]  # ends of the confidence interval; None with too few pairs
    high: Optional[float]
    # That there is no difference; corrected for how many settings are compared by this figure (Holm) and multiplied for
    # looks, by 2 at the first. The interval is corrected for neither. None where nothing is tested.
    p_value: Optional[float]
    verdict: str  # of VERDICTS
    reason: Optional[str]  # why it 'cannot say', or what would settle it; None where it is settled
    more_repeats: Optional[int]  # that would settle it; None where it is settled or can't be

    def __post_init__(self) -> None:
        check("verdict", self.verdict, self.verdict in VERDICTS, "one of " + ", ".join(VERDICTS))


@dataclasses.dataclass(frozen=True)
class PairedAccuracy:
    """Predictions of the same photos by a setting and by the baseline: McNemar's exact test."""

    photos: int  # compared; each counts once, for the side that told it right in more of the repeats
    only_here_right: int  # the photos that changed side, and to which
    only_baseline_right: int
    p_value: Optional[float]  # corrected for the number of comparisons (Holm)
    verdict: str  # of ACCURACY_VERDICTS


@dataclasses.dataclass(frozen=True)
class PhaseSteps:
    """The training steps of one phase, over the repeats that ran whole: where their time went, what holds them back."""

    kind: str  # of BOTTLENECKS
    split: Split  # summed over epochs and repeats
    images_per_second: float  # reached
    possible_speedup: float  # of the steps, if what holds them back took no time at all

    def __post_init__(self) -> None:
        check("kind", self.kind, self.kind in BOTTLENECKS, "one of " + ", ".join(BOTTLENECKS))


@dataclasses.dataclass(frozen=True)
class Bottleneck:
    """What holds a setting's training back, from its splits and ceilings, over the repeats that ran whole."""

    phases: Dict[str, PhaseSteps]  # in the order in which they ran
    loader_images_per_second: float  # medians of the repeats' ceilings
    compute_images_per_second: float  # of the network as it was trained last: to compare with the last phase alone

    @property
    def last(self) -> PhaseSteps:
        """The phase that the ceilings belong to."""
        return list(self.phases.values())[-1]


@dataclasses.dataclass(frozen=True)
class CurvePoint:
    """One epoch of a setting: means over the repeats that ran whole."""

    epoch: int  # counted from 1 over all phases
    phase: str
    train_loss: float
    valid_loss: float
    accuracy: float  # share of validation photos told right, without TTA


@dataclasses.dataclass(frozen=True)
class SettingFigures:
    """What came out of one setting, and how it compares with the baseline."""

    setting: str
    status: str  # of SETTING_STATUSES
    reasons: Dict[str, str]  # repeat that gave no figures: its status and why
    devices: Tuple[str, ...]  # that the repeats ran on: 'cpu', or the name of a GPU
    algorithms: Tuple[str, ...]  # what the precision was, in the repeats that say so
    figures: Dict[str, Summary]
    ratios: Dict[str, Ratio]  # of TIMED figures
    verdict: str  # of VERDICTS: the total time's, or 'cannot say' where there is no such ratio
    words: str  # the verdict in a sentence: how much, how sure, and if it can't be said, why
    accuracy: Optional[PairedAccuracy]  # None for the baseline, and without predictions of both
    bottleneck: Optional[Bottleneck]  # None where no repeat ran whole
    curve: Tuple[CurvePoint, ...]  # empty likewise
    differences: Tuple[str, ...]  # from the baseline's environment beside what its name says: 'torch 1.2.0, not 2.14.1'
    explanation: Tuple[str, ...]  # sentences: why it is faster or slower, or that the figures don't explain it
    warnings: Tuple[str, ...]  # drift, outliers, warm-up, load: what casts doubt on its times

    def __post_init__(self) -> None:
        check("status", self.status, self.status in SETTING_STATUSES, "one of " + ", ".join(SETTING_STATUSES))
        check("verdict", self.verdict, self.verdict in VERDICTS, "one of " + ", ".join(VERDICTS))


@dataclasses.dataclass(frozen=True)
class Comparison:
    """metrics/comparison.json: every setting of params.yaml, figures of what ran whole, ratios to the baseline."""

    baseline: str
    recipe: Recipe
    dataset_sha256: str
    margin: float  # a ratio within 1 / (1 + margin) and 1 + margin is as good as equal
    confidence: float  # of the intervals, e.g. 0.95
    machine: Machine  # that compares, and that measured
    warnings: Tuple[str, ...]  # what concerns the whole run
    settings: Tuple[SettingFigures, ...]


def _check_status(status: str, reason: Optional[str]) -> None:
    check("status", status, status in STATUSES, "one of " + ", ".join(STATUSES))
    check("reason", reason, (status == "ok") == (reason is None), "a reason, exactly where the status is not 'ok'")


def _check_whole(result: Any, *names: str) -> None:
    """What a cell that ran whole says."""
    for name in names:
        value = getattr(result, name)
        check(name, value, result.status != "ok" or value not in (None, ()), "a value, where the status is 'ok'")
