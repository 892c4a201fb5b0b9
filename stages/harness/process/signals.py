"""How a stage is stopped: by Ctrl-C, by SIGTERM, by a terminal that closes, and by the end of the DVC that runs it."""

import contextlib
import ctypes
import os
import signal
import threading
from collections.abc import Iterator
from types import FrameType
from typing import Literal

STOP_SIGNALS = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)
PR_SET_PDEATHSIG = 1  # of linux/prctl.h


@contextlib.contextmanager
def stop_signals() -> Iterator[None]:
    """Let the first SIGINT, SIGTERM or SIGHUP in the block raise SystemExit(128 + number); later ones are ignored.

    So what was started is cleaned up on the way out, and impatience does not interrupt the cleaning. A DVC that is
    killed leaves its stage running: that too counts as SIGTERM.
    """

    def stop(number: int, _frame: FrameType | None) -> None:
        for each in STOP_SIGNALS:
            signal.signal(each, signal.SIG_IGN)
        rest = "\x1b[K" if os.isatty(2) else ""  # of a line that shows progress
        with contextlib.suppress(OSError):  # nobody may read it any more
            os.write(2, f"faceoff: {signal.Signals(number).name}: stopping{rest}\n".encode())
        raise SystemExit(128 + number)

    nohup = signal.getsignal(signal.SIGHUP) == signal.SIG_IGN
    before = {each: signal.signal(each, stop) for each in STOP_SIGNALS if each != signal.SIGHUP or not nohup}
    if "DVC_STAGE" in os.environ:  # DVC names its stage there; it is the parent, by the `exec` in dvc.yaml
        end_with_parent(signal.SIGTERM)
    try:
        yield
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)


@contextlib.contextmanager
def masked_signals(how: Literal[signal.Sigmasks.SIG_BLOCK, signal.Sigmasks.SIG_UNBLOCK]) -> Iterator[None]:
    """Let the stop signals wait (SIG_BLOCK) or come through again (SIG_UNBLOCK) in the block.

    They must wait while something is made and while it is cleaned up: one in between would leave it behind.
    """
    before = signal.pthread_sigmask(how, STOP_SIGNALS)
    try:
        yield
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, before)


def start(thread: threading.Thread) -> None:
    """Start a thread that no stop signal reaches, as it inherits the mask: they are for the main one."""
    with masked_signals(signal.SIG_BLOCK):
        thread.start()


def end_with_parent(number: int) -> None:
    """Have the kernel send this process the signal when its parent ends, however that ends, or at once if it has."""
    ctypes.CDLL(None).prctl(PR_SET_PDEATHSIG, number)
    if os.getsid(os.getppid()) != os.getsid(0):  # an orphan's parent is init, which is of another session
        os.kill(os.getpid(), number)
