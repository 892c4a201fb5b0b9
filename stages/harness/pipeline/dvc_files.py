"""DVC's own files. It writes them in place: what a DVC that was killed, or a full disk, left of them is mended here.

dvc.lock  what each stage's results belong to: a stage that is lost from it is measured again
rwlock    which process uses which file: see stages/harness/process/dvc_rwlock.py
"""

from pathlib import Path

from stages import codec
from stages.errors import FaceoffError
from stages.harness.process import dvc_lock, dvc_rwlock


def mend() -> None:
    """Put dvc.lock and DVC's rwlock right. To be called where no DVC runs, before and after."""
    dvc_rwlock.mend()
    lock, aside = dvc_lock.LOCK_PATH, dvc_lock.ASIDE_PATH
    if lock.exists():
        codec.check_merged(lock.read_text(encoding="utf-8"), str(lock), both=" metrics")
    if dvc_lock.is_short() is not None:
        _mend_short(lock, aside)
    elif aside.exists() and lock.exists() and dvc_lock.IS_SHORT.startswith(lock.read_text(encoding="utf-8")):
        print("faceoff: dvc.lock was cut short, by a kill or a full disk: it is again as it was a stage before")
        aside.replace(lock)
    elif not lock.exists() or dvc_lock.is_as_written(lock.read_text(encoding="utf-8")):
        aside.unlink(missing_ok=True)  # amid a conflict that git marks, it may yet be the other half


def _mend_short(lock: Path, aside: Path) -> None:
    if not aside.exists():
        dvc_lock.put_together()  # so that the next run goes on
        raise FaceoffError(dvc_lock.HALF_IS_LOST)
    try:
        dvc_lock.put_together()
    except FaceoffError as error:
        print(f"faceoff: {error}; dvc.lock is again as it was a stage before")
        aside.replace(lock)  # a file of both would need room
