"""One run at a time: a file that belongs to a process as long as that lives, which the kernel sees to."""

import contextlib
import fcntl
from collections.abc import Iterator
from pathlib import Path

from stages.errors import FaceoffError


@contextlib.contextmanager
def held(path: Path, what: str) -> Iterator[None]:
    """An empty file at `path` within, which belongs to this process alone. The kernel ends that with the process."""
    path.parent.mkdir(parents=True, exist_ok=True)
    with path.open("a", encoding="utf-8") as file:
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            raise FaceoffError(f"{what}: another run is at work on it ({path}): wait for that, or stop it") from None
        file.truncate(0)  # what a killed run has left
        try:
            yield
        finally:
            path.unlink(missing_ok=True)
