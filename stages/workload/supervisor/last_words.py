"""What a command says on stderr last, kept while it goes on to where it went: the end of it tells why it died.

A terminal stays one for the command: bars and colours are the same as without us.

Runs inside images: Python 3.7 syntax, standard library only.
"""

import os
import pty
import select
import threading
import tty
from contextlib import suppress
from fcntl import ioctl
from termios import TIOCGWINSZ, TIOCSWINSZ
from typing import Optional, Tuple

STDERR = 2
KEPT_BYTES = 2**16  # a launcher of several processes says much after the one that failed has
CHUNK_BYTES = 2**16
END_SECONDS = 2.0  # that what is left of it may take, all processes of the command having ended


class LastWords:
    """A stream for a command's stderr; `text` is its end, once it is closed."""

    def __init__(self) -> None:
        self._kept = bytearray()
        self._thread: Optional[threading.Thread] = None
        self._reader, self.stream = _terminal() if os.isatty(STDERR) else os.pipe()

    def begin(self) -> None:
        """Hand on what comes, the command having been started."""
        self._close_stream()
        self._thread = threading.Thread(target=self._hand_on, daemon=True)
        self._thread.start()

    def close(self) -> None:
        """Hand on what is left; a process that outlives its command keeps nobody waiting for long."""
        self._close_stream()
        if self._thread is None:
            os.close(self._reader)
        else:
            self._thread.join(END_SECONDS)

    @property
    def text(self) -> str:
        """The end of what was said."""
        return bytes(self._kept).decode("utf-8", "replace")

    def _close_stream(self) -> None:
        if self.stream >= 0:
            os.close(self.stream)
            self.stream = -1

    def _hand_on(self) -> None:
        goes_on = True
        while True:
            try:
                chunk = os.read(self._reader, CHUNK_BYTES)
            except OSError:  # EIO: nobody has the terminal open any more
                chunk = b""
            if not chunk:
                break
            self._kept += chunk
            del self._kept[:-KEPT_BYTES]
            goes_on = goes_on and _write(chunk)
        os.close(self._reader)


def _terminal() -> Tuple[int, int]:
    """Return both ends of a terminal of the size of our own; of a pipe where there is none to be had."""
    try:
        reader, stream = pty.openpty()
    except OSError:  # no /dev/pts in here
        return os.pipe()
    tty.setraw(stream)  # the real one makes of a line's end what it makes of it
    with suppress(OSError):
        ioctl(stream, TIOCSWINSZ, ioctl(STDERR, TIOCGWINSZ, bytes(8)))
    return reader, stream


def _write(chunk: bytes) -> bool:
    """Write all of it; whether somebody is there to read it: a command would be told, or killed."""
    while chunk:
        try:
            chunk = chunk[os.write(STDERR, chunk) :]
        except BlockingIOError:
            select.select([], [STDERR], [])
        except OSError:
            return False
    return True
