"""What lies in folders of data, in a fixed order, and the digest of it."""

import hashlib
import os
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import NamedTuple

from stages import codec
from stages.errors import FaceoffError

LEFT_OUT = "downloads"  # a folder directly below another, where archives may lie


class Listing(NamedTuple):
    """What the folders hold together."""

    sha256: str
    files: int
    size_bytes: int


def take(own: Iterable[Path], elsewhere: Iterable[Path]) -> Listing:
    """List `own` folders by content, and others by name and size. Raises FaceoffError for what cannot be read."""
    digest, files, size_bytes = hashlib.sha256(), 0, 0
    every = [(folder, True) for folder in own] + [(folder, False) for folder in elsewhere]
    try:
        for folder, by_content in every:
            for path in _files(folder):
                size = path.stat().st_size
                what = _sha256(path) if by_content else str(size)
                name = path.relative_to(folder) if by_content else path
                digest.update(os.fsencode(name) + b"\0" + what.encode() + b"\n")
                files, size_bytes = files + 1, size_bytes + size
    except OSError as error:
        raise FaceoffError(f"{error.filename or 'data'}: {codec.refusal(error)}") from None
    return Listing(digest.hexdigest(), files, size_bytes)


def _files(folder: Path) -> Iterator[Path]:
    """Yield the files below the folder in a fixed order, symbolic links followed, each folder once."""
    seen = set[str]()
    for name, folders, files in os.walk(folder, onerror=_raise_unless_missing, followlinks=True):
        place = os.path.realpath(name)
        if place in seen:
            folders.clear()
            continue
        seen.add(place)
        folders[:] = sorted(each for each in folders if Path(name) != folder or each != LEFT_OUT)
        for each in sorted(files):
            path = Path(name, each)
            if path.is_symlink() and not path.exists():
                to = path.readlink()
                raise FaceoffError(f"{path}: a symbolic link to {to}, which is not there: mend or remove it")
            yield path


def _raise_unless_missing(error: OSError) -> None:
    if not isinstance(error, FileNotFoundError):
        raise error


def _sha256(path: Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()
