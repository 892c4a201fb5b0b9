"""What torch raises when a cell fails for want of something, as a line: what, the figures, what to change.

What kills the process outright is told by stages/harness/failures.py.

Runs inside images: Python 3.7 syntax.
"""

import os
import re
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Iterator, Optional

import torch

from stages import needs
from stages.checks import amount
from stages.errors import FaceoffError
from stages.records import Cell, Recipe

# In lower case, of torch 1.2 and of today's. 1.2 finds out that /dev/shm is full when it writes, today's asks first.
OUT_OF_SHARED_MEMORY = ("bus error", "unable to allocate shared memory", "unable to write to file </torch")
OUT_OF_GPU_MEMORY = (
    "cuda out of memory",
    "cuda error: out of memory",
    "cuda error: cublas_status_alloc_failed",
    "cudnn_status_alloc_failed",
)
OUT_OF_MEMORY = ("can't allocate memory", "not enough memory", "cannot allocate memory")
LOADER_DIED, OF = "dataloader worker", r"is killed by signal: ([\w ]+)"
LESS_MEMORY = "raise container.memory, or lower batch_sizes, recipe.size or recipe.workers in params.yaml"
SIZE = r"([\d.]+ [KMG]iB)"  # as torch writes it
NEEDED, FREE = "Tried to allocate " + SIZE, SIZE + "(?: is)? free"
TOTAL = "total capacity of {0}|{0} total capacity".format(SIZE)


@contextmanager
def recorded(path: Path) -> Iterator[None]:
    """Within, what is raised is written to this file, if it is there, in a line: the host makes the result of it."""
    try:
        yield
    except Exception as error:
        if path.exists():
            kind = "" if isinstance(error, FaceoffError) else type(error).__name__ + ": "
            path.write_text(kind + _first_line(str(error)), encoding="utf-8")
        raise


@contextmanager
def explained(cell: Cell, recipe: Recipe, learner: Any) -> Iterator[None]:
    """Within, what torch raises for want of memory is raised as a FaceoffError that says what to do."""
    try:
        yield
    except (RuntimeError, MemoryError) as error:
        line = _explanation(error, cell, recipe, learner)
        if line is None:
            raise
        raise FaceoffError(line) from error


def _explanation(error: Exception, cell: Cell, recipe: Recipe, learner: Any) -> Optional[str]:
    said = "\n".join(_chain(error))
    if _has(said, OUT_OF_GPU_MEMORY):
        return "out of GPU memory at batch size {}: {}: lower batch_sizes or recipe.size in params.yaml".format(
            cell.batch_size, _gpu_figures(said)
        )
    died, died_of = LOADER_DIED in said.lower(), re.search(OF, said)
    shm = os.statvfs("/dev/shm")  # noqa: S108 - looked at, not written to
    shm_bytes = shm.f_blocks * shm.f_frsize
    need = needs.shared_memory_bytes(
        needs.learner_kind(learner.version), torch.cuda.is_available(), cell.batch_size, recipe
    )
    if _has(said, OUT_OF_SHARED_MEMORY) or (died and not died_of and shm_bytes < need):
        return (
            "the loader's processes ran out of shared memory: /dev/shm has {}, and batches of {} at {} px from {} "
            "workers need {}: raise container.shm_size in params.yaml".format(
                amount(shm_bytes), cell.batch_size, recipe.size, recipe.workers, amount(need)
            )
        )
    if isinstance(error, MemoryError) or _has(said, OUT_OF_MEMORY):
        return "out of memory ({}): {}".format(_first_line(said) or "Python got none", LESS_MEMORY)
    if died:
        if died_of and died_of.group(1) == "Killed":
            return "the kernel killed a process of the loader, as it does for want of memory: {}".format(LESS_MEMORY)
        return (
            "a process of the loader died ({}); where is above, if it said so: see whether recipe.workers: 0 helps, or "
            "choose another image".format(died_of.group(1) if died_of else "torch does not say of what")
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
