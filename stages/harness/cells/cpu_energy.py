"""What the machine's processor packages take while a cell's command runs: RAPL's counters, read here on the host.

A counter that everybody may read gives secrets away (CVE-2020-8694), so the kernel lets root alone read it, and it is
mounted into no container: this process reads it, beside whatever the job runs in, so that any two settings compare. The
supervisor says when its command began and how long it took. What was taken until a moment is read off between the
readings around it, as if taken evenly: right at each end to what power changes within PERIOD_SECONDS.
"""

import bisect
import contextlib
import dataclasses
import re
import threading
import time
from collections.abc import Iterator, Sequence
from pathlib import Path

from stages import codec
from stages.harness.process import signals
from stages.records import Attempt, Result

FOLDER = Path("/sys/class/powercap")
PACKAGE = re.compile(r"intel-rapl:\d+")  # AMD's too; deeper ones are its parts, `intel-rapl-mmio:0` is it once more
PERIOD_SECONDS = 0.5  # between two readings; a counter wraps in minutes
MOST = 4096  # readings that are kept: of more, each second one goes, which leaves the latest close together
CLOCK_SECONDS = 0.1  # by which the two clocks may move apart before one of them must have been set
NO_COUNTER = "the kernel shows no counter of a processor package (/sys/class/powercap/intel-rapl:*)"
SEVERAL = "it ran in several attempts, and what the earlier ones took was not kept"
CLOCK_WAS_SET = "the machine's clock was set while its counters were read"
NOT_WITHIN = "its command did not run between the host's first and last reading, by the two clocks"


class Packages:
    """Readings of all packages together, from the making of this on; `reason`: why what they take is not known."""

    def __init__(self, folder: Path) -> None:
        self.reason: str | None = None
        self._last: dict[Path, tuple[int, int]] = {}  # folder: its counter and the most that it counts to
        self._ats = [time.time()]
        self._joules = [0.0]
        self._clocks_apart = self._ats[0] - time.monotonic()
        packages = _packages(folder)
        if not packages:
            self.reason = NO_COUNTER
        for each in packages:
            now, most = _number(each / "energy_uj"), _number(each / "max_energy_range_uj")
            if isinstance(now, int) and isinstance(most, int):
                self._last[each] = now, most
            else:
                self.reason = self.reason or str(now if isinstance(now, str) else most)

    def read(self) -> None:
        """Read the counters once more."""
        joules, at = self._joules[-1], time.time()
        if at <= self._ats[-1]:
            return
        if self.reason is None and abs(at - time.monotonic() - self._clocks_apart) > CLOCK_SECONDS:
            self.reason = CLOCK_WAS_SET
        for folder, (last, most) in self._last.items():
            now = _number(folder / "energy_uj")
            if isinstance(now, str):
                self.reason = self.reason or now
                return
            joules += (now - last if now >= last else now + most - last) / 1e6
            self._last[folder] = now, most
        self._ats.append(at)
        self._joules.append(joules)
        if len(self._ats) > MOST:
            self._ats, self._joules = self._ats[::2], self._joules[::2]

    def taken(self, attempts: Sequence[Attempt]) -> tuple[float | None, str]:
        """Return the joules that were taken while the command of the only attempt ran; or None, and why."""
        if self.reason is not None or len(attempts) != 1:
            return None, self.reason or SEVERAL
        began_at = attempts[0].began_at or 0.0
        began, ended = self._until(began_at), self._until(began_at + attempts[0].seconds)
        return (None, NOT_WITHIN) if began is None or ended is None else (ended - began, "")

    def _until(self, at: float) -> float | None:
        index = bisect.bisect_left(self._ats, at)
        if not 0 < index < len(self._ats):
            return None
        (before, after), (low, high) = self._ats[index - 1 : index + 1], self._joules[index - 1 : index + 1]
        return low + (at - before) / (after - before) * (high - low)


@contextlib.contextmanager
def reading() -> Iterator[Packages]:
    """Read the counters again and again in the block, and once more at its end."""
    packages, over = Packages(FOLDER), threading.Event()

    def look() -> None:
        while packages.reason is None and not over.wait(PERIOD_SECONDS):
            packages.read()

    thread = threading.Thread(target=look, daemon=True)
    if packages.reason is None:
        signals.start(thread)
    try:
        yield packages
    finally:
        over.set()
        if thread.ident is not None:
            thread.join()
            packages.read()


def note(path: Path, packages: Packages) -> None:
    """Write into the result what its command took of the packages, or why that is not known; where one ran at all."""
    result = codec.find(path, Result)  # what is refused here is refused by whoever reads it next
    if result and result.attempts:
        joules, why = packages.taken(result.attempts)
        absent = {name: reason for name, reason in result.absent.items() if name != "cpu_joules"}
        absent |= {"cpu_joules": why} if joules is None else {}
        codec.write(path, dataclasses.replace(result, cpu_joules=joules, absent=absent))


def _packages(folder: Path) -> list[Path]:
    try:
        found = sorted(each for each in folder.iterdir() if PACKAGE.fullmatch(each.name))
    except OSError:
        return []
    return [each for each in found if _text(each / "name").startswith("package")]


def _text(path: Path) -> str:
    try:
        return path.read_text(encoding="utf-8", errors="replace")
    except OSError:
        return ""


def _number(path: Path) -> int | str:
    """Return the file's number, or why there is none."""
    try:
        return int(path.read_text())
    except PermissionError:
        return f"this user may not read {path}: the kernel lets root alone"
    except (OSError, ValueError) as error:
        return f"{path}: {getattr(error, 'strerror', None) or error}"
