"""One run at a time: a file that belongs to a process as long as that lives, which the kernel sees to."""

import contextlib
import fcntl
import os
from collections.abc import Iterator
from pathlib import Path
from typing import TextIO

from stages.errors import FaceoffError
from stages.harness.process import dvc_rwlock

RUNNING_PATH = Path(".dvc/tmp/faceoff.running")  # beside DVC's own locks


@contextlib.contextmanager
def only_run() -> Iterator[None]:
    """Keep other processes, in the block, from running this checkout's pipeline and from changing what a run reads.

    Raises FaceoffError where one does, a plain `dvc repro` among them.
    """
    with held(RUNNING_PATH, "this checkout"):
        dvc_rwlock.check_alone()
        yield


@contextlib.contextmanager
def held(path: Path, what: str) -> Iterator[None]:
    """Hold an empty file at `path`, which belongs to this process alone. The kernel ends that with the process."""
    path.parent.mkdir(parents=True, exist_ok=True)
    with _locked(path, what) as file:
        file.truncate(0)  # what a killed run has left
        try:
            yield
        finally:
            path.unlink(missing_ok=True)


def _locked(path: Path, what: str) -> TextIO:
    """Open the file, once it is ours and still the one at `path`: who held it may have removed it in between."""
    while True:
        with contextlib.ExitStack() as otherwise:
            file = otherwise.enter_context(path.open("a", encoding="utf-8"))
            try:
                fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError:
                line = f"{what}: another run is at work on it ({path}): wait for that, or stop it"
                raise FaceoffError(line) from None
            with contextlib.suppress(FileNotFoundError):
                if os.path.samestat(os.fstat(file.fileno()), path.stat()):
                    otherwise.pop_all()
                    return file
