"""DVC's rwlock, in which each DVC notes what its stage reads and writes."""

import json
from pathlib import Path
from typing import Any

import psutil

from stages import codec

RWLOCK_PATH = Path(".dvc/tmp/rwlock")
CLOCK_SECONDS = 1  # to which the time is known at which a process began


def mend() -> None:
    """Delete the file where it is none any more, and from it what no process that has written it can have left.

    DVC writes it in place: one that is cut short, or whose pid is another's by now, refuses every run.
    """
    try:
        written_at, document = _read()
    except FileNotFoundError:
        return
    except ValueError:
        RWLOCK_PATH.unlink()
        return
    mended = {
        "write": {path: each for path, each in document["write"].items() if _may_hold(each, written_at)},
        "read": {
            path: [each for each in readers if _may_hold(each, written_at)]
            for path, readers in document["read"].items()
        },
    }
    if mended != document:
        codec.write_text(RWLOCK_PATH, json.dumps(mended))


def _read() -> tuple[float, dict[str, Any]]:
    """Return when it was written, and what it says. Raises ValueError where it is none, or FileNotFoundError."""
    written_at = RWLOCK_PATH.stat().st_mtime
    document = json.loads(RWLOCK_PATH.read_text(encoding="utf-8"))
    try:
        entries = [*document["write"].values(), *(each for readers in document["read"].values() for each in readers)]
        good = all(isinstance(each["pid"], int) for each in entries)
    except (TypeError, KeyError, AttributeError):
        good = False
    if not good:
        raise ValueError
    return written_at, document


def _may_hold(entry: dict[str, Any], written_at: float) -> bool:
    """Whether the process of the entry lives, and is the one that made it. A zombie, which nobody reaps, does not."""
    try:
        process = psutil.Process(entry["pid"])
        return process.status() != psutil.STATUS_ZOMBIE and process.create_time() <= written_at + CLOCK_SECONDS
    except psutil.NoSuchProcess:
        return False
