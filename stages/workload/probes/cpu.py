"""The processors: what the machine has, whatever a container may use of them.

Runs inside images: Python 3.7 syntax, standard library only.
"""

import re
from pathlib import Path
from typing import Dict, Iterator, List, NamedTuple, Optional, Set, Tuple

from stages.records import Cache, CoreKind, Cpu
from stages.units import listed, listing
from stages.workload.probes import files

# Instruction sets that torch and image decoders choose their code by, as the kernel names them on x86 and ARM.
ISA = (
    "avx2",
    "avx512f",
    "avx512_vnni",
    "avx512_bf16",
    "avx512_fp16",
    "avx_vnni",
    "amx_tile",
    "amx_bf16",
    "amx_int8",
    "asimd",
    "asimdhp",
    "bf16",
    "i8mm",
    "sve",
    "sve2",
)
KILO, GIGA = 10**3, 10**9
CACHE_KINDS = {"Data": "data", "Instruction": "instruction", "Unified": "unified"}
JOIN = " and "  # between governors that are in use at once
NO_TURBO = "no turbo"  # which makes a job slower, and its times no less steady
# Drivers with which 'powersave' lets the processor choose its clock, which then rises at once with the load; with any
# other it is the lowest there is (kernel's admin-guide/pm: intel_pstate, amd-pstate, cpufreq).
ACTIVE_DRIVERS = ("intel_pstate", "amd-pstate-epp")
SAVING_PREFERENCES = ("power", "balance_power")
SAVING = "the processor rather saves power than raises its clocks"
GOVERNORS = {
    "performance": None,
    "powersave": "it holds the clocks at their lowest",
    "conservative": "clocks follow the load, slowly",
    "ondemand": "clocks follow the load",
    "schedutil": "clocks follow the load",
}
OTHER_GOVERNOR = "it may hold the clocks anywhere"
ALIKE = 0.9  # of the fastest: Intel's and AMD's best cores are a few per cent faster than their equals


class CpuWarning(NamedTuple):
    """What of the processors casts doubt on a timing, in words with numbers, and what to do."""

    found: str
    advice: str


def look(root: Path, architecture: str) -> Cpu:
    """Return the processors; `architecture`: as platform.machine() names it."""
    info = list(files.fields(root / "proc/cpuinfo"))
    topology = _topology(root)
    model = next((value for key, value in info if key == "model name" and value), None)
    no_topology = "the kernel shows no topology under /sys/devices/system/cpu"
    hertz = _base_hertz(root, model), _max_hertz(root)
    return Cpu(
        architecture=architecture,
        core_kinds=_core_kinds(root),
        caches=_caches(root),
        isa=_isa(info),
        **files.known(
            {
                "model": (model, "/proc/cpuinfo gives no model name, as on most ARM machines"),
                "sockets": (len({package for package, _ in topology}) or None, no_topology),
                "physical_cores": (len(topology) or None, no_topology),
                "logical_cpus": (_logical_cpus(root), "the kernel lists no CPUs that are online"),
                "numa_nodes": (_numa_nodes(root), "the kernel shows no NUMA nodes under /sys/devices/system/node"),
                "base_hertz": (hertz[0], "neither cpufreq nor the model's name tells; virtual machines often hide it"),
                "max_hertz": (hertz[1], "no cpufreq for CPU 0; virtual machines often hide it"),
                "governor": (_governor(root), "no cpufreq; virtual machines often hide it"),
            }
        ),
    )


def now_hertz(root: Path) -> Optional[int]:
    """Return the mean clock of the CPUs now, of cpufreq where there is one, else of /proc/cpuinfo."""
    folders = (root / "sys/devices/system/cpu").glob("cpu[0-9]*")
    kilohertz = [files.number(folder / "cpufreq/scaling_cur_freq") for folder in folders]
    clocks = [float(each) * KILO for each in kilohertz if each]
    if not clocks:
        found = (value for key, value in files.fields(root / "proc/cpuinfo") if key == "cpu MHz")
        clocks = [float(value) * KILO**2 for value in found if re.match(r"\d+(\.\d+)?$", value)]
    return round(sum(clocks) / len(clocks)) if clocks else None


