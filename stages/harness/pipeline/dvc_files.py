"""DVC's own files. It writes them in place: what a DVC that was killed, or a full disk, left of them is mended here.

dvc.lock  what each stage's results belong to: a stage that is lost from it is measured again
rwlock    which process uses which file: one that is cut short, or whose pid is another's by now, refuses every run
"""

import contextlib
import json
from pathlib import Path
from typing import Any

import psutil

from stages import codec
from stages.errors import FaceoffError

LOCK_PATH = Path("dvc.lock")
KEPT_PATH = Path(".dvc/tmp/faceoff.lock")  # a copy of it, there only while DVC runs; empty: there was none yet
RWLOCK_PATH = Path(".dvc/tmp/rwlock")
CLOCK_SECONDS = 1  # to which the time is known at which a process began


def keep() -> None:
    """Copy dvc.lock, which DVC has to be through with."""
    with contextlib.suppress(FaceoffError):  # no room: the older copy is better than none
        codec.write_text(KEPT_PATH, LOCK_PATH.read_text(encoding="utf-8") if LOCK_PATH.exists() else "")


def mend() -> None:
    """Put dvc.lock and DVC's rwlock right. To be called where no DVC runs, before and after."""
    _mend_rwlock()
    if not KEPT_PATH.exists():
        return
    kept = KEPT_PATH.read_text(encoding="utf-8")
    if LOCK_PATH.exists() and LOCK_PATH.read_bytes() != kept.encode() and _is_cut(LOCK_PATH, kept):
        print("faceoff: dvc.lock was cut short, by a kill or a full disk: it is again as it was a stage before")
        KEPT_PATH.replace(LOCK_PATH)  # a copy would need room
        if not kept:
            LOCK_PATH.unlink()
    KEPT_PATH.unlink(missing_ok=True)


def _is_cut(path: Path, kept: str) -> bool:
    """Whether the file is but the begin of what DVC was writing, on top of what was kept; not where it is another's."""
    from dvc.exceptions import DvcException  # as DVC reads it itself; no run that goes well has to wait for the imports
    from dvc.schema import COMPILED_LOCKFILE_SCHEMA
    from dvc.utils import strictyaml
    from dvc.utils.serialize import parse_yaml

    try:
        found, text = strictyaml.load(str(path), COMPILED_LOCKFILE_SCHEMA)
    except DvcException:
        return True
    if not text.endswith("\n") or kept.startswith(text):
        return True
    now, before = found["stages"], parse_yaml(kept, str(path)).get("stages", {})
    others = sum(now[name] != before[name] for name in now if name in before)
    return bool(_places(before) - _places(now)) and others <= max(2, len(now) / 2)


def _places(value: object, place: tuple[object, ...] = ()) -> set[tuple[object, ...]]:
    """Return the keys and indices that lead to each value that a document holds."""
    inner = value.items() if isinstance(value, dict) else enumerate(value) if isinstance(value, list) else ()
    return {place}.union(*(_places(each, (*place, key)) for key, each in inner))


def _mend_rwlock() -> None:
    """Delete the file where it is none any more, and from it what no process that has written it can have left."""
    try:
        written_at = RWLOCK_PATH.stat().st_mtime
        document = json.loads(RWLOCK_PATH.read_text(encoding="utf-8"))
        mended = {
            "write": {path: each for path, each in document["write"].items() if _may_hold(each, written_at)},
            "read": {
                path: [each for each in readers if _may_hold(each, written_at)]
                for path, readers in document["read"].items()
            },
        }
    except FileNotFoundError:
        return
    except (ValueError, TypeError, KeyError, AttributeError):
        RWLOCK_PATH.unlink()
        return
    if mended != document:
        codec.write_text(RWLOCK_PATH, json.dumps(mended))


def _may_hold(entry: dict[str, Any], written_at: float) -> bool:
    """Whether the process of the entry lives, and is the one that made it. A zombie, which nobody reaps, does not."""
    try:
        process = psutil.Process(entry["pid"])
        return process.status() != psutil.STATUS_ZOMBIE and process.create_time() <= written_at + CLOCK_SECONDS
    except psutil.NoSuchProcess:
        return False
