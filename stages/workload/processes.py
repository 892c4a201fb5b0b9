"""What this machine's processes hold and have used, read from /proc.

Runs inside images: Python 3.7 syntax, standard library only.
"""

import os
from pathlib import Path
from typing import Dict, Iterable, List

PROC = Path("/proc")
TICKS = slice(11, 15)  # in /proc/PID/stat after the name: user and system time, and of children that were waited for
PARENT = 1  # likewise


def children(pid: int) -> List[int]:
    """Return the process's children, by the kernel's own list, or by all processes' parents where it keeps none."""
    tasks = list((PROC / str(pid) / "task").glob("*/children"))
    if tasks or not (PROC / str(pid)).exists():
        return [int(child) for task in tasks for child in _text(task).split()]
    return _by_parent().get(pid, [])


def family(pid: int) -> List[int]:
    """Return the process and all its descendants."""
    found = [pid]
    for each in found:
        found.extend(children(each))
    return found


def memory_bytes(pid: int) -> int:
    """Return the process's proportional share of its pages (smaps_rollup, since Linux 4.14); 0 where it ended."""
    for line in _text(PROC / str(pid) / "smaps_rollup").splitlines():
        if line.startswith("Pss:"):
            return int(line.split()[1]) * 1024
    return 0


def cpu_seconds(pids: Iterable[int]) -> float:
    """Return the CPU time that the processes, and children that they have waited for, took so far."""
    ticks = sum(int(each) for pid in pids for each in _status(_text(PROC / str(pid) / "stat"))[TICKS])
    return ticks / os.sysconf("SC_CLK_TCK")


def catches(pid: int, number: int) -> bool:
    """Whether the process has a handler of its own for the signal."""
    for line in _text(PROC / str(pid) / "status").splitlines():
        if line.startswith("SigCgt:"):
            return bool(int(line.split()[1], 16) >> (number - 1) & 1)
    return False


def _by_parent() -> Dict[int, List[int]]:
    found = {}  # type: Dict[int, List[int]]
    for path in PROC.glob("[0-9]*/stat"):
        status = _status(_text(path))
        if status:
            found.setdefault(int(status[PARENT]), []).append(int(path.parent.name))
    return found


def _status(text: str) -> List[str]:
    """Return the fields of /proc/PID/stat after the name, which may hold blanks and brackets."""
    return text.rpartition(")")[2].split()


def _text(path: Path) -> str:
    try:
        return path.read_text(encoding="utf-8", errors="replace")
    except OSError:
        return ""
