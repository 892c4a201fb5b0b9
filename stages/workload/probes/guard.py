"""A probe may hang (a driver, a mount that is gone) or crash (a C library): it runs in a child with a time limit.

Runs inside images: Python 3.7 syntax, standard library only.
"""

import ctypes
import os
import pickle
import select
import signal
import time
from typing import Callable, Optional, Tuple, TypeVar

Value = TypeVar("Value")
CHUNK_BYTES = 2**16
REAP_SECONDS = 1.0
PR_SET_PDEATHSIG = 1


def guarded(what: str, probe: Callable[[], Value], seconds: float) -> Tuple[Optional[Value], Optional[str]]:
    """Return what the probe says, or None and the reason: it failed, crashed or took longer than `seconds`.

    Forks, so it must be called before this process makes a CUDA context, which does not outlive a fork.
    """
    try:
        reader, writer = os.pipe()
    except OSError as error:  # no more open files
        return None, f"{what} could not be asked: {error}"
    parent = os.getpid()
    try:
        child = os.fork()
    except OSError as error:  # no more processes, or no memory for one
        os.close(reader)
        os.close(writer)
        return None, f"{what} could not be asked: {error}"
    if child == 0:
        os.close(reader)
        _answer(writer, probe, parent)
    os.close(writer)
    try:
        answer = _read_until(reader, time.monotonic() + seconds)
    finally:
        os.close(reader)
        status = _end(child)
    if answer is None:
        return None, f"{what} did not answer within {seconds:g} s"
    if not answer:
        return None, f"{what} ended without an answer ({_describe(status)})"
    try:
        value, failure = pickle.loads(answer)  # noqa: S301 - our own child wrote it
    except Exception:  # what pickle raises for half an answer is of many kinds
        return None, f"{what} ended amid its answer ({_describe(status)})"
    return value, None if failure is None else f"{what} failed: {failure}"


def die_with(parent: int) -> None:
    """Have the kernel kill this forked child when its parent ends, in whatever way (prctl(2), PR_SET_PDEATHSIG)."""
    ctypes.CDLL(None).prctl(PR_SET_PDEATHSIG, signal.SIGKILL)
    if os.getppid() != parent:  # it ended before that was asked for
        os._exit(1)


def _answer(writer: int, probe: Callable[[], Value], parent: int) -> None:
    """Run the probe in the forked child, write its answer and exit, without what the parent registered for its end."""
    try:
        die_with(parent)
        try:
            answer = pickle.dumps((probe(), None))
        except Exception as error:  # whatever a probe raises is its answer
            answer = pickle.dumps((None, f"{type(error).__name__}: {error}"))
        while answer:
            answer = answer[os.write(writer, answer) :]
    finally:
        os._exit(0)


def _read_until(reader: int, deadline: float) -> Optional[bytes]:
    """Return all that comes before the other end closes; None where that does not happen in time."""
    chunks = []
    while True:
        ready, _, _ = select.select([reader], [], [], max(0.0, deadline - time.monotonic()))
        if not ready:
            return None
        chunk = os.read(reader, CHUNK_BYTES)
        if not chunk:
            return b"".join(chunks)
        chunks.append(chunk)


def _end(child: int) -> int:
    """End the child; return its wait status. One that hangs in the kernel survives SIGKILL and is left behind."""
    os.kill(child, signal.SIGKILL)  # it has answered, or is out of time; a zombie takes the signal without harm
    deadline = time.monotonic() + REAP_SECONDS
    while True:
        ended, status = os.waitpid(child, os.WNOHANG)
        if ended or time.monotonic() > deadline:
            return status
        time.sleep(0.001)


def _describe(status: int) -> str:
    if os.WIFSIGNALED(status):
        return signal.Signals(os.WTERMSIG(status)).name
    return f"exit code {os.WEXITSTATUS(status)}"
