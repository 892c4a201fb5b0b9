"""What took the CPUs from this process and its descendants over a span of time: counters of the kernel at its ends.

Nothing runs in between.

Runs inside images: Python 3.7 syntax, standard library only.
"""

import os
import time
from pathlib import Path
from typing import Iterator, NamedTuple, Optional, Tuple

from stages import checks
from stages.records import Load
from stages.workload import processes
from stages.workload.probes import files, limits

# In cpu.stat of a cgroup of version 2 and 1.
THROTTLED = {"throttled_usec": 1e-6, "throttled_time": 1e-9}


class Ticks(NamedTuple):
    """Time of all CPUs together, since the start of the machine."""

    busy: int
    stolen: int
    all: int


class Counters(NamedTuple):
    """What the kernel counts, at one moment."""

    seconds: float
    own_seconds: float
    ticks: Optional[Ticks]
    throttled_seconds: Optional[float]


class Meter:
    """What took the CPUs since it was made."""

    def __init__(self, root: Path = files.ROOT) -> None:
        self._root = root
        self._began = _look(root)

    def read(self) -> Load:
        """Return what was counted since it was made."""
        began, now = self._began, _look(self._root)
        seconds = now.seconds - began.seconds
        others, stolen = _shares(began, now)
        throttled = None  # type: Optional[float]
        if began.throttled_seconds is not None and now.throttled_seconds is not None:
            throttled = now.throttled_seconds - began.throttled_seconds
        no_ticks = "/proc/stat gives no times"
        return Load(
            seconds=seconds,
            **files.known(
                {
                    "others_share": (others, no_ticks),
                    "steal_share": (stolen, no_ticks),
                    "throttled_seconds": (throttled, "no cgroup of this process has a cpu.stat that tells it"),
                }
            ),
        )


def warnings(load: Load) -> Tuple[str, ...]:
    """Return what of the load casts doubt on a timing, in words with numbers; empty where nothing does."""
    found, said = checks.disturbing(load), [*passing(load)]
    if "throttled_share" in found:
        said.append(
            f"its CPU quota held it back for {load.throttled_seconds:.1f} s in {load.seconds:.1f} s, "
            "summed over the CPUs"
        )
    return tuple(said)


def passing(load: Load) -> Tuple[str, ...]:
    """Return what of it may have passed when the job is run again: all but a CPU quota."""
    found, said = checks.disturbing(load), []
    if "others_share" in found:
        said.append(f"other processes took {found['others_share']:.0%} of the CPUs' time")
    if "steal_share" in found:
        said.append(f"the hypervisor gave {found['steal_share']:.0%} of the CPUs' time to other machines (steal)")
    return tuple(said)


def _look(root: Path) -> Counters:
    own_seconds = processes.cpu_seconds(processes.family(os.getpid()))  # with what each has waited for
    return Counters(time.perf_counter(), own_seconds, ticks(root), max(_throttled_seconds(root), default=None))


def _shares(began: Counters, now: Counters) -> Tuple[Optional[float], Optional[float]]:
    """Return what other processes took of all CPUs' time, and what was stolen."""
    if began.ticks is None or now.ticks is None or now.ticks.all <= began.ticks.all:
        return None, None
    span = now.ticks.all - began.ticks.all
    own = (now.own_seconds - began.own_seconds) * os.sysconf("SC_CLK_TCK")
    others = now.ticks.busy - began.ticks.busy - own
    return _share(others / span), _share((now.ticks.stolen - began.ticks.stolen) / span)


def _share(value: float) -> float:
    return min(max(value, 0.0), 1.0)


def ticks(root: Path) -> Optional[Ticks]:
    """Return what /proc/stat counts; None where it gives no times (proc(5))."""
    line = next(iter((files.text(root / "proc/stat") or "").splitlines()), "").split()
    if len(line) < 9 or line[0] != "cpu" or not all(each.isdigit() for each in line[1:]):
        return None
    found = [int(each) for each in line[1:9]]  # guest time, which follows, is in user time already
    idle, stolen = found[3] + found[4], found[7]  # idle, and waiting for a disk
    return Ticks(sum(found) - idle - stolen, stolen, sum(found))


def _throttled_seconds(root: Path) -> Iterator[float]:
    """Yield how long each cgroup above the process was held back, maybe at the same time: the longest counts."""
    for folder in limits.cgroup_folders(root, "cpu"):
        for line in (files.text(folder / "cpu.stat") or "").splitlines():
            name, _, value = line.partition(" ")
            if name in THROTTLED and value.isdigit():
                yield int(value) * THROTTLED[name]
