"""Errors that a user can act on, and how an entry point turns them into one line and an exit code.

Runs inside images: Python 3.7 syntax, standard library only.
"""

import errno
import io
import signal
import sys
from typing import Any, Callable

FULL = (errno.ENOSPC, errno.EDQUOT)
KILLED_FOR_MEMORY = "the kernel killed a process of it for want of memory"  # what the host knows a reason by
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


def run_entry(main: Callable[[], int]) -> None:
    """Run an entry point and end the process with its exit code.

    A FaceoffError becomes one line on stderr, and so does a full disk, which any line of code may meet.

    SIGTERM ends it as Ctrl-C does: what is half done is taken back on the way out. What is printed is written line by
    line, into a pipe too: in order with what other processes print, and not lost with a killed one.
    """
    if isinstance(sys.stdout, io.TextIOWrapper):
        sys.stdout.reconfigure(line_buffering=True)
    signal.signal(signal.SIGTERM, _terminate)
    try:
        code = main()
    except FaceoffError as error:
        print("faceoff: {}".format(error), file=sys.stderr)
        code = error.exit_code
    except OSError as error:
        if error.errno not in FULL:
            raise
        print("faceoff: {}{}".format(error.filename + ": " if error.filename else "", no_room(error)), file=sys.stderr)
        code = 1
    except KeyboardInterrupt:
        print("faceoff: interrupted", file=sys.stderr)
        code = 130
    sys.exit(code)


def _terminate(number: int, frame: Any) -> None:
    raise SystemExit(128 + number)
