"""Errors that a user can act on, and how an entry point turns them into one line and an exit code.

Runs inside images: Python 3.7 syntax, standard library only.
"""

import errno
import io
import os
import select
import signal
import sys
from typing import Any, Callable

FULL = (errno.ENOSPC, errno.EDQUOT)
# What the host knows a reason by, of a supervisor that can count whom the kernel killed in its own cgroup.
KILLED_FOR_MEMORY = "the kernel killed a process of it for want of memory"
NOT_FOR_MEMORY = "and not for want of memory"
READER_SECONDS = 1.0  # in which one who still reads takes something of what a full pipe holds
TRY_LATER = 75  # exit code of what goes on in another run; sysexits.h calls it EX_TEMPFAIL


class FaceoffError(Exception):
    """What happened, why, and what to do, in one line.

    Raised wherever the user, not the programmer, has to act. `exit_code` is what the process ends with.
    """

    def __init__(self, message: str, exit_code: int = 1) -> None:
        super().__init__(message)
        self.exit_code = exit_code


def no_room(error: OSError) -> str:
    """Say what the disk refused, and what to do, of an error of the kind FULL."""
    return "{}: make room on that disk, then run again".format(error.strerror)


class _Output(io.FileIO):
    """A standard stream that goes nowhere once whoever read it has gone, as `head` does and a terminal that closes."""

    def write(self, data: Any) -> int:
        try:
            return super().write(data) or 0
        except OSError as error:
            if error.errno not in (errno.EPIPE, errno.EIO):
                raise
            return len(data)


def run_entry(main: Callable[[], int], to_the_end: bool = False) -> None:
    """Run an entry point and end the process with its exit code.

    A FaceoffError becomes one line on stderr, and so does a full disk, which any line of code may meet.

    SIGTERM ends it as Ctrl-C does: what is half done is taken back on the way out. What is printed is written line by
    line, into a pipe too: in order with what other processes print, and not lost with a killed one. A letter that the
    encoding lacks is replaced. Where nobody reads any more it ends quietly, or goes on `to_the_end`.
    """
    if isinstance(sys.stdout, io.TextIOWrapper):
        sys.stdout.reconfigure(errors="replace", line_buffering=True)
    if to_the_end:
        sys.stdout, sys.stderr = _unread(sys.stdout), _unread(sys.stderr)
    signal.signal(signal.SIGTERM, _terminate)
    try:
        code = main()
    except FaceoffError as error:
        print("faceoff: {}".format(error), file=sys.stderr)
        code = error.exit_code
    except BrokenPipeError:
        os.dup2(os.open(os.devnull, os.O_WRONLY), 1)  # where what is not yet written goes at the exit
        code = 128 + signal.SIGPIPE
    except OSError as error:
        if error.errno not in FULL:
            raise
        print("faceoff: {}{}".format(error.filename + ": " if error.filename else "", no_room(error)), file=sys.stderr)
        code = 1
    except KeyboardInterrupt:
        print("faceoff: interrupted", file=sys.stderr)
        _drop_what_nobody_takes()
        code = 130
    except SystemExit:
        _drop_what_nobody_takes()
        raise
    sys.exit(code)


def _drop_what_nobody_takes() -> None:
    """Have what is not yet written go nowhere, if whoever reads it has stopped: the end would wait for them."""
    if sys.stdout is not None and not select.select([], [1], [], READER_SECONDS)[1]:
        os.dup2(os.open(os.devnull, os.O_WRONLY), 1)


def _unread(stream: Any) -> Any:
    """Return the stream as one that nobody need read; None where the shell has closed it."""
    if stream is None:
        return None
    output = io.BufferedWriter(_Output(stream.fileno(), "w", closefd=False))
    return io.TextIOWrapper(output, stream.encoding, stream.errors, line_buffering=True)


def _terminate(number: int, frame: Any) -> None:
    raise SystemExit(128 + number)
