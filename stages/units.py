"""How amounts and lists of CPUs are written, on the host and inside images alike.

Runs inside images: Python 3.7 syntax, standard library only.
"""

from typing import Iterable, List


def amount(size_bytes: float) -> str:
    """'1.5 GiB': in binary units, which say so."""
    for unit in ("B", "KiB", "MiB", "GiB"):
        if abs(size_bytes) < 1023.95:  # what is rounded to 1024 is one of the next
            return "{:g} {}".format(round(size_bytes, 1), unit)
        size_bytes /= 1024.0
    return "{:g} TiB".format(round(size_bytes, 1))


def listed(cpus: str) -> List[int]:
    """Return CPUs as the kernel lists them: '0-2,8' is 0, 1, 2 and 8."""
    found = []  # type: List[int]
    for part in filter(None, cpus.split(",")):
        first, _, last = part.partition("-")
        found.extend(range(int(first), int(last or first) + 1))
    return found


def listing(cpus: Iterable[int]) -> str:
    """Return CPUs as the kernel lists them: 0, 1, 2 and 8 are '0-2,8'."""
    runs = []  # type: List[List[int]]
    for cpu in sorted(cpus):
        if runs and cpu == runs[-1][1] + 1:
            runs[-1][1] = cpu
        else:
            runs.append([cpu, cpu])
    return ",".join(str(first) if first == last else f"{first}-{last}" for first, last in runs)
