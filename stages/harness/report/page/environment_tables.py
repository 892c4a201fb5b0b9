"""What is known of images and of the machine, as rows of text; what is not, with its reason."""

from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any

from stages.harness import formatting
from stages.harness.comparison.profile_diff import core_kind, cudnn
from stages.harness.formatting import NONE
from stages.records import Cache, CoreKind, Facts, Gpu, Image, Machine, Profile
from stages.units import amount

Row = tuple[str, tuple[str, ...]]  # what, and what is found of it: in each image, or in the machine


def of_images(names: Sequence[str], profiles: Mapping[str, Profile], images: Mapping[str, Image]) -> list[Row]:
    """Rows of what the overview leaves out; a column for each image that has a profile."""
    columns = [dict(_of_image(profiles[name], images.get(name))) for name in names if name in profiles]
    return [(what, tuple(column[what] for column in columns)) for what in columns[0]] if columns else []


def overview(profiles: Sequence[Profile]) -> list[Row]:
    """Rows of what each image holds first of all; what none of them has is left out."""
    found = []
    for what, value in _OVERVIEW:
        values = tuple(value(each.facts) or NONE for each in profiles)
        found += [(what, values)] if set(values) != {NONE} else []
    return found


def _of_image(profile: Profile, image: Image | None) -> Iterator[tuple[str, str]]:
    facts, held = profile.facts, profile.facts.contents
    yield "torch", _words(held, "torch")
    silent = "the CPU alone, or it does not say" if held.torch else NONE
    yield "torch compiled for", ", ".join(held.cuda_architectures) or silent
    yield "torch's threads", _words(facts, "torch_threads")
    yield "variables that steer speed", "; ".join(f"{key}={value}" for key, value in facts.variables.items()) or NONE
    yield "CUDA", _words(held, "cuda")
    yield "cuDNN", _words(held, "cudnn", cudnn)
    yield "NCCL", _words(held, "nccl")
    yield "glibc", _words(facts, "glibc")
    yield "packages", f"{len(held.packages)}, sha256 {held.packages_sha256[:12]}…"
    for field, what, show in _IMAGE:
        if image is None:
            yield what, "image.json is missing"
        else:  # host has none of it, which is not unknown
            yield what, show(getattr(image, field)) if field not in image.absent else image.absent[field]


def of_machine(profile: Profile | None, machine: Machine) -> list[Row]:
    """Rows of the machine as the baseline's image sees it, and without its profile, as the host does."""
    hardware = machine.hardware if profile is None else profile.facts.hardware
    found = [
        ("kernel", hardware.kernel),
        *((what, _words(hardware.cpu, field, show)) for field, what, show in _CPU),
        ("CPUs by speed", _core_kinds(hardware.cpu.core_kinds)),
        ("instruction sets that matter", ", ".join(hardware.cpu.isa) or "none"),
        ("caches", "; ".join(map(_cache, hardware.cpu.caches)) or "the kernel shows none"),
        ("CPUs to run on", hardware.limits.cpuset),
        ("CPU quota", _words(hardware.limits, "cpu_quota", "{:g} CPUs".format)),
        ("cgroup version", _words(hardware.limits, "cgroup_version")),
        ("disk of the data", f"{_words(hardware.disk, 'filesystem')}, {_words(hardware.disk, 'kind')}"),
    ]
    if profile is not None:
        found.append(("free on it", _words(profile.conditions, "disk_free_bytes", amount)))
        found.append(("CPU clock when profiled", _words(profile.conditions, "cpu_hertz", _hertz)))
        found.append(("times that heat held the CPU back until then", _words(profile.conditions, "cpu_throttle_count")))
    for index, gpu in enumerate(hardware.gpus):
        name = "GPU" if len(hardware.gpus) == 1 else f"GPU {index}"
        found += [(f"{name}: {what}", words) for what, words in _of_gpu(gpu)]
    return [(what, (words,)) for what, words in found]


def _of_gpu(gpu: Gpu) -> Iterator[tuple[str, str]]:
    yield "name", gpu.title
    yield "driver", f"{gpu.driver}, for CUDA up to {_words(gpu, 'driver_cuda')}"
    for field, what, show in _GPU:
        yield what, _words(gpu, field, show)


def _words(record: Any, field: str, show: Callable[[Any], str] = str) -> str:
    """Write the value in words, or why it is not known."""
    value = getattr(record, field)
    return f"unknown: {record.absent[field]}" if value is None else show(value)


def _yes(value: bool) -> str:
    return "yes" if value else "no"


def _hertz(value: int) -> str:
    return f"{value / 1e9:.2f} GHz"


def _core_kinds(found: Sequence[CoreKind]) -> str:
    if not found:
        return "unknown: the kernel tells neither capacities nor clocks"
    return ("all alike: " if len(found) == 1 else "") + "; ".join(map(core_kind, found))


def _cache(each: Cache) -> str:
    return f"L{each.level} {each.kind} {each.instances} x {amount(each.size_bytes)}"


_OVERVIEW: tuple[tuple[str, Callable[[Facts], str | None]], ...] = (
    ("device", lambda facts: formatting.device(facts.device) if facts.device else None),
    ("OS", lambda facts: facts.os),
    ("Python", lambda facts: facts.contents.python),
    ("torch", lambda facts: facts.contents.torch),
    ("CUDA", lambda facts: facts.contents.cuda),
    ("cuDNN", lambda facts: cudnn(facts.contents.cudnn) if facts.contents.cudnn else None),
)
_IMAGE: tuple[tuple[str, str, Callable[[Any], str]], ...] = (
    ("image_id", "image id", str),
    ("size_bytes", "image size", amount),
    ("base", "base", str),
    ("base_digest", "base digest", str),
    ("engine", "Docker Engine", str),
    ("runtime", "container runtime", str),
)
_CPU: tuple[tuple[str, str, Callable[[Any], str]], ...] = (
    ("architecture", "CPU architecture", str),
    ("sockets", "sockets", str),
    ("physical_cores", "physical cores", str),
    ("numa_nodes", "NUMA nodes", str),
    ("base_hertz", "base clock", _hertz),
    ("max_hertz", "maximum clock", _hertz),
    ("governor", "CPU governor", str),
)
_GPU: tuple[tuple[str, str, Callable[[Any], str]], ...] = (
    ("compute_capability", "compute capability", str),
    ("cores", "CUDA cores", str),
    ("max_sm_hertz", "maximum clock", _hertz),
    ("max_memory_hertz", "maximum memory clock", _hertz),
    ("memory_bus_bits", "memory bus", "{} bits".format),
    ("power_limit_watts", "power limit", "{:g} W".format),
    ("pcie_max_generation", "PCIe generation", str),
    ("pcie_max_width", "PCIe lanes", str),
    ("ecc", "ECC", _yes),
    ("mig", "MIG", _yes),
    ("persistence", "persistence mode", _yes),
)
