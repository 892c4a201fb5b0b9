"""Whose a container is: labels that name its checkout and the process that runs it, and whether that process is gone.

A faceoff that is killed outright leaves its container running. Its checkout's next run removes it.
"""

import os
from collections.abc import Mapping
from pathlib import Path

from stages.harness.process.locks import began

BOOT_ID = Path("/proc/sys/kernel/random/boot_id")
PID_NAMESPACE = Path("/proc/self/ns/pid")


def labels(checkout: Path, kind: str, image: str) -> dict[str, str]:
    """Return the labels of a container that this process starts."""
    return {
        "faceoff": kind,
        "faceoff.checkout": str(checkout),
        "faceoff.image": image,
        "faceoff.pid": str(os.getpid()),
        "faceoff.owner": f"{_here()} {os.getpid()} {began(os.getpid())}",
    }


def checkout_label(checkout: Path) -> str:
    """Return what all containers of a checkout bear, as the engine filters by it."""
    return f"faceoff.checkout={checkout}"


def is_gone(labels: Mapping[str, str], has_ended: bool) -> bool:
    """Whether nobody waits for the container any more.

    Of a process that can't be seen from here (before the machine's last start, or in another container) nothing is
    known: its container is left alone until it has ended.
    """
    here, pid, began_at = labels["faceoff.owner"].rsplit(" ", 2)
    return began(int(pid)) != began_at if here == _here() else has_ended


def _here() -> str:
    """Name the place where a pid means something: this start of the machine, this pid namespace."""
    return f"{BOOT_ID.read_text().strip()} {PID_NAMESPACE.readlink()}"
