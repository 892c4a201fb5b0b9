"""Machine, image and what is seen inside it: hardware, contents, profile, conditions.

Runs inside images: Python 3.7 syntax, standard library only.
"""

import dataclasses
from pathlib import Path
from typing import Dict, Optional, Tuple

from stages.codec import check, check_absent
from stages.records.cells import Scalar

DATA_DIR = Path("data")
MACHINE_PATH = Path("metrics/machine.json")
KINDS = ("built", "pulled", "venv", "python")  # of images
COUNTED, SAMPLED = "counted", "sampled"  # how energy is known: by the card's own counter, or by its power now and then
MIG = " MIG "  # between a card's name and its instance's, as torch tells them


@dataclasses.dataclass(frozen=True)
class Contents:
    """What an image holds, read inside it."""

    python: str
    torch: Optional[str]
    cuda: Optional[str]  # torch.version.cuda; None for a build without CUDA
    cudnn: Optional[int]  # torch.backends.cudnn.version()
    nccl: Optional[str]  # e.g. '2.27.3'; None for a build without it
    cuda_architectures: Tuple[str, ...]  # that torch was compiled for, e.g. 'sm_70', 'compute_90' (PTX); empty: none
    packages: Dict[str, str]  # distribution, its name normalised: version
    packages_sha256: str
    absent: Dict[str, str]  # null field: why

    def __post_init__(self) -> None:
        check_absent(self)


@dataclasses.dataclass(frozen=True)
class Image:
    """metrics/<image>/image.json: what the image stage built, pulled, made or found."""

    name: str
    kind: str  # of KINDS
    python: str  # the command or path that is its Python: 'python', '/opt/conda/bin/python', '.venv/bin/python'
    env: Dict[str, str]  # environment variables of all that runs in it: those of params.yaml, then of its image.yaml
    reference: Optional[str]  # what `docker run` takes; None where the job runs without a container
    image_id: Optional[str]  # sha256:… of the engine
    size_bytes: Optional[int]
    base: Optional[str]
    base_id: Optional[str]  # sha256:… of the engine
    base_digest: Optional[str]  # of the registry that the base came from; None where the engine knows of none
    engine: Optional[str]  # of Docker, e.g. '28.2.2', or 'Podman 4.3.1'
    runtime: Optional[str]  # that runs its containers, e.g. 'runc'
    contents: Contents
    absent: Dict[str, str]

    def __post_init__(self) -> None:
        check("kind", self.kind, self.kind in KINDS, "one of " + ", ".join(KINDS))
        check_absent(self)


@dataclasses.dataclass(frozen=True)
class Failed:
    """What lies in the place of an image's record or profile that failed, where `on_failure` lets the others go on."""

    image: str
    reason: str  # in a line


@dataclasses.dataclass(frozen=True)
class Cache:
    """One of the processor's caches, each `size_bytes` large, of which the machine has `instances`."""

    level: int
    kind: str  # 'data', 'instruction' or 'unified'
    size_bytes: int
    instances: int


@dataclasses.dataclass(frozen=True)
class CoreKind:
    """CPUs that are alike, on a machine that has fast and slow ones."""

    cpus: str  # as the kernel lists them, and container.cpuset takes them: '0-7'
    capacity: Optional[int]  # 1024 for the fastest, as the kernel's cpu_capacity
    max_hertz: Optional[int]
    absent: Dict[str, str]

    def __post_init__(self) -> None:
        check_absent(self)


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
    governor: Optional[str]  # of cpufreq, all that are in use: 'performance', 'powersave'
    core_kinds: Tuple[CoreKind, ...]  # the fastest first; one: all are alike; empty: the kernel does not tell
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
    job_gpus: Tuple[str, ...]  # UUIDs of the cards that every job gets, in order; empty: none, or not known
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
    cpu_throttle_count: Optional[int]  # times that heat held a core or a package back since the machine's start
    cpu_clocks: Optional[str]  # what the processor is told of them: 'balance_power, turbo', 'no turbo'
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
class Energy:
    """What the cards took that a command could see, whatever else ran on them; what they take idle is in it."""

    joules: float  # from the command's begin to its end, or to the last span that counts where it was cut off
    how: str  # COUNTED or SAMPLED; the latter where it holds for one of the cards
    idle_watts: Optional[float]  # that they drew together just before the command
    gpu_uuids: Tuple[str, ...]
    spans_joules: Dict[str, float]  # of spans of each name, added up; empty: not known
    absent: Dict[str, str]  # null field: why

    def __post_init__(self) -> None:
        check("how", self.how, self.how in (COUNTED, SAMPLED), f"{COUNTED} or {SAMPLED}")
        check_absent(self)


