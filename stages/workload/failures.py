"""What torch raises when a cell fails for want of something, as a line: what, the figures, what to change.

What kills the process outright is told by stages/harness/cells/failures.py.

Runs inside images: Python 3.7 syntax.
"""

import os
import re
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any, Iterator, NamedTuple, Optional

import torch

from stages import needs
from stages.checks import killed_for_memory
from stages.errors import FaceoffError
from stages.records import Cell, Recipe
from stages.units import amount

# In lower case, of torch 1.2 and of today's. 1.2 finds out that /dev/shm is full when it writes, and may die of a bus
# error then; today's asks first.
OUT_OF_SHARED_MEMORY = ("unable to allocate shared memory", "unable to write to file </torch")
OUT_OF_GPU_MEMORY = (
    "cuda out of memory",
    "cuda error: out of memory",
    "cuda error: cublas_status_alloc_failed",
    "cudnn_status_alloc_failed",
)
OUT_OF_MEMORY = ("can't allocate memory", "not enough memory", "cannot allocate memory")
LOADER_DIED, OF = "dataloader worker", r"is killed by signal: ([\w ]+)"
LESS = "lower batch_sizes, recipe.size or recipe.workers in params.yaml"
SIZE = r"([\d.]+ [KMG]iB)"  # as torch writes it
REASON_BYTES = 4096
NEEDED, FREE = "Tried to allocate " + SIZE, SIZE + "(?: is)? free"
TOTAL = "total capacity of {0}|{0} total capacity".format(SIZE)


@contextmanager
def recorded(path: Path) -> Iterator[None]:
    """Within, what is raised is written to this file, if it is there, in a line: the host makes the result of it.

    The file has room for it from the begin: by then the disk may be full, of what torch could not write for example.
    """
    if path.exists():
        with suppress(OSError):
            path.write_bytes(b" " * REASON_BYTES)
    try:
        yield
    except Exception as error:
        if path.exists():
            kind = "" if isinstance(error, FaceoffError) else type(error).__name__ + ": "
            said = (kind + _first_line(str(error))).encode("utf-8")
            with suppress(OSError), path.open("r+b") as file:  # which must not hide the error: that is printed
                file.write(said)
        raise


@contextmanager
def explained(cell: Cell, recipe: Recipe, learner: Any) -> Iterator[None]:
    """Within, what torch raises for want of memory is raised as a FaceoffError that says what to do."""
    before = Before(_free_shm_bytes(), killed_for_memory())
    try:
        yield
    except (RuntimeError, MemoryError) as error:
        line = _explanation(error, cell, recipe, learner, before)
        if line is None:
            raise
        raise FaceoffError(line) from error


class Before(NamedTuple):
    """What was so before the loader began."""

    free_shm_bytes: int
    killed_for_memory: int  # processes of this machine, by the kernel


def _free_shm_bytes() -> int:
    shm = os.statvfs("/dev/shm")  # noqa: S108 - looked at, not written to
    return shm.f_bavail * shm.f_frsize


def _explanation(error: Exception, cell: Cell, recipe: Recipe, learner: Any, before: Before) -> Optional[str]:
    said = "\n".join(_chain(error))
    if _has(said, OUT_OF_GPU_MEMORY):
        return "out of GPU memory at batch size {}: {}: lower batch_sizes or recipe.size in params.yaml".format(
            cell.batch_size, _gpu_figures(said)
        )
    died, died_of = LOADER_DIED in said.lower(), re.search(OF, said)
    signal = died_of.group(1) if died_of else None
    need = needs.shared_memory_bytes(
        needs.learner_kind(learner.version), torch.cuda.is_available(), cell.batch_size, recipe
    )
    may_be_full = died and signal in (None, "Bus error") and before.free_shm_bytes < need
    on_host = cell.image == "host"
    if _has(said, OUT_OF_SHARED_MEMORY) or may_be_full:
        enlarge = "enlarge it (mount -o remount,size=... /dev/shm)" if on_host else "raise container.shm_size"
        return (
            "the loader's processes ran out of shared memory: /dev/shm has {}, and batches of {} at {} px from {} "
            "workers need {}: {}, or {}".format(
                amount(before.free_shm_bytes), cell.batch_size, recipe.size, recipe.workers, amount(need), enlarge, LESS
            )
        )
    less_memory = "{}, or {}".format("end what else runs here" if on_host else "raise container.memory", LESS)
    if isinstance(error, MemoryError) or _has(said, OUT_OF_MEMORY):
        return "out of memory ({}): {}".format(_first_line(said) or "Python got none", less_memory)
    if died and signal == "Killed":
        if killed_for_memory() > before.killed_for_memory:
            return "the kernel killed a process of the loader for want of memory: {}".format(less_memory)
        return "a process of the loader was killed (SIGKILL), and not for want of memory: see who did, and run again"
    if died:
        return (
            "a process of the loader died ({}); where is above, if it said so: see whether recipe.workers: 0 helps, or "
            "choose another image".format(signal or "torch does not say of what")
        )
    return None


def _chain(error: Optional[BaseException]) -> Iterator[str]:
    """What the error says and what those say that led to it: torch tells a worker's death twice, once of what."""
    while error is not None:
        yield str(error)
        error = error.__cause__ or error.__context__


def _gpu_figures(said: str) -> str:
    """'2.50 GiB more needed, 1.09 GiB of 15.90 GiB free', in torch's figures, which it words anew now and then."""
    found = [re.search(each, said) for each in (NEEDED, FREE, TOTAL)]
    if not all(found):
        return _first_line(said)
    return "{} more needed, {} of {} free".format(*(next(filter(None, each.groups())) for each in found))


def _first_line(said: str) -> str:
    return said.strip().partition("\n")[0]


def _has(said: str, signs: tuple) -> bool:
    return any(sign in said.lower() for sign in signs)
