"""What the process may use: cgroup version 1 or 2, affinity, /dev/shm; and the machine's memory beside it.

Runs inside images: Python 3.7 syntax, standard library only.
"""

import os
import re
from pathlib import Path
from typing import Iterator, Optional

from stages.records import Limits
from stages.units import listed
from stages.workload.probes import files

KIB = 1024
OUTSIDE = "this process is outside of the part of the cgroups that is shown here, so its limits are not seen"


def look(root: Path) -> Limits:
    cpuset = _cpuset(root)
    quota = min(_cpu_quotas(root), default=None)
    allowed = len(listed(cpuset))
    unseen = OUTSIDE if _outside_of_what_is_shown(root) else None
    return Limits(
        cpuset=cpuset,
        usable_cpus=float(allowed) if quota is None else min(float(allowed), quota),
        **files.known(
            {
                "cgroup_version": (_cgroup_version(root), "no cgroup file system in /proc/self/cgroup"),
                "cpu_quota": (quota, unseen or "no limit is set"),
                "memory_bytes": (_memory_limit_bytes(root), unseen or "no limit is set below what the machine has"),
                "shm_bytes": (_shm_bytes(root), "there is no /dev/shm"),
            }
        ),
    )


def memory_bytes(root: Path) -> Optional[int]:
    """Return the memory of the whole machine, whatever a container may use of it."""
    return _meminfo_bytes(root, "MemTotal")


def memory_available_bytes(root: Path) -> Optional[int]:
    """Return what the machine's kernel could still give without swapping."""
    return _meminfo_bytes(root, "MemAvailable")


def _meminfo_bytes(root: Path, key: str) -> Optional[int]:
    match = re.search(rf"^{key}:\s+(\d+) kB", files.text(root / "proc/meminfo") or "", re.MULTILINE)
    return int(match.group(1)) * KIB if match else None


def shm_free_bytes(root: Path) -> Optional[int]:
    """Return what of /dev/shm is free now, as df's 'Available'."""
    folder = root / "dev/shm"
    if not folder.is_dir():
        return None
    status = os.statvfs(str(folder))
    return status.f_bavail * status.f_frsize


def _shm_bytes(root: Path) -> Optional[int]:
    folder = root / "dev/shm"
    if not folder.is_dir():
        return None
    status = os.statvfs(str(folder))
    return status.f_blocks * status.f_frsize


def _cpuset(root: Path) -> str:
    """Return the CPUs that the process may run on, by cgroup and affinity, as the kernel lists them."""
    listed = dict(files.fields(root / "proc/self/status")).get("Cpus_allowed_list")
    return listed or ",".join(str(cpu) for cpu in sorted(os.sched_getaffinity(0)))


def _cgroup_version(root: Path) -> Optional[int]:
    """Return the version that holds the CPU controller; in a hybrid layout that is 1."""
    lines = [line.split(":", 2)[1] for line in (files.text(root / "proc/self/cgroup") or "").splitlines()]
    if any("cpu" in each.split(",") for each in lines):
        return 1
    return 2 if "" in lines else None


def _cpu_quotas(root: Path) -> Iterator[float]:
    """Yield CPUs' worth of time that each cgroup above the process allows."""
    for folder in cgroup_folders(root, "cpu"):
        quota, period = files.text(folder / "cpu.cfs_quota_us"), files.text(folder / "cpu.cfs_period_us")
        if quota is None or period is None:
            quota, _, period = (files.text(folder / "cpu.max") or "").partition(" ")
        if quota.isdigit() and period.isdigit():  # no limit is 'max' in version 2 and '-1' in version 1
            yield int(quota) / int(period)


def _memory_limit_bytes(root: Path) -> Optional[int]:
    """Return the least memory limit of the process's cgroups; None where none is below what the machine has."""
    found = [
        files.number(folder / name)
        for folder in cgroup_folders(root, "memory")
        for name in ("memory.max", "memory.limit_in_bytes")
    ]
    total = memory_bytes(root)
    # Version 1 writes 'no limit' as a number near 2**63.
    ceiling = 2**60 if total is None else total
    return min((limit for limit in found if limit is not None and limit < ceiling), default=None)


def killed_in_cgroup_for_memory(root: Path = Path("/")) -> Optional[int]:
    """Return how many processes of this one's own cgroup the kernel has killed for want of memory; None: not known."""
    for folder in cgroup_folders(root, "memory"):
        for name in ("memory.events", "memory.oom_control"):  # of version 2 and of version 1
            found = re.search(r"^oom_kill (\d+)$", files.text(folder / name) or "", re.MULTILINE)
            if found:
                return int(found.group(1))
    return None


def _outside_of_what_is_shown(root: Path) -> bool:
    """Tell '0::/../..': the process was put there from outside of its cgroup namespace (cgroup_namespaces(7))."""
    lines = (files.text(root / "proc/self/cgroup") or "").splitlines()
    return any(line.split(":", 2)[2].startswith("/..") for line in lines)


def cgroup_folders(root: Path, controller: str) -> Iterator[Path]:
    """Yield folders whose limits bind this process: its own cgroup and all above it, of version 2 and of version 1.

    A container without a cgroup namespace sees the host's path in /proc/self/cgroup and its own cgroup mounted as the
    top folder: folders that do not exist are left out, the top one stays.
    """
    mounts = root / "sys/fs/cgroup"
    for line in (files.text(root / "proc/self/cgroup") or "").splitlines():
        _, controllers, path = line.split(":", 2)
        if path.startswith("/.."):  # what is shown are limits of others
            continue
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
