"""The file system that the data lies on. Runs inside images: Python 3.7 syntax, standard library only."""

import os
from pathlib import Path
from typing import NamedTuple, Optional

from stages.records import Disk
from stages.workload.probes import files

IN_MEMORY = ("tmpfs", "ramfs")
OVER_A_NETWORK = ("nfs", "nfs4", "cifs", "smb3", "ceph", "lustre", "beegfs", "fuse.glusterfs", "fuse.sshfs")
MOVING_SIZE = ("zfs", *OVER_A_NETWORK)  # used and free together, which is what else the pool or the server leaves
VIRTUAL_DISKS = ("vd", "xvd")  # how the kernel names those of virtio and Xen
HYPERVISORS = ("QEMU", "VMware", "Msft", "Google", "VBOX", "Xen")  # vendors of disks that a virtual machine is given


class Mount(NamedTuple):
    """A line of /proc/self/mountinfo."""

    device: str  # 'major:minor'
    filesystem: str
    source: str  # e.g. '/dev/sda1'; what it says is the file system's own affair


def look(root: Path, folder: Path) -> Disk:
    """Look at the file system that `folder`, an absolute path, lies on."""
    mount = _mount(root, folder)
    status = os.statvfs(str(folder))
    kind = _kind(root, mount) if mount else None
    size, no_size = status.f_blocks * status.f_frsize or None, "the file system gives no size"
    if mount and mount.filesystem in MOVING_SIZE:
        size, no_size = None, f"on {mount.filesystem} the size moves with what else is stored there"
    return Disk(
        **files.known(
            {
                "filesystem": (mount.filesystem if mount else None, "/proc/self/mountinfo does not tell"),
                "kind": (kind, "the kernel shows no disk behind this file system, or one that a hypervisor made up"),
                "total_bytes": (size, no_size),
            }
        )
    )


def free_bytes(folder: Path) -> int:
    """Return what is free to this user, what is reserved for root left out, as df's 'Available'."""
    status = os.statvfs(str(folder))
    return status.f_bavail * status.f_frsize


def _mount(root: Path, folder: Path) -> Optional[Mount]:
    """Return the deepest mount point above the folder; of several at one place the last, which hides the others."""
    best, depth = None, -1
    for line in (files.text(root / "proc/self/mountinfo") or "").splitlines():
        left, _, right = line.partition(" - ")
        values = left.split()
        point = Path(values[4].encode("ascii", "backslashreplace").decode("unicode_escape"))  # a blank is '\040'
        if len(point.parts) >= depth and (point == folder or point in folder.parents):
            best, depth = Mount(values[2], *right.split()[:2]), len(point.parts)
    return best


def _kind(root: Path, mount: Mount) -> Optional[str]:
    if mount.filesystem in IN_MEMORY:
        return "memory"
    if mount.filesystem in OVER_A_NETWORK:
        return "network"
    blocks = [root / "sys/dev/block" / mount.device]
    if mount.source.startswith("/dev/"):  # Btrfs has a device number of its own making, and names its disk here
        blocks.append(root / "sys/class/block" / Path(mount.source).name)
    for block in blocks:
        for folder in (block, block / ".."):  # a partition has no queue; the disk that it belongs to has
            rotating = files.number(folder / "queue/rotational")
            if rotating is not None:
                return "solid state" if not rotating else None if _is_virtual(root, folder) else "rotating"
    return None


def _is_virtual(root: Path, block: Path) -> bool:
    """Tell a disk of a virtual machine: such a disk is called rotating by default, whatever its host keeps it on."""
    vendor = files.text(block / "device/vendor") or ""
    flags = next((value for key, value in files.fields(root / "proc/cpuinfo") if key == "flags"), "").split()
    named = block.resolve().name.startswith(VIRTUAL_DISKS)
    return named or vendor.startswith(HYPERVISORS) or "hypervisor" in flags
