"""What differs between two environments, and whether a timing of one against the other isolates a single cause.

Only fixed facts are compared. Each difference names its cause, by these rules:

- A cause is what can be changed with all else left as it is: the GPU, its settings, the driver, the CPU, a limit, the
  container's runtime, the base image, CUDA, cuDNN, torch, Python, a package.
- What comes along with something that differs too is put down to that. torch's build tag (+cu92), the CUDA packages
  from PyPI (nvidia-*, cuda-*), NCCL and the GPUs that torch was compiled for come with CUDA; torchvision and the like,
  and triton, with torch; the operating system and glibc with the base image; a GPU's memory, clocks and limits with the
  GPU; the CPUs that may be used with a CPU limit or the CPU, and so do torch's threads, where no variable sets them.
- An environment variable that steers speed, or that image.yaml or a variant sets, is a cause by its name. Of a secret
  it counts alone whether it is set.
- cuDNN is a cause of its own where its version differs: it can be exchanged without CUDA.
- Where both compute on a CPU, nothing of CUDA runs: CUDA, cuDNN and NCCL are then put down to torch where its version
  differs, else to torch's build, whose CPU code may be another too.
- No cause of a timing: the size of /dev/shm (it suffices, or training crashes), the cgroup version, the version of
  Docker, an image's id and size (what is in it is compared itself), the installers pip, setuptools and wheel. What is
  unknown on one side is shown, and not counted.
"""

import dataclasses
from collections.abc import Callable, Iterable, Iterator, Mapping
from operator import attrgetter
from typing import Any

from stages.records import Cache, CoreKind, Facts, Image
from stages.units import amount

NO_CAUSE = ""
UNKNOWN = "unknown"
UNSET = "unset"
SHOWN = 8  # of many causes or packages; the rest is counted
OTHER_PACKAGES = "packages on one side alone"
# Variables that decide how many threads torch takes: by their number, or by the CPUs that they are bound to.
SET_THREADS = (
    "MKL_NUM_THREADS",
    "OMP_NUM_THREADS",
    "OMP_THREAD_LIMIT",
    "OMP_PROC_BIND",
    "OMP_PLACES",
    "GOMP_CPU_AFFINITY",
    "KMP_AFFINITY",
)
INSTALLERS = ("pip", "setuptools", "wheel")
SHOWN_BY_FIELDS = ("torch",)
# Packages that come along, by how their names begin, and the causes that they come with, the nearest first.
COMPANIONS = {
    "nvidia-ml-py": (),  # reads the driver; no part of CUDA
    "nvidia-cudnn-": ("cuDNN", "CUDA", "torch"),
    "nvidia-": ("CUDA", "torch"),
    "cuda-": ("CUDA", "torch"),
    "triton": ("torch", "CUDA"),
    "torch": ("torch", "torch's build", "CUDA"),  # torchvision, torchaudio
}
ON_GPUS_ALONE = ("CUDA", "cuDNN", "NCCL")  # causes that make no difference to what computes on a CPU
PACKAGES_ON_GPUS_ALONE = ("nvidia-", "cuda-")


@dataclasses.dataclass(frozen=True)
class Difference:
    """One thing that is not the same in the environments a and b."""

    kind: str  # 'hardware' or 'software'
    what: str
    a: str
    b: str
    cause: str  # that it is put down to; '' where it decides no timing, or is unknown on one side


def differences(a: Facts, b: Facts, images: tuple[Image, Image] | None = None) -> tuple[Difference, ...]:
    """List all that differs, hardware first, with what the engine says of the images. Their names are no difference."""
    found: list[Difference] = []
    if images is not None:
        _compare(_image_facts(*images), *images, found)
    found += variable_differences(a.variables, b.variables)
    _compare((*_gpu_facts(a, b), *_FACTS, *_card_facts(a, b)), a, b, found)
    found += _packages(a.contents.packages, b.contents.packages, {each.cause for each in found})
    if a.device == b.device == "cpu":
        found = _without_gpus_causes(found)
    return tuple(sorted(found, key=lambda each: each.kind))


def _without_gpus_causes(found: list[Difference]) -> list[Difference]:
    """Put down to torch, or to its build, what differs and runs on GPUs alone."""
    torch = "torch" if any(each.cause == "torch" for each in found) else "torch's build"
    return [dataclasses.replace(each, cause=torch) if _runs_on_gpus_alone(each) else each for each in found]