@dataclasses.dataclass(frozen=True)
class Course:
    """What was read of a card's value again and again."""

    low: float
    median: float
    high: float


@dataclasses.dataclass(frozen=True)
class CardSpan:
    """A card in one span: medians, None of what it does not tell."""

    span: str
    samples: int
    sm_hertz: Optional[float]
    power_watts: Optional[float]
    busy_share: Optional[float]


@dataclasses.dataclass(frozen=True)
class CardSummary:
    """What a card did while a command ran, read at most twice a second."""

    uuid: str
    samples: int
    sm_hertz: Optional[Course]
    memory_hertz: Optional[Course]
    power_watts: Optional[Course]
    temperature_celsius: Optional[Course]
    busy_share: Optional[Course]
    throttled: Optional[Dict[str, float]]  # reason that clocks are held down: share of the samples; others never
    spans: Tuple[CardSpan, ...]  # in which a sample fell, in their order
    absent: Dict[str, str]  # null field: why

    def __post_init__(self) -> None:
        check_absent(self)


@dataclasses.dataclass(frozen=True)
class Facts:
    """metrics/<image>/facts.json: the environment as the job sees it, as far as it stays the same from run to run.

    The cells depend on this file, so that they are measured again when it changes, and not when only a clock did.
    """

    image: str
    device: Optional[str]  # what torch computes on: 'cpu', or the name of the GPU; None without torch
    gpu_uuid: Optional[str]  # of that GPU
    os: Optional[str]
    glibc: Optional[str]
    torch_threads: Optional[int]
    variables: Dict[str, str]  # environment variables that steer speed: the image's own, and what `env` sets
    hardware: Hardware
    contents: Contents
    absent: Dict[str, str]

    def __post_init__(self) -> None:
        check_absent(self)

    @property
    def cards(self) -> Tuple[Gpu, ...]:
        """The card that the job trains on; where its UUID is not known, those of its name, which equal cards share."""
        known = tuple(gpu for gpu in self.hardware.gpus if self.gpu_uuid is not None and gpu.uuid == self.gpu_uuid)
        if known:
            return known
        name = (self.device or "").split(MIG)[0]
        return tuple(gpu for gpu in self.hardware.gpus if gpu.name and name == gpu.name)

    @property
    def on_mig_instance(self) -> bool:
        """Whether it trains on a part of a card: 'NVIDIA A100-SXM4-40GB MIG 1g.5gb', as torch names it."""
        return MIG in (self.device or "")


@dataclasses.dataclass(frozen=True)
class Measurement:
    """One thing that the machine was made to do, several times, inside the image."""

    name: str  # e.g. 'matrix product, fp16'
    detail: str  # what exactly: shapes, sizes, number of threads
    unit: str  # 'flop/s', 'bytes/s', 'samples/s' or the job's own
    samples: Tuple[float, ...]  # empty where it could not be measured
    median: Optional[float]
    spread: Optional[float]  # interquartile range
    peak: Optional[float]  # theoretical, where it is known
    explains: Optional[str]  # of contract.EXPLAINS: the part of a step that it tells about
    applies: Dict[str, Scalar]  # parameters and facts of the cells that it is for; empty: all
    absent: Dict[str, str]

    def __post_init__(self) -> None:
        check_absent(self, "explains")


@dataclasses.dataclass(frozen=True)
class Profile:
    """metrics/<image>/profile.json: the environment inside the image, at one moment, and what it can do."""

    facts: Facts
    conditions: Conditions
    measurements: Tuple[Measurement, ...]
    wall_seconds: float  # that it took, imports and measurements left out


def image_path(image: str) -> Path:
    """Where the `image` stage says what it built, pulled or found."""
    return Path("metrics") / image / "image.json"


def profile_path(image: str) -> Path:
    """Where the `profile` stage says what it saw and measured."""
    return Path("metrics") / image / "profile.json"


def facts_path(image: str) -> Path:
    """Return where the part of the profile lies that cells depend on."""
    return Path("metrics") / image / "facts.json"