def throttle_count(root: Path) -> Optional[int]:
    """Return how often heat held a core or a package back since the machine's start; None where it is not counted.

    Each CPU counts for itself what its core and its package were told: of those that share one, the most counts.
    """
    counts: Dict[Tuple[str, str], int] = {}
    for folder in _cpus(root):
        for kind, sharing in (("core", "thread_siblings_list"), ("package", "physical_package_id")):
            count = files.number(folder / "thermal_throttle" / f"{kind}_throttle_count")
            if count is not None:
                key = kind, files.text(folder / "topology" / sharing) or folder.name
                counts[key] = max(count, counts.get(key, 0))
    return sum(counts.values()) if counts else None


def warnings(found: Cpu, cpuset: str) -> Tuple[CpuWarning, ...]:
    """Return what of the processors casts doubt on every timing; `cpuset`: those that the job may use."""
    return (*_governors(found), *_fast_and_slow(found, set(listed(cpuset))))


def _governors(found: Cpu) -> Iterator[CpuWarning]:
    for each in (found.governor or "").split(JOIN):
        name, _, rest = each.partition(" ")
        driver, _, preference = rest.strip("()").partition(", ")
        effect = None if each == NO_TURBO else GOVERNORS.get(name, OTHER_GOVERNOR)
        if name == "powersave" and driver in ACTIVE_DRIVERS:
            effect = SAVING if preference in SAVING_PREFERENCES else None
        if each and effect:
            most = "" if found.max_hertz is None else f" (at most {found.max_hertz / GIGA:.2f} GHz)"
            yield CpuWarning(
                f"the CPU governor is {each}: {effect}{most}", "cpupower frequency-set -g performance, as root"
            )


def _fast_and_slow(found: Cpu, allowed: Set[int]) -> Iterator[CpuWarning]:
    kinds = [(kind, allowed & set(listed(kind.cpus))) for kind in found.core_kinds]
    used = [(kind, cpus) for kind, cpus in kinds if cpus]
    fast = [each for each in used if _speed(each[0], used[0][0]) >= ALIKE]
    slow = [each for each in used if each not in fast]
    if slow:
        yield CpuWarning(
            f"{_counted(fast)} fast CPUs{_figures(fast[0][0])} and {_counted(slow)} slow ones{_figures(slow[0][0])}: "
            "where the job's threads run decides its time",
            'keep it on the fast ones: container.cpuset: "{}" in params.yaml'.format(
                listing(cpu for _, cpus in fast for cpu in cpus)
            ),
        )


def _speed(kind: CoreKind, fastest: CoreKind) -> float:
    """Return it as a share of the fastest's: kernels give both kinds of x86 with hyper-threads one capacity."""
    pairs = (kind.capacity, fastest.capacity), (kind.max_hertz, fastest.max_hertz)
    return min((one / other for one, other in pairs if one and other), default=1.0)


def _counted(kinds: List[Tuple[CoreKind, Set[int]]]) -> int:
    return sum(len(cpus) for _, cpus in kinds)


def _figures(kind: CoreKind) -> str:
    """Return ' (5.20 GHz)', or where the kernel tells no clock ' (capacity 446)'."""
    if kind.max_hertz is not None:
        return f" ({kind.max_hertz / GIGA:.2f} GHz)"
    return f" (capacity {kind.capacity})"


def _cpus(root: Path) -> List[Path]:
    """Return the folders of CPUs, in their order."""
    found = (root / "sys/devices/system/cpu").glob("cpu[0-9]*")
    return sorted(found, key=lambda folder: int(folder.name[3:]))


def _governor(root: Path) -> Optional[str]:
    """Return what sets the clocks: 'powersave (intel_pstate, balance_performance)', all that are in use.

    In brackets stand cpufreq's driver and, where it lets the processor choose, what that prefers: the same governor
    means another thing with another driver. Where clocks above the base clock are forbidden, that is told too.
    """
    found = set()
    for folder in _cpus(root):
        governor = files.text(folder / "cpufreq/scaling_governor")
        if governor is not None:
            details = ("scaling_driver", "energy_performance_preference")
            known = [each for each in (files.text(folder / "cpufreq" / name) for name in details) if each]
            found.add(f"{governor} ({', '.join(known)})" if known else governor)
    switches = (("intel_pstate/no_turbo", 1), ("cpufreq/boost", 0))
    off = any(files.number(root / "sys/devices/system/cpu" / name) == value for name, value in switches)
    return JOIN.join([*sorted(found), *[NO_TURBO] * off]) or None