def _runs_on_gpus_alone(found: Difference) -> bool:
    of_cuda = found.what.startswith(PACKAGES_ON_GPUS_ALONE) and found.what not in COMPANIONS
    return found.cause in ON_GPUS_ALONE or (of_cuda and found.cause == found.what)


def _compare(facts: Iterable["_Fact"], a: Any, b: Any, found: list[Difference]) -> None:
    """Add what differs to what is found already, which it may come along with."""
    for fact in facts:
        left, right = fact.value(a), fact.value(b)
        if left != right:
            cause = fact.cause_among({each.cause for each in found}) if fact.known(left, right) else NO_CAUSE
            found.append(Difference(fact.kind, fact.what, fact.shown(left), fact.shown(right), cause))


def variable_differences(a: Mapping[str, str], b: Mapping[str, str]) -> Iterator[Difference]:
    """Yield the environment variables that are not set alike."""
    for name in sorted({*a, *b}):
        if a.get(name) != b.get(name):
            yield Difference("software", f"environment variable {name}", a.get(name, UNSET), b.get(name, UNSET), name)


def causes(found: tuple[Difference, ...]) -> tuple[str, ...]:
    """List what may be behind a difference in time, each once; one alone is isolated."""
    return tuple(dict.fromkeys(each.cause for each in found if each.cause))


def isolation(found: tuple[Difference, ...]) -> str:
    """Say whether a timing of the one against the other isolates one cause."""
    names = causes(found)
    unknown = sum(UNKNOWN in (each.a, each.b) for each in found)
    proviso = f", as far as is known; {unknown} unknown on one side" if unknown else ""
    if not names:
        return f"Nothing differs that decides a timing{proviso}."
    if len(names) == 1:
        return f"One cause: a timing of the two shows what {names[0]} does{proviso}."
    shown = ", ".join(names[:SHOWN])
    more = f" and {len(names) - SHOWN} more" if len(names) > SHOWN else ""
    return f"Several causes: {shown}{more}. A timing of the two cannot say which of them it shows{proviso}."


@dataclasses.dataclass(frozen=True)
class _Fact:
    """One thing to compare."""

    kind: str
    what: str
    value: Callable[[Facts], Any]
    cause: str
    comes_with: tuple[str, ...] = ()  # causes that it is put down to where they differ too
    show: Callable[[Any], str] = str
    none: str | None = None  # what null says, where it does not say that the value is unknown

    def known(self, *values: Any) -> bool:
        return self.none is not None or None not in values

    def shown(self, value: Any) -> str:
        return (self.none or UNKNOWN) if value is None else self.show(value)

    def cause_among(self, differing: set[str]) -> str:
        return next((each for each in self.comes_with if each in differing), self.cause)


def _image_facts(a: Image, b: Image) -> tuple[_Fact, ...]:
    """Pick the facts of images to compare; one that runs without a container has no base, no engine and no size."""
    return _IMAGE_FACTS if a.reference and b.reference else _IMAGE_FACTS[:1]


def _gpu_facts(a: Facts, b: Facts) -> Iterator[_Fact]:
    """Yield the facts card by card where there are as many of them; else which there are is all that can be said."""
    count = len(a.hardware.gpus)
    if count != len(b.hardware.gpus):
        yield _hard("GPUs", _gpu_names, "GPU", show=_list)
        count = 0
    for index in range(count):
        place = "GPU" if count == 1 else f"GPU {index}"
        for fact in _GPU_FACTS:
            yield dataclasses.replace(fact, what=f"{place} {fact.what}".rstrip(), value=_of_gpu(index, fact.value))


def _card_facts(a: Facts, b: Facts) -> tuple[_Fact, ...]:
    """Pick the card that each trains on, where both tell it: of equal ones it may be another."""
    return (_hard("card that it trains on", "gpu_uuid", "GPU"),) if a.gpu_uuid and b.gpu_uuid else ()


def _gpu_names(facts: Facts) -> tuple[str, ...]:
    return tuple(gpu.title for gpu in facts.hardware.gpus)


def _of_gpu(index: int, value: Callable[[Any], Any]) -> Callable[[Facts], Any]:
    return lambda facts: value(facts.hardware.gpus[index])


