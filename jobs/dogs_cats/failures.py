"""What torch raises when a cell fails for want of something, as a line: what, the numbers, what to change.

What kills the process outright the host tells.

Runs inside images: Python 3.7 syntax.
"""

import os
import re
from contextlib import contextmanager
from pathlib import Path
from typing import Iterator, NamedTuple, Optional

import torch

from jobs.dogs_cats import decoding, lost_batches, needs
from jobs.dogs_cats.photos import AGAIN, Input
from stages.errors import FaceoffError
from stages.units import amount

# In lower case, of torch 1.2 and of today's. 1.2 finds out that /dev/shm is full when it writes, and may die of a bus
# error then; today's asks first.
OUT_OF_SHARED_MEMORY = ("unable to allocate shared memory", "unable to write to file </torch")
OUT_OF_GPU_MEMORY = re.compile(
    "cuda (error: )?out of memory|cu(blas|dnn)_status_alloc_failed|cuda error: .*busy or unavailable", re.IGNORECASE
)
WORDS_LETTERS = 1500  # of torch's on a full card; advice follows that is none where another process holds it
OUT_OF_MEMORY = ("can't allocate memory", "not enough memory", "cannot allocate memory")
LOADER_DIED, KILLED_BY = "dataloader worker", r"is killed by signal: ([\w ]+)"
LOST_TOUCH = (ConnectionError, EOFError)  # with a process of the loader, before torch has seen that it died
LESS = "lower batch_size of the variant, dogs_cats.recipe.size or dogs_cats.recipe.workers in params.yaml"
ENLARGE = "raise container.shm_size (outside of a container: mount -o remount,size=... /dev/shm)"
LESS_MEMORY = "raise container.memory where it is set, end what else runs here, or " + LESS
FIRST_BYTES = 10 * 2**20  # of a card: what fastai 2 puts there first, one photo, fits into what torch takes for it
VMSTAT = Path("/proc/vmstat")


@contextmanager
def explained(taken: Input, fastai: str) -> Iterator[None]:
    """Turn what is raised in the block for a photo, or for want of memory, into a FaceoffError that says what to do."""
    before = Before(_free_shm_bytes(), killed_for_memory())
    try:
        open_card()
        with lost_batches.reported():
            yield
    except decoding.Unreadable as error:
        again = AGAIN + ", and save it as JPEG or PNG if that does not help"
        raise FaceoffError("{}: {}".format(decoding.line_of(error), again)) from error
    except (RuntimeError, MemoryError, *LOST_TOUCH) as error:
        line = _explanation(error, taken, fastai, before)
        if line is None:
            raise
        raise FaceoffError(line) from error


def open_card() -> None:
    """Have torch find out here that the card is full: fastai 2, which would be next, says that the loader is wrong."""
    if torch.cuda.is_available():
        torch.empty(FIRST_BYTES, dtype=torch.uint8, device="cuda")


class Before(NamedTuple):
    """What was so before the loader began."""

    free_shm_bytes: int
    killed_for_memory: int  # processes of this machine, by the kernel


def _free_shm_bytes() -> int:
    shm = os.statvfs("/dev/shm")  # noqa: S108 - looked at, not written to
    return shm.f_bavail * shm.f_frsize


def _explanation(error: Exception, taken: Input, fastai: str, before: Before) -> Optional[str]:
    said = "\n".join(_chain(error))
    full = OUT_OF_GPU_MEMORY.search(said)
    if full is not None:  # whose memory it is, the supervisor tells by torch's own words
        words = " ".join(said[full.start() :].split())[:WORDS_LETTERS]
        return "out of GPU memory at batch size {}: {}".format(taken.batch_size, words)
    died = LOADER_DIED in said.lower() or isinstance(error, LOST_TOUCH)
    died_of = re.search(KILLED_BY, said)
    signal = died_of.group(1) if died_of else None
    need = needs.shared_memory_bytes(fastai, torch.cuda.is_available(), taken.batch_size, taken.recipe)
    may_be_full = died and signal in (None, "Bus error") and before.free_shm_bytes < need
    if _has(said, OUT_OF_SHARED_MEMORY) or may_be_full:
        return (
            "the loader's processes ran out of shared memory: /dev/shm has {}, and batches of {} at {} px from {} "
            "workers need {}: {}, or {}".format(
                amount(before.free_shm_bytes),
                taken.batch_size,
                taken.recipe.size,
                taken.recipe.workers,
                amount(need),
                ENLARGE,
                LESS,
            )
        )
    if isinstance(error, MemoryError) or _has(said, OUT_OF_MEMORY):
        return "out of memory ({}): {}".format(_first_line(said) or "Python got none", LESS_MEMORY)
    return _of_the_loader(signal, before) if died else None


def _of_the_loader(signal: Optional[str], before: Before) -> str:
    """Say of what a process of the loader died."""
    if signal == "Killed":
        if killed_for_memory() > before.killed_for_memory:
            return "the kernel killed a process of the loader for want of memory: {}".format(LESS_MEMORY)
        return "a process of the loader was killed (SIGKILL), and not for want of memory: see who did, and run again"
    return (
        "a process of the loader died ({}); where is above, if it said so: see whether dogs_cats.recipe.workers: 0 "
        "helps, or choose another image".format(signal or "torch does not say of what")
    )


def killed_for_memory() -> int:
    """Return how many processes of this machine the kernel has killed for want of memory, in containers too."""
    try:
        found = re.search(r"^oom_kill (\d+)$", VMSTAT.read_text(), re.MULTILINE)
    except OSError:
        return 0
    return int(found.group(1)) if found else 0  # not before Linux 4.13


def _chain(error: Optional[BaseException]) -> Iterator[str]:
    """Yield what the error says and what those say that led to it: torch tells a worker's death twice, once of what."""
    while error is not None:
        yield str(error)
        error = error.__cause__ or error.__context__


def _first_line(said: str) -> str:
    return said.strip().partition("\n")[0]


def _has(said: str, signs: tuple) -> bool:
    return any(sign in said.lower() for sign in signs)
