"""What an archive may unpack to: files inside of its own folder, and not vastly more than was downloaded.

The archives' own headers are believed: neither zipfile nor tarfile writes more of a member than its header says.
"""

import tarfile
import zipfile
from collections.abc import Iterator
from pathlib import Path, PurePosixPath
from stat import S_IFMT, S_ISDIR, S_ISREG

from stages.units import amount

MOST_TIMES_LARGER = 20  # than the archive; photos hardly shrink
ALWAYS_BYTES = 1 << 30  # however small the archive is
MOST_MEMBERS = 1_000_000


class Refused(Exception):
    """The archive is not unpacked, and why."""


class Budget:
    """What the members of an archive may take together."""

    def __init__(self, archive_bytes: int) -> None:
        self._bytes = self._left_bytes = max(ALWAYS_BYTES, MOST_TIMES_LARGER * archive_bytes)
        self._left_members = MOST_MEMBERS

    def take(self, size_bytes: int) -> None:
        """Count a member. Raises Refused for the first that is too much."""
        self._left_bytes -= size_bytes
        self._left_members -= 1
        if self._left_bytes < 0:
            raise Refused(f"it unpacks to more than {amount(self._bytes)}, far more than photos would")
        if self._left_members < 0:
            raise Refused(f"it holds more than {MOST_MEMBERS:,} files")


def check(archive: Path) -> None:
    """Raise Refused for a zip or tar archive with a member that is outside or no file, or for too much in all.

    Raises zipfile's and tarfile's errors for one that is damaged. What is neither is left to whoever unpacks it.
    """
    budget = Budget(archive.stat().st_size)
    for name, size_bytes, is_plain in _members(archive):
        check_path(name)
        if not is_plain:
            raise Refused(f"{name!r} is a link or a device")
        budget.take(size_bytes)


def check_path(name: str) -> None:
    """Raise Refused for a member's name that leads out of the archive's folder."""
    path = PurePosixPath(name)
    if path.is_absolute() or ".." in path.parts:
        raise Refused(f"{name!r} points outside of it")


def _members(archive: Path) -> Iterator[tuple[str, int, bool]]:
    """Name, size when unpacked, and whether it is a plain file or folder."""
    if tarfile.is_tarfile(archive):
        with tarfile.open(archive) as tar:
            for member in tar:
                yield member.name, member.size, member.isfile() or member.isdir()
    elif zipfile.is_zipfile(archive):
        with zipfile.ZipFile(archive) as zipped:
            for info in zipped.infolist():
                mode = info.external_attr >> 16  # 0 where the archive was not made on a Unix
                yield info.filename, info.file_size, not S_IFMT(mode) or S_ISREG(mode) or S_ISDIR(mode)