def _packages(a: Mapping[str, str], b: Mapping[str, str], differing: set[str]) -> Iterator[Difference]:
    """Yield differing packages one by one; together where one cause brings many along or one side alone has many."""
    of_cause: dict[str, list[str]] = {}
    for name in sorted({*a, *b} - set(SHOWN_BY_FIELDS)):
        if a.get(name) != b.get(name):
            leaders = next((each for start, each in COMPANIONS.items() if name.startswith(start)), ())
            alone = NO_CAUSE if name in INSTALLERS else name if name in a and name in b else OTHER_PACKAGES
            of_cause.setdefault(next((each for each in leaders if each in differing), alone), []).append(name)
    for cause, names in of_cause.items():
        if len(names) > SHOWN:
            what = cause if cause == OTHER_PACKAGES else f"packages of {cause}"
            yield Difference("software", what, _versions(a, names), _versions(b, names), cause)
        else:
            for name in names:
                own = name if cause == OTHER_PACKAGES else cause
                yield Difference("software", name, a.get(name, "not installed"), b.get(name, "not installed"), own)


def _versions(packages: Mapping[str, str], names: list[str]) -> str:
    there = [f"{name} {packages[name]}" for name in names if name in packages]
    more = f" and {len(there) - SHOWN} more" if len(there) > SHOWN else ""
    return _list(tuple(there[:SHOWN])) + more


def _architectures(facts: Facts) -> tuple[str, ...] | None:
    """Return the build's CUDA architectures; None where there must be some and it does not say which."""
    return facts.contents.cuda_architectures or (None if facts.contents.cuda else ())


def _torch(index: int) -> Callable[[Facts], Any]:
    """Return what reads the release (0) or the build's tag (1) from a version such as '1.2.0+cu92' of torch."""

    def value(facts: Facts) -> str | None:
        version = facts.contents.torch
        return version and version.split("+", 1)[index] if "+" in (version or "") or index == 0 else None

    return value


def cudnn(version: int) -> str:
    """7602 is 7.6.2; 92400 is 9.24.0."""
    factor = 1000 if version < 10000 else 10000
    return f"{version // factor}.{version % factor // 100}.{version % 100}"


def _list(values: tuple[str, ...]) -> str:
    return ", ".join(values) or "none"


def _core_kinds(values: tuple[CoreKind, ...]) -> str:
    return "; ".join(map(core_kind, values)) or UNKNOWN


def core_kind(each: CoreKind) -> str:
    """'0-15: at most 5.200 GHz, capacity 1024', as far as the kernel tells it."""
    clock = None if each.max_hertz is None else f"at most {_hertz(each.max_hertz)}"
    capacity = None if each.capacity is None else f"capacity {each.capacity}"
    return f"{each.cpus}: {', '.join(filter(None, (clock, capacity)))}"


def _caches(values: tuple[Cache, ...]) -> str:
    return _list(tuple(f"L{each.level} {each.kind} {each.instances} x {amount(each.size_bytes)}" for each in values))


def _hertz(value: int) -> str:
    return f"{value / 1e9:.3f} GHz"


def _hard(what: str, value: str | Callable[[Facts], Any], cause: str, **more: Any) -> _Fact:
    return _Fact("hardware", what, attrgetter(value) if isinstance(value, str) else value, cause, **more)


def _soft(what: str, value: str | Callable[[Facts], Any], cause: str, **more: Any) -> _Fact:
    return _Fact("software", what, attrgetter(value) if isinstance(value, str) else value, cause, **more)


