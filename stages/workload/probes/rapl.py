"""What the machine's processor packages have taken: RAPL's counters, which the kernel shows below /sys/class/powercap.

Since a counter that everybody may read gives secrets away (CVE-2020-8694), the kernel lets root alone read it, and
engines hide it from containers: there it is unknown, and nothing here changes that.

Runs inside images: Python 3.7 syntax, standard library only.
"""

import re
from pathlib import Path
from typing import Dict, List, Optional, Tuple

from stages.workload.probes import files

FOLDER = "sys/class/powercap"
PACKAGE = re.compile(r"intel-rapl:\d+")  # AMD's too; deeper ones are its parts, `intel-rapl-mmio:0` is it once more
IN_CONTAINER = "it is not read inside of a container"
NO_COUNTER = "the kernel shows no counter of a processor package (/sys/class/powercap/intel-rapl:*)"


class Rapl:
    """Adds up what all packages take from its making on; to be read more often than a counter wraps: in minutes."""

    def __init__(self, in_container: bool, root: Path = files.ROOT) -> None:
        self.reason: Optional[str] = IN_CONTAINER if in_container else None
        self.joules: Optional[float] = None if in_container else 0.0
        self._last: Dict[Path, Tuple[int, int]] = {}  # folder: its counter and the most that it counts to
        if self.reason is None:
            self._begin(root)

    def read(self) -> Optional[float]:
        """Return the joules until now; None where they are not known, for the `reason`."""
        for folder, (last, most) in self._last.items():
            if self.joules is None:
                break
            now, why = _number(folder / "energy_uj")
            if now is None:
                self._give_up(why)
                break
            taken = now - last if now >= last else now + most - last
            self.joules += taken / 1e6
            self._last[folder] = now, most
        return self.joules

    def _begin(self, root: Path) -> None:
        packages = _packages(root)
        if not packages:
            self._give_up(NO_COUNTER)
        for folder in packages:
            (now, why), (most, why_not) = _number(folder / "energy_uj"), _number(folder / "max_energy_range_uj")
            if now is None or most is None:
                self._give_up(why or why_not)
                return
            self._last[folder] = now, most

    def _give_up(self, reason: str) -> None:
        self.reason, self.joules = reason, None


def _packages(root: Path) -> List[Path]:
    try:
        found = sorted(each for each in (root / FOLDER).iterdir() if PACKAGE.fullmatch(each.name))
    except OSError:
        return []
    return [each for each in found if (files.text(each / "name") or "").startswith("package")]


def _number(path: Path) -> Tuple[Optional[int], str]:
    """Return the file's number, or why there is none."""
    try:
        return int(path.read_text()), ""
    except PermissionError:
        return None, f"this user may not read {path}: the kernel lets root alone"
    except (OSError, ValueError) as error:
        return None, f"{path}: {getattr(error, 'strerror', None) or error}"
