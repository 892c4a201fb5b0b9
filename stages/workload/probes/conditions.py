"""What moves: what is free, how busy and how hot it is, at one moment; and what of it casts doubt on a timing.

Runs inside images: Python 3.7 syntax, standard library only.
"""

import datetime
import time
from pathlib import Path
from typing import Iterable, Iterator, Optional, Tuple

from stages import checks
from stages.records import Conditions, GpuState
from stages.workload.probes import cpu, disk, files, gpus, limits, load
from stages.workload.probes.guard import guarded
from stages.workload.probes.hardware import FILE_SECONDS, asked_driver

SAMPLE_SECONDS = 0.5  # of the CPUs' time: 50 ticks of the kernel's clock on each
BUSY_GPU_SHARE = 0.05  # before or after the job, when nothing of ours runs on the card
HOT_CELSIUS = 83  # where NVIDIA's cards begin to lower their clocks by default
NO_CLOCKS = "no preference of the processor's, and no switch for its clocks above the base clock"
NOT_COUNTED = "no thermal_throttle counters: those are Intel's, and virtual machines hide them"


def look(
    folder: Path, root: Path = files.ROOT, sample_seconds: float = SAMPLE_SECONDS, visible: Optional[str] = None
) -> Conditions:
    """Return what is so now. Never raises and never hangs.

    `folder`: where the data lies. Takes about `sample_seconds`, for the CPUs' load; 0, where a whole span of time is
    looked at instead (load.Meter), leaves that out. `visible`: of the cards, those that this value of
    CUDA_VISIBLE_DEVICES leaves; None: all.
    """
    at = datetime.datetime.now(datetime.timezone.utc).isoformat(timespec="seconds")
    busy, no_busy = None, "not sampled: the load of the whole time is told instead"  # type: Optional[float], str
    if sample_seconds:
        busy, no_busy = _busy_by_others(root, sample_seconds), "/proc/stat gives no times"
    answer, no_files = guarded("the look at memory and clocks", lambda: _memory_and_cpu(root), FILE_SECONDS)
    memory, hertz, throttled, clocks = answer or (None, None, None, None)
    free, no_disk = guarded(f"the disk of {folder}", lambda: disk.free_bytes(folder.resolve()), FILE_SECONDS)
    cards, no_cards = asked_driver(gpus.states, visible)
    return Conditions(
        at=at,
        gpus=cards,
        gpus_reason=no_cards,
        **files.known(
            {
                "memory_available_bytes": (memory, no_files or "/proc/meminfo gives no MemAvailable"),
                "disk_free_bytes": (free, no_disk or ""),
                "cpu_hertz": (hertz, no_files or "neither cpufreq nor /proc/cpuinfo gives a clock"),
                "cpu_busy_share": (busy, no_busy),
                "cpu_throttle_count": (throttled, no_files or NOT_COUNTED),
                "cpu_clocks": (clocks, no_files or NO_CLOCKS),
            }
        ),
    )


def _memory_and_cpu(root: Path) -> Tuple[Optional[int], Optional[int], Optional[int], Optional[str]]:
    return limits.memory_available_bytes(root), cpu.now_hertz(root), cpu.throttle_count(root), cpu.clocks(root)


def warnings(found: Conditions) -> Tuple[str, ...]:
    """Return what of this moment casts doubt on a timing, in words with numbers; empty where nothing does."""
    busy = found.cpu_busy_share
    said = []
    if busy is not None and busy > checks.OTHERS_SHARE:
        said.append(f"other processes took {busy:.0%} of the CPUs' time")
    for card in found.gpus:
        said += _named(card, [*_disturbance(card, heat=True), *_busy(card)])
    return tuple(said)


def of_cards(found: Conditions, heat: bool = True) -> Tuple[str, ...]:
    """Return what of the cards disturbs a job; that one was busy is left out, for it may be by the job itself.

    `heat`: whether that one is hot counts.
    """
    return tuple(each for card in found.gpus for each in _named(card, _disturbance(card, heat)))


def clocks(before: Conditions, after: Conditions) -> Tuple[str, ...]:
    """Return what of the clocks between two moments casts doubt on a timing: power is saved, or that has changed."""
    one, other = before.cpu_clocks, after.cpu_clocks
    if one != other and one and other:
        return (f"what the processor is told of its clocks went from {one} to {other}",)
    return tuple(each.found for each in cpu.saving(one))


def heat(before: Conditions, after: Conditions, pause: bool = False) -> Tuple[str, ...]:
    """Return whether heat held the CPU back in between, in words with the number of times; `pause`: one lies in it."""
    began, ended = before.cpu_throttle_count, after.cpu_throttle_count
    if began is None or ended is None or ended <= began:  # fewer: the machine was started anew
        return ()
    times = "1 time" if ended - began == 1 else f"{ended - began} times"
    return ("heat held the CPU back {}{}".format(times, ", the pause after it included" if pause else ""),)


def _named(card: GpuState, warnings: Iterable[str]) -> Iterator[str]:
    return ("{}: {}".format(card.uuid or "a card", each) for each in warnings)


def _busy(card: GpuState) -> Iterator[str]:
    if not card.other_processes and card.busy_share is not None and card.busy_share > BUSY_GPU_SHARE:
        yield f"it was {card.busy_share:.0%} busy"


def _disturbance(card: GpuState, heat: bool) -> Tuple[str, ...]:
    said = []
    if card.throttle_reasons:
        said.append("its clocks are held down ({})".format(", ".join(card.throttle_reasons)))
    if heat and card.temperature_celsius is not None and card.temperature_celsius >= HOT_CELSIUS:
        said.append(f"it is {card.temperature_celsius} °C hot")
    if card.other_processes:
        said.append("other processes are on it ({})".format("; ".join(card.other_processes)))
    return tuple(said)


def _busy_by_others(root: Path, sample_seconds: float) -> Optional[float]:
    """Return the share of all CPUs' time that anything but this process took, other machines' among it."""
    meter = load.Meter(root)
    time.sleep(sample_seconds)
    found = meter.read()
    return None if found.others_share is None else found.others_share + (found.steal_share or 0.0)
