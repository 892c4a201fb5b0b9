"""The kernel's files as text and numbers. Runs inside images: Python 3.7 syntax, standard library only."""

import dataclasses
import hashlib
from pathlib import Path
from typing import Any, Dict, Iterator, Optional, Tuple

ROOT = Path("/")
UNITS = {"": 1, "K": 2**10, "M": 2**20, "G": 2**30}


def text(path: Path) -> Optional[str]:
    """Return the file's text without blanks at its ends; None where it is missing, empty or may not be read."""
    try:
        return path.read_text(encoding="utf-8", errors="replace").strip() or None
    except OSError:
        return None


def number(path: Path) -> Optional[int]:
    """Return the whole number, 0 or more, that the file holds; None where it holds something else."""
    found = text(path)
    return int(found) if found is not None and found.isdigit() else None


def size_bytes(path: Path) -> Optional[int]:
    """Return '32K' in bytes, as the kernel writes a cache's size."""
    found = text(path) or ""
    digits = found.rstrip("KMG")
    return int(digits) * UNITS[found[len(digits) :]] if digits.isdigit() and len(found) - len(digits) <= 1 else None


def fields(path: Path) -> Iterator[Tuple[str, str]]:
    """Yield lines 'key : value' of a file such as /proc/cpuinfo; those without a colon are left out."""
    for line in (text(path) or "").splitlines():
        key, colon, value = line.partition(":")
        if colon:
            yield key.strip(), value.strip()


def known(values: Dict[str, Tuple[object, str]]) -> Dict[str, object]:
    """Return fields of a record from pairs of a value and the reason to give where it is None, `absent` among them."""
    found = {name: value for name, (value, _) in values.items()}  # type: Dict[str, object]
    found["absent"] = {name: reason for name, (value, reason) in values.items() if value is None}
    return found


def unknown(kind: Any, reason: Optional[str], **values: object) -> Any:
    """Make a record of this kind with what is told, and every other field null for this one reason."""
    nulls = [field.name for field in dataclasses.fields(kind) if field.name not in values and field.name != "absent"]
    return kind(absent=dict.fromkeys(nulls, reason), **dict.fromkeys(nulls), **values)


def machine_id(root: Path) -> Optional[str]:
    """Return a one-way hash of /etc/machine-id, which systemd asks not to publish as it is (machine-id(5))."""
    found = text(root / "etc/machine-id")
    return hashlib.sha256(b"faceoff " + found.encode()).hexdigest()[:32] if found else None
