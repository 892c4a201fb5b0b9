"""One run at a time: a file that belongs to a process as long as that lives, which the kernel sees to."""

import contextlib
import fcntl
import os
import re
import shlex
from collections.abc import Iterator
from pathlib import Path
from typing import TextIO

from stages.errors import FaceoffError

RUNNING_PATH = Path(".dvc/tmp/faceoff.running")  # beside DVC's own locks
RUNNER_PATH = Path(".dvc/tmp/faceoff.runner")  # which process runs the pipeline; of no account once that has ended
NOTED = re.compile(r"(\d+) (\d+)")
COPIES = "/.dvc/tmp/exps/"  # below it `dvc exp run --temp` and a queue's workers run copies of the checkout


@contextlib.contextmanager
def only_run() -> Iterator[None]:
    """Keep other processes, in the block, from running this checkout's pipeline and from changing what a run reads.

    Raises FaceoffError where one does, a plain `dvc repro` among them.
    """
    with held(RUNNING_PATH, "this checkout"):
        begin_run(os.getpid())
        try:
            yield
        finally:
            end_run()


def begin_run(pid: int) -> None:
    """Note that this process runs the pipeline of the checkout, or of a copy of it: two timings disturb each other.

    Raises FaceoffError where another one does. DVC itself keeps two apart in one folder alone, and only from the
    first file on that both use, when the second has written others.
    """
    own = f"{pid} {began(pid)}"
    with _runner() as file:
        found = NOTED.fullmatch(file.read())
        if found and found[0] == own:
            return
        if found and began(int(found[1])) == found[2]:
            words = Path(f"/proc/{found[1]}/cmdline").read_bytes().decode(errors="replace").split("\0")[:-1]
            who = f"process {found[1]}, {shlex.join(words)}"
            raise FaceoffError(f"this checkout: another run is at work on it ({who}): wait for that, or stop it")
        file.truncate(0)
        file.write(own)


def end_run() -> None:
    """Note that the process that runs the pipeline does so no more, though it may live on."""
    with _runner() as file:
        file.truncate(0)


def began(pid: int) -> str | None:
    """Return when the process began, by which it is told from others of its number; None: it has ended."""
    try:
        stat = Path(f"/proc/{pid}/stat").read_text(encoding="utf-8", errors="replace")
    except OSError:
        return None
    fields = stat.rpartition(")")[2].split()  # from its state on (man 5 proc_pid_stat)
    return None if fields[0] in "ZX" else fields[19]


@contextlib.contextmanager
def _runner() -> Iterator[TextIO]:
    """Open the file, to read and to append, for this process alone."""
    top = Path(str(Path.cwd()).partition(COPIES)[0])
    (top / RUNNER_PATH).parent.mkdir(parents=True, exist_ok=True)
    with (top / RUNNER_PATH).open("a+", encoding="utf-8") as file:
        fcntl.flock(file, fcntl.LOCK_EX)
        file.seek(0)
        yield file


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
