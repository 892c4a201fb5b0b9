"""What a machine and an image look like, read from the kernel's files and from the NVIDIA driver.

Every reader takes the folder that holds `proc`, `sys` and `etc` (normally '/'), so that a recorded tree can be read.
Unknown is None, never a guess.

Runs inside images: Python 3.7 syntax, standard library only.
"""

import hashlib
import re
from pathlib import Path
from typing import Any, Iterator, Optional, Tuple

from stages.records import Gpu

ROOT = Path("/")
KIB = 1024


def read_text(path: Path) -> Optional[str]:
    """The file's text without blanks at its ends; None where it is missing or may not be read."""
    try:
        return path.read_text(encoding="utf-8", errors="replace").strip()
    except OSError:
        return None


def machine_id(root: Path) -> Optional[str]:
    """One-way hash of /etc/machine-id, which systemd asks not to publish as it is (machine-id(5))."""
    text = read_text(root / "etc/machine-id")
    return hashlib.sha256(b"faceoff " + text.encode()).hexdigest()[:32] if text else None


# ------------------------------------------------------------------------------------------------------------ CPU


def cpu_name(root: Path) -> Optional[str]:
    """The processor's name, e.g. 'AMD EPYC 7B12'; None where the kernel gives none, as on most ARM machines."""
    return next((value for key, value in _cpuinfo(root) if key == "model name" and value), None)


def logical_cpus(root: Path) -> Optional[int]:
    """Processors that the kernel runs, hyper-threads included."""
    return sum(key == "processor" for key, _ in _cpuinfo(root)) or None


def physical_cores(root: Path) -> Optional[int]:
    """Cores without their hyper-threads: distinct pairs of package and core."""
    cores = set()
    package = None
    for key, value in _cpuinfo(root):
        if key == "physical id":
            package = value
        elif key == "core id":
            cores.add((package, value))
    return len(cores) or None


def _cpuinfo(root: Path) -> Iterator[Tuple[str, str]]:
    for line in (read_text(root / "proc/cpuinfo") or "").splitlines():
        key, _, value = line.partition(":")
        yield key.strip(), value.strip()


def usable_cpus(root: Path, affinity: int) -> float:
    """CPUs that the process may use: the least of its affinity and of the quotas of its cgroups."""
    return min([float(affinity), *_cpu_quotas(root)])


def _cpu_quotas(root: Path) -> Iterator[float]:
    for folder in _cgroup_folders(root, "cpu"):
        quota, period = read_text(folder / "cpu.cfs_quota_us"), read_text(folder / "cpu.cfs_period_us")
        if quota is None or period is None:
            quota, _, period = (read_text(folder / "cpu.max") or "").partition(" ")
        if quota.isdigit() and period.isdigit():  # no limit is 'max' in version 2 and '-1' in version 1
            yield int(quota) / int(period)


# --------------------------------------------------------------------------------------------------------- memory


def memory_bytes(root: Path) -> Optional[int]:
    """Memory of the whole machine, whatever a container may use of it."""
    match = re.search(r"^MemTotal:\s+(\d+) kB", read_text(root / "proc/meminfo") or "", re.MULTILINE)
    return int(match.group(1)) * KIB if match else None


def memory_limit_bytes(root: Path) -> Optional[int]:
    """The least memory limit of the process's cgroups; None where none is below what the machine has."""
    limits = []
    for folder in _cgroup_folders(root, "memory"):
        for name in ("memory.max", "memory.limit_in_bytes"):
            text = read_text(folder / name) or ""
            if text.isdigit():
                limits.append(int(text))
    total = memory_bytes(root)
    # Version 1 writes 'no limit' as a number near 2**63.
    limits = [limit for limit in limits if limit < (2**60 if total is None else total)]
    return min(limits) if limits else None


def _cgroup_folders(root: Path, controller: str) -> Iterator[Path]:
    """Folders whose limits bind this process: its own cgroup and all above it, of version 2 and of version 1.

    A container without a cgroup namespace sees the host's path in /proc/self/cgroup and its own cgroup mounted as the
    top folder: folders that do not exist are left out, the top one stays.
    """
    mounts = root / "sys/fs/cgroup"
    for line in (read_text(root / "proc/self/cgroup") or "").splitlines():
        _, controllers, path = line.split(":", 2)
        if controllers == "":
            tops = [mounts, mounts / "unified"]
        elif controller in controllers.split(","):
            tops = [mounts / controllers, mounts / controller]
        else:
            continue
        inner = Path(path.lstrip("/"))
        for top in tops:
            for folder in [inner, *inner.parents]:
                if (top / folder).is_dir():
                    yield top / folder


# --------------------------------------------------------------------------------------------------------- others


def os_name(root: Path) -> Optional[str]:
    """The distribution, e.g. 'Debian GNU/Linux 12 (bookworm)'."""
    match = re.search(r'^PRETTY_NAME="?([^"\n]*)"?', read_text(root / "etc/os-release") or "", re.MULTILINE)
    return match.group(1) if match else None


def gpus(nvml: Any) -> Tuple[Tuple[Gpu, ...], Optional[str]]:
    """The cards that the driver shows and, where there are none, why.

    `nvml` is the module pynvml, of nvidia-ml-py or of its older namesake nvidia-ml-py3; None where it isn't installed.
    """
    if nvml is None:
        return (), "nvidia-ml-py is not installed"
    try:
        nvml.nvmlInit()
    except nvml.NVMLError as error:
        return (), "no NVIDIA driver answers: {}".format(error)
    try:
        driver = _text(nvml.nvmlSystemGetDriverVersion())
        handles = [nvml.nvmlDeviceGetHandleByIndex(index) for index in range(nvml.nvmlDeviceGetCount())]
        found = tuple(_gpu(nvml, handle, driver) for handle in handles)
    except nvml.NVMLError as error:
        return (), "the NVIDIA driver refused: {}".format(error)
    finally:
        nvml.nvmlShutdown()
    return found, None if found else "the NVIDIA driver shows no card"


def _gpu(nvml: Any, handle: Any, driver: str) -> Gpu:
    return Gpu(
        name=_text(nvml.nvmlDeviceGetName(handle)),
        uuid=_text(nvml.nvmlDeviceGetUUID(handle)),
        driver=driver,
        memory_bytes=int(nvml.nvmlDeviceGetMemoryInfo(handle).total),
        compute_capability=_compute_capability(nvml, handle),
    )


def _compute_capability(nvml: Any, handle: Any) -> Optional[str]:
    if not hasattr(nvml, "nvmlDeviceGetCudaComputeCapability"):
        return None  # nvidia-ml-py3
    return "{}.{}".format(*nvml.nvmlDeviceGetCudaComputeCapability(handle))


def _text(value: Any) -> str:
    """nvidia-ml-py3 answers in bytes."""
    return value.decode() if isinstance(value, bytes) else str(value)
