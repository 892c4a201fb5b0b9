"""What there is and what of it the process may use: the part of a profile that stays the same from run to run.

Runs inside images: Python 3.7 syntax, standard library only.
"""

import os
import platform
from pathlib import Path
from typing import Callable, Optional, Tuple

from stages.records import Cpu, Disk, Hardware, Limits
from stages.visible_cards import hides_all, leaves
from stages.workload.probes import cpu, disk, files, gpus, limits
from stages.workload.probes.guard import guarded

Answer = Tuple[tuple, Optional[str]]
FILE_SECONDS = 2.0  # for what the kernel answers in a millisecond, unless a mount is gone
DRIVER_SECONDS = 10.0  # a driver without persistence mode wakes its cards first, which takes seconds
NONE_GIVEN = "no card is given: there is none, or container.gpus of params.yaml or CUDA_VISIBLE_DEVICES leaves none"
_silence = []  # type: list


def look(folder: Path, root: Path = files.ROOT, visible: Optional[str] = None) -> Hardware:
    """Return what there is. Never raises and never hangs: what can't be read is null with the reason.

    `folder`: where the data lies. `visible`: of the cards, those that this value of CUDA_VISIBLE_DEVICES leaves; None:
    all.
    """
    cards, cards_reason = asked_driver(gpus.facts, visible)
    memory, memory_reason = guarded("/proc/meminfo", lambda: limits.memory_bytes(root), FILE_SECONDS)
    return Hardware(
        kernel=platform.release(),
        cpu=_cpu(root),
        limits=_limits(root),
        disk=_disk(root, folder),
        gpus=cards,
        gpus_reason=cards_reason,
        **files.known({"memory_bytes": (memory, memory_reason or "/proc/meminfo gives no MemTotal")}),
    )


def os_name(root: Path = files.ROOT) -> Optional[str]:
    """Return the distribution, e.g. 'Debian GNU/Linux 12 (bookworm)'."""
    for line in (files.text(root / "etc/os-release") or "").splitlines():
        key, _, value = line.partition("=")
        if key == "PRETTY_NAME":
            return value.strip('"') or None
    return None


def _cpu(root: Path) -> Cpu:
    architecture = platform.machine()
    found, reason = guarded("the look at the CPU", lambda: cpu.look(root, architecture), FILE_SECONDS)
    return found or files.unknown(Cpu, reason, architecture=architecture, core_kinds=(), caches=(), isa=())


def _limits(root: Path) -> Limits:
    found, reason = guarded("the look at the limits", lambda: limits.look(root), FILE_SECONDS)
    if found is not None:
        return found
    cpus = sorted(os.sched_getaffinity(0))
    return files.unknown(Limits, reason, cpuset=",".join(map(str, cpus)), usable_cpus=float(len(cpus)))


def _disk(root: Path, folder: Path) -> Disk:
    found, reason = guarded(f"the disk of {folder}", lambda: disk.look(root, folder.resolve()), FILE_SECONDS)
    return found or files.unknown(Disk, reason)


def asked_driver(question: Callable[[], Answer], visible: Optional[str] = None) -> Answer:
    """Return the answer of gpus.facts or gpus.states: the cards that are visible, and why there is none.

    Where none may be seen, no driver is needed. A driver that hangs has no cards to tell of. Who asks again gets that
    answer again: to wait for a driver once is enough for one process.
    """
    if hides_all(visible):
        return (), NONE_GIVEN
    if not _silence:
        found, reason = guarded("the NVIDIA driver", question, DRIVER_SECONDS)
        if found is not None:
            return _left(found, visible)
        _silence.append(reason)
    return (), _silence[0]


def _left(answer: Answer, visible: Optional[str]) -> Answer:
    """Leave of the cards those that are visible, in that order."""
    cards, reason = answer
    left = tuple(cards[index] for index in leaves(visible, [each.uuid for each in cards]))
    if cards and not left:
        silent = [each.absent["uuid"] for each in cards if each.uuid is None]
        reason = f"none of the driver's cards is {visible}" + (
            f", and one does not tell: {silent[0]}" if silent else ""
        )
    return left, reason
