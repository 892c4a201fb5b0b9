"""DVC's own files. It writes them in place: what a DVC that was killed, or a full disk, left of them is mended here.

dvc.lock  what each stage's results belong to: a stage that is lost from it is measured again
rwlock    which process uses which file: one that is cut short, or whose pid is another's by now, refuses every run
"""

import json
from pathlib import Path
from typing import Any

import psutil

from stages import codec
from stages.errors import FaceoffError
from stages.harness.process import dvc_lock

RWLOCK_PATH = Path(".dvc/tmp/rwlock")
CLOCK_SECONDS = 1  # to which the time is known at which a process began


def mend() -> None:
    """Put dvc.lock and DVC's rwlock right. To be called where no DVC runs, before and after."""
    _mend_rwlock()
    lock, aside = dvc_lock.LOCK_PATH, dvc_lock.ASIDE_PATH
    if dvc_lock.is_short() is not None:
        try:
            dvc_lock.put_together()
            return
        except FaceoffError as error:
            if not aside.exists():
                raise
            print(f"faceoff: {error}; dvc.lock is again as it was a stage before")
            aside.replace(lock)  # a file of both would need room
    elif aside.exists() and lock.exists() and dvc_lock.IS_SHORT.startswith(lock.read_text(encoding="utf-8")):
        print("faceoff: dvc.lock was cut short, by a kill or a full disk: it is again as it was a stage before")
        aside.replace(lock)
    aside.unlink(missing_ok=True)


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
