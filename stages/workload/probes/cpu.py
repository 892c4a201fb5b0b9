"""The processors: what the machine has, whatever a container may use of them.

Runs inside images: Python 3.7 syntax, standard library only.
"""

import re
from pathlib import Path
from typing import List, Optional, Set, Tuple

from stages.records import Cache, Cpu
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


def look(root: Path, architecture: str) -> Cpu:
    """Return the processors; `architecture`: as platform.machine() names it."""
    info = list(files.fields(root / "proc/cpuinfo"))
    topology = _topology(root)
    model = next((value for key, value in info if key == "model name" and value), None)
    no_topology = "the kernel shows no topology under /sys/devices/system/cpu"
    hertz = _base_hertz(root, model), _max_hertz(root)
    return Cpu(
        architecture=architecture,
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


def _logical_cpus(root: Path) -> Optional[int]:
    """Return the number of processors that the kernel runs, hyper-threads included."""
    online = files.text(root / "sys/devices/system/cpu/online")
    if online is not None:
        return len(files.listed(online)) or None
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
