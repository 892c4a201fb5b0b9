"""Stands still in the middle of writing. As `sitecustomize`, so that each Python begins with it.

The stage that the file `pause` beside this one names, e.g. 'stages.train', says so in the file `paused` and waits at
the first file that it syncs to disk, when its temporary file is there; but not at dvc.lock, which each makes whole
first. Where `pause` names one of DVC's own, 'dvc.lock' or 'rwlock', DVC does when it has written half of that over
again.
"""

import builtins
import os
import sys
import time
from pathlib import Path


def wait_at_result(descriptor: int) -> None:
    path = Path(f"/proc/self/fd/{descriptor}").readlink()
    if not path.is_dir() and "dvc.lock" not in path.name:
        wait()


def wait() -> None:
    Path("paused").touch()
    for _ in range(12_000):  # not 600 s at once: a signal may go to a thread of numpy, and be seen here after it
        time.sleep(0.05)


def open_and_wait(path, mode="r", *arguments, **keywords):
    is_it = not isinstance(path, int) and Path(path).name == pause and "w" in mode
    half = Path(path).stat().st_size // 2 if is_it and Path(path).exists() else 0
    file = really_open(path, mode, *arguments, **keywords)
    if is_it:

        def write(text):
            really_write(text)
            file.flush()
            if file.tell() >= half:
                wait()

        really_write, file.write = file.write, write
    return file


named = Path(__file__).with_name("pause")
pause = named.read_text() if named.exists() else ""
if sys.orig_argv[1:3] == ["-m", pause]:
    os.fsync = wait_at_result
elif sys.orig_argv[1:3] == ["-m", "dvc"] and not pause.startswith("stages."):
    really_open, builtins.open = builtins.open, open_and_wait
