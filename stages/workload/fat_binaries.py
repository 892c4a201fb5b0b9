"""GPU architectures that libraries hold code for, read from the files themselves: older torch does not tell.

nvcc puts the code of each source file into a fat binary, of which a library has many in its ELF section `.nv_fatbin`.
Both formats are little endian. Runs inside images: Python 3.7 syntax, standard library only.
"""

import collections
import mmap
import struct
from pathlib import Path
from typing import Iterator, Tuple

SECTION = b".nv_fatbin"
MAGIC = 0xBA55ED50
KINDS = {1: "compute_{}", 2: "sm_{}"}  # PTX, which a driver compiles for newer cards, and binaries


def architectures(folder: Path) -> Tuple[str, ...]:
    """Return what the sources of these libraries were compiled for: 'sm_70', 'compute_50'; empty: not told.

    That is what most fat binaries are for: the others come from libraries that were linked in (cuDNN, cuBLAS).
    """
    counts = collections.Counter()  # type: collections.Counter
    for path in sorted(folder.glob("*.so")):
        if path.stat().st_size:
            with path.open("rb") as file, mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ) as library:
                counts.update(_fat_binaries(library))
    return counts.most_common(1)[0][0] if counts else ()


def _fat_binaries(library: mmap.mmap) -> Iterator[Tuple[str, ...]]:
    """Yield what each of a library's fat binaries is for."""
    at, end = _section(library)
    while at + 16 <= end:
        magic, _, header_size, size = struct.unpack_from("<IHHQ", library, at)
        if magic != MAGIC:  # zeros, up to where the next one is aligned to
            at += 8
            continue
        found = set(_entries(library, at + header_size, min(at + header_size + size, end)))
        at += header_size + size
        if found:
            ordered = sorted(found, key=lambda entry: (-entry[0], entry[1]))  # as torch lists them: PTX last
            yield tuple(KINDS[kind].format(number) for kind, number in ordered)


def _entries(library: mmap.mmap, at: int, end: int) -> Iterator[Tuple[int, int]]:
    """Yield kind and architecture of all that one fat binary holds."""
    while at + 32 <= end:
        kind, _, header_size, size = struct.unpack_from("<HHIQ", library, at)
        (number,) = struct.unpack_from("<I", library, at + 28)
        if kind in KINDS:
            yield kind, number
        at += max(header_size + size, 8)


def _section(library: mmap.mmap) -> Tuple[int, int]:
    """Return where it begins and ends; of no length where there is none (elf(5), 64 bit)."""
    if library[:5] != b"\x7fELF\x02":
        return 0, 0
    (table,) = struct.unpack_from("<Q", library, 40)
    entry_size, count, names_index = struct.unpack_from("<HHH", library, 58)
    headers = [struct.unpack_from("<IIQQQQ", library, table + index * entry_size) for index in range(count)]
    for header in headers:
        name = headers[names_index][4] + header[0]
        if library[name : name + len(SECTION) + 1] == SECTION + b"\0":
            return header[4], header[4] + header[5]
    return 0, 0