def _core_kinds(root: Path) -> Tuple[CoreKind, ...]:
    """Return the CPUs by how fast they can be: kernels tell a capacity on ARM and new ones on x86, cpufreq a clock."""
    kinds: Dict[Tuple[Optional[int], Optional[int]], List[int]] = {}
    for folder in _cpus(root):
        capacity, kilohertz = (files.number(folder / name) for name in ("cpu_capacity", "cpufreq/cpuinfo_max_freq"))
        key = capacity or None, kilohertz * KILO if kilohertz else None
        kinds.setdefault(key, []).append(int(folder.name[3:]))
    kinds.pop((None, None), None)
    fastest_first = sorted(kinds, key=lambda key: (key[0] or 0, key[1] or 0), reverse=True)
    return tuple(
        CoreKind(
            cpus=listing(kinds[capacity, hertz]),
            **files.known(
                {
                    "capacity": (capacity, "no cpu_capacity"),
                    "max_hertz": (hertz, "no cpufreq; virtual machines often hide it"),
                }
            ),
        )
        for capacity, hertz in fastest_first
    )


def _logical_cpus(root: Path) -> Optional[int]:
    """Return the number of processors that the kernel runs, hyper-threads included."""
    online = files.text(root / "sys/devices/system/cpu/online")
    if online is not None:
        return len(listed(online)) or None
    return sum(key == "processor" for key, _ in files.fields(root / "proc/cpuinfo")) or None


def _topology(root: Path) -> Set[Tuple[str, str]]:
    """Return distinct pairs of package and core; of /proc/cpuinfo where the kernel has no topology folder.

    A core is told by the CPUs that share it: the kernel's core_id may come again on another die of the package.
    """
    cores = set()
    for folder in (root / "sys/devices/system/cpu").glob("cpu[0-9]*"):
        names = ("physical_package_id", "thread_siblings_list")
        package, core = (files.text(folder / "topology" / name) for name in names)
        if package is not None and core is not None:
            cores.add((package, core))
    if not cores:
        package = ""
        for key, value in files.fields(root / "proc/cpuinfo"):
            if key == "physical id":
                package = value
            elif key == "core id":
                cores.add((package, value))
    return cores


def _numa_nodes(root: Path) -> Optional[int]:
    return len(list((root / "sys/devices/system/node").glob("node[0-9]*"))) or None


def _base_hertz(root: Path, model: Optional[str]) -> Optional[int]:
    """Return the base clock of cpufreq, or of a name like 'Intel(R) Xeon(R) CPU @ 2.20GHz', which states it."""
    kilohertz = files.number(root / "sys/devices/system/cpu/cpu0/cpufreq/base_frequency")
    if kilohertz:
        return kilohertz * KILO
    match = re.search(r"@ (\d+(?:\.\d+)?)GHz", model or "")
    return round(float(match.group(1)) * GIGA) if match else None


def _max_hertz(root: Path) -> Optional[int]:
    kilohertz = files.number(root / "sys/devices/system/cpu/cpu0/cpufreq/cpuinfo_max_freq")
    return kilohertz * KILO if kilohertz else None


def _isa(info: List[Tuple[str, str]]) -> Tuple[str, ...]:
    """Return the instruction sets of the first CPU: 'flags' on x86, 'Features' on ARM."""
    line = next((value for key, value in info if key in ("flags", "Features")), "")
    return tuple(name for name in ISA if name in line.split())


def _caches(root: Path) -> Tuple[Cache, ...]:
    """Return one entry for each level and kind; instances are told apart by the CPUs that share them."""
    shared = {}  # type: dict
    for folder in (root / "sys/devices/system/cpu").glob("cpu[0-9]*/cache/index[0-9]*"):
        level, size = files.number(folder / "level"), files.size_bytes(folder / "size")
        kind = CACHE_KINDS.get(files.text(folder / "type") or "")
        if level and size and kind:
            shared.setdefault((level, kind, size), set()).add(files.text(folder / "shared_cpu_list"))
    return tuple(Cache(level, kind, size, len(cpus)) for (level, kind, size), cpus in sorted(shared.items()))
