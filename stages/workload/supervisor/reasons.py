"""Why a command failed, in one line, left where the host finds it.

Runs inside images: Python 3.7 syntax, standard library only.
"""

import signal
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Iterator, Mapping, Optional, Sequence

from stages import holders
from stages.codec import RecordError
from stages.errors import KILLED_FOR_MEMORY, NOT_FOR_MEMORY, TRY_LATER, FaceoffError
from stages.records import GpuState, Scalar
from stages.units import amount
from stages.workload import gpu_memory
from stages.workload.gpu_memory import Verdict
from stages.workload.probes import limits
from stages.workload.supervisor.command import STOP_SIGNALS, Ended

REASON_BYTES = 4096
FULL_BYTES = 2**20  # less than a batch of any size; what else is in /dev/shm takes pages of 4 KiB


@contextmanager
def recorded(path: Path) -> Iterator[None]:
    """Write what the block raises to this file, if it is there, in a line: the host makes the result of it.

    The file has room for it from the begin: by then the disk may be full.
    """
    if path.exists():
        with suppress(OSError):
            path.write_bytes(b" " * REASON_BYTES)
    killed_before = limits.killed_in_cgroup_for_memory()
    try:
        yield
    except Exception as error:
        if path.exists():
            kind = "" if isinstance(error, FaceoffError) else type(error).__name__ + ": "
            said = kind + str(error).strip().partition("\n")[0]
            reason = _with_memory(said, killed_before, error).encode("utf-8", "replace")[:REASON_BYTES]
            with suppress(OSError), path.open("r+b") as file:  # which must not hide the error: that is printed
                file.write(reason)
            if isinstance(error, FaceoffError) and error.exit_code > 128:
                raise SystemExit(error.exit_code) from None  # what the signal means, the host tells
        raise


def _with_memory(said: str, killed_before: Optional[int], error: Exception) -> str:
    """Add whether the kernel killed a process for want of memory, where that can be known.

    A loader's death is its parent's exception, and not every engine says why it died: Podman does not.
    """
    killed = limits.killed_in_cgroup_for_memory()
    if killed is None or killed_before is None:
        return said
    if killed > killed_before:
        return "{}; {}".format(KILLED_FOR_MEMORY, said)
    is_killed = isinstance(error, FaceoffError) and error.exit_code == 128 + signal.SIGKILL
    return "{}, {}".format(said, NOT_FOR_MEMORY) if is_killed else said


class OutOfGpuMemory(FaceoffError):
    """A card had no more memory for the command."""

    def __init__(self, verdict: Verdict) -> None:
        super().__init__(verdict.line)
        self.verdict = verdict


def check(
    ended: Ended,
    error: Optional[str],
    problem: Optional[str],
    shm_bytes: Optional[int] = None,
    visible: Optional[str] = None,
    parameters: Optional[Mapping[str, Scalar]] = None,
    cards_before: Sequence[GpuState] = (),
) -> None:
    """Raise unless the command ended well: FaceoffError, or SystemExit where this process was asked to stop.

    `error`: what the job says of it; `problem`: what is wrong with its events; `shm_bytes`: least that was seen free of
    /dev/shm; `visible`: of its environment, CUDA_VISIBLE_DEVICES; `parameters`: of the variant; `cards_before`:
    when it began.
    """
    if ended.stopped_by is not None:
        raise SystemExit(128 + ended.stopped_by)
    error = error if ended.words is None else ended.words + _shared_memory(shm_bytes)
    killed = _signal(ended.code)
    if ended.code not in (0, TRY_LATER) and killed in (None, signal.SIGABRT):  # what C++ does not catch aborts
        verdict = gpu_memory.explain(error, ended.last_words, visible, parameters or {}, cards_before)
        if verdict is not None:
            raise OutOfGpuMemory(verdict)
    if (
        killed is not None and killed in STOP_SIGNALS
    ):  # it fails: taken for an interruption, it would be run again and again
        raise FaceoffError(
            error or f"the command was killed by {killed.name}, and not by faceoff: see who did, and run again"
        )
    if killed is not None:
        sentence = f"the command was killed by {killed.name}"
        raise FaceoffError(error or sentence + _shared_memory(shm_bytes), 128 + killed)
    if ended.code == TRY_LATER:
        sentence = "the command ended with exit code 75 (stopped before its end): run `make repro` again"
        raise FaceoffError(error or sentence, TRY_LATER)
    if error is not None:
        raise FaceoffError(error)
    if ended.code != 0:
        sentence = f"the command ended with exit code {ended.code}; its own words are above"
        raise FaceoffError(sentence + _shared_memory(shm_bytes))
    if problem is not None:
        raise RecordError(problem)


def _signal(code: int) -> Optional[signal.Signals]:
    """Return the one that killed the command, or its child where it is a shell, which then ends with 128 + n."""
    number = -code if code < 0 else code - 128
    if code > 128 and number in STOP_SIGNALS:  # a code of the program's own as well: nothing of ours was stopped
        return None
    try:
        return signal.Signals(number)
    except ValueError:
        return None


def _shared_memory(shm_bytes: Optional[int]) -> str:
    if shm_bytes is None or shm_bytes >= FULL_BYTES:
        return ""
    who = holders.of_shm()  # all that the command left has ended
    return f"; /dev/shm was full: {amount(shm_bytes)} of it were free at the least" + (f"; {who}" if who else "")