# Of two images; the first stands alone where one of them is no container.
_IMAGE_FACTS = (
    _soft("container runtime", "runtime", "runtime", none="no container"),
    _soft("base image", "base", "base image", none="none of faceoff's: the image was pulled"),
    _soft("base image's digest", "base_digest", "base image", comes_with=("base image",)),
    _soft("Docker engine", "engine", NO_CAUSE),
    _soft("image id", "image_id", NO_CAUSE),
    _soft("image size", "size_bytes", NO_CAUSE, show=amount),
)
# What leads stands before what comes with it.
_FACTS = (
    _hard("CPU", "hardware.cpu.model", "CPU"),
    _hard("CPU architecture", "hardware.cpu.architecture", "CPU"),
    _hard("sockets", "hardware.cpu.sockets", "CPU"),
    _hard("physical cores", "hardware.cpu.physical_cores", "CPU"),
    _hard("logical CPUs", "hardware.cpu.logical_cpus", "CPU"),
    _hard("NUMA nodes", "hardware.cpu.numa_nodes", "CPU"),
    _hard("CPU base clock", "hardware.cpu.base_hertz", "CPU", show=_hertz),
    _hard("CPU maximum clock", "hardware.cpu.max_hertz", "CPU", show=_hertz),
    _hard("CPU governor", "hardware.cpu.governor", "CPU governor", comes_with=("CPU",)),
    _hard("CPUs by speed", "hardware.cpu.core_kinds", "CPU", show=_core_kinds),
    _hard("CPU caches", "hardware.cpu.caches", "CPU", show=_caches),
    _hard("instruction sets", "hardware.cpu.isa", "CPU", show=_list),
    _hard("CPU quota", "hardware.limits.cpu_quota", "CPU limit", show="{:g} CPUs".format, none="no limit"),
    _hard("CPUs to run on", "hardware.limits.cpuset", "CPU limit", comes_with=("CPU",)),
    _hard(
        "usable CPUs", "hardware.limits.usable_cpus", "CPU limit", comes_with=("CPU limit", "CPU"), show="{:g}".format
    ),
    _soft("torch's threads", "torch_threads", "torch's threads", comes_with=(*SET_THREADS, "CPU limit", "CPU")),
    _hard("memory", "hardware.memory_bytes", "memory", show=amount),
    _hard("memory limit", "hardware.limits.memory_bytes", "memory limit", show=amount, none="no limit"),
    _hard("/dev/shm", "hardware.limits.shm_bytes", NO_CAUSE, show=amount),  # noqa: S108
    _hard("cgroup version", "hardware.limits.cgroup_version", NO_CAUSE),
    _hard("disk", "hardware.disk.kind", "disk"),
    _hard("file system", "hardware.disk.filesystem", "disk"),
    _hard("disk size", "hardware.disk.total_bytes", "disk", show=amount),
    _soft("kernel", "hardware.kernel", "kernel"),
    _soft("operating system", "os", "operating system", comes_with=("base image",)),
    _soft("glibc", "glibc", "operating system", comes_with=("base image",)),
    _soft("CUDA", "contents.cuda", "CUDA", none="none"),
    _soft("cuDNN", "contents.cudnn", "cuDNN", show=cudnn, none="none"),
    _soft("Python", "contents.python", "Python"),
    _soft("torch", _torch(0), "torch", none="not installed"),
    _soft("torch's build", _torch(1), "torch's build", comes_with=("CUDA",), none="without a tag"),
    _soft("compiled for", _architectures, "torch's build", comes_with=("CUDA", "torch"), show=_list),
    _soft("NCCL", "contents.nccl", "NCCL", comes_with=("CUDA", "torch"), none="none"),
    _hard("trains on", "device", "device", comes_with=("GPU", "CUDA")),
)
# Of one card.
_GPU_FACTS = (
    _hard("", "name", "GPU"),
    _hard("identity", "uuid", "GPU"),
    _hard("compute capability", "compute_capability", "GPU"),
    _hard("cores", "cores", "GPU"),
    _hard("memory", "memory_bytes", "GPU", show=amount),
    _hard("memory bus", "memory_bus_bits", "GPU", show="{} bits".format),
    _hard("maximum clock", "max_sm_hertz", "GPU", show=_hertz),
    _hard("maximum memory clock", "max_memory_hertz", "GPU", show=_hertz),
    _hard("power limit", "power_limit_watts", "GPU settings", comes_with=("GPU",), show="{:g} W".format),
    _hard("ECC", "ecc", "GPU settings", comes_with=("GPU",)),
    _hard("MIG", "mig", "GPU settings", comes_with=("GPU",)),
    _hard("persistence", "persistence", "GPU settings", comes_with=("GPU",)),
    _hard("PCIe generation", "pcie_max_generation", "PCIe"),
    _hard("PCIe lanes", "pcie_max_width", "PCIe"),
    _soft("driver", "driver", "driver"),
    _soft("driver's newest CUDA", "driver_cuda", "driver"),
)
