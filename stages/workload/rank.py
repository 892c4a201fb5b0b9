"""Runs one of the processes that torch's launcher starts as a child of its own, and notes how that ended.

So the supervisor knows which one died first, of what, and what it said last, whichever launcher the torch has. Each
rank but the first appends its events to a file of its own, so that what all of them say counts once.

Run by path, inside images: Python 3.7 syntax, standard library, nothing of faceoff's.
"""

import ctypes
import json
import os
import re
import resource
import signal
import subprocess
import sys
import threading
import time
from pathlib import Path

FOLDER, EVENTS = "FACEOFF_RANKS", "FACEOFF_EVENTS"
TAIL_BYTES = 2**16  # of stderr, in which its last words are looked for
WORDS_LETTERS = 1000
PUMP_SECONDS = 0.5  # for the rest of stderr, which what a rank leaves running may hold open
GRACE_SECONDS = 0.5  # for a rank that is about to end by itself, before it is told to
PR_SET_PDEATHSIG = 1
PREFIX = re.compile(r"^\[(rank|default)\d+\]:\s?")  # as torch puts before its lines


def main(arguments):
    """Run Python with these arguments; end as it does."""
    rank, folder = int(os.environ["RANK"]), Path(os.environ.pop(FOLDER))
    if rank and EVENTS in os.environ:
        os.environ[EVENTS] = str(folder / f"events.{rank}.jsonl")
    _die_with_parent()
    child = _Child(arguments, folder)
    code = child.wait()
    note = {"rank": rank, "code": code, "asked": child.asked, "ended": time.monotonic(), "words": child.last_words()}
    path = folder / str(rank)
    try:
        path.with_suffix(".new").write_text(json.dumps(note), encoding="utf-8")
        path.with_suffix(".new").rename(path)
    except OSError as error:
        sys.stderr.write(f"faceoff: rank {rank}: how it ended can't be noted: {error}\n")
    if code < 0:
        resource.setrlimit(resource.RLIMIT_CORE, (0, 0))  # the child has left one
        signal.signal(-code, signal.SIG_DFL) if -code not in (signal.SIGKILL, signal.SIGSTOP) else None
        os.kill(os.getpid(), -code)
    return code


class _Child:
    """The rank itself. Its stderr is handed on as it comes."""

    def __init__(self, arguments, folder):
        self.asked = False  # it was told to end
        self._folder = folder
        self._tail = b""
        self._process = subprocess.Popen(
            [sys.executable, *arguments], stderr=subprocess.PIPE, preexec_fn=_begin, bufsize=0
        )
        for number in (signal.SIGTERM, signal.SIGINT, signal.SIGUSR1):
            signal.signal(number, self._pass_on)
        self._pump = threading.Thread(target=self._hand_on)
        self._pump.daemon = True
        self._pump.start()

    def wait(self):
        code = self._process.wait()
        self._pump.join(PUMP_SECONDS)
        return code

    def last_words(self):
        """Return the exception of the last traceback, or the last line; empty without either."""
        text = self._tail.decode("utf-8", "replace").replace("\r", "\n")
        lines = [PREFIX.sub("", line).rstrip() for line in text.split("\n")]
        lines = [line for line in lines if line]
        traced = [at for at, line in enumerate(lines) if line.startswith("Traceback (most recent call last)")]
        if traced:
            after = [line for line in lines[traced[-1] + 1 :] if not line[0].isspace()]
            lines = after[:1] or lines
        return lines[-1].strip()[:WORDS_LETTERS] if lines else ""

    def _hand_on(self):
        for chunk in iter(lambda: os.read(self._process.stderr.fileno(), 65536), b""):
            self._tail = (self._tail + chunk)[-TAIL_BYTES:]
            try:
                while chunk:
                    chunk = chunk[os.write(2, chunk) :]
            except OSError:  # nobody reads it any more; the rank is not to wait for one
                pass

    def _pass_on(self, number, _):
        if number == signal.SIGUSR1:  # where does it stand?
            self._send(signal.SIGUSR1 if _catches(self._process.pid, number) else signal.SIGABRT)
            return
        if not self.asked and any(path.name.isdigit() for path in self._folder.iterdir()):
            # Another has died. This one may be dying as well, and which of the two is the cause its own end tells.
            deadline = time.monotonic() + GRACE_SECONDS
            while not self._has_ended() and time.monotonic() < deadline:
                time.sleep(0.02)
            if self._has_ended():
                return
        self.asked = True
        self._send(number)

    def _send(self, number):
        if not self._has_ended():
            os.kill(self._process.pid, number)

    def _has_ended(self):
        """Return whether it has, leaving to `wait` to take it: that is what a signal's handler interrupts."""
        try:
            return os.waitid(os.P_PID, self._process.pid, os.WEXITED | os.WNOHANG | os.WNOWAIT) is not None
        except ChildProcessError:
            return True


def _begin():
    os.setpgid(0, 0)  # a launcher that ends whole groups tells this process, which passes it on
    _die_with_parent()


def _die_with_parent():
    """Have the kernel kill this process when its parent ends, in whatever way."""
    ctypes.CDLL(None).prctl(PR_SET_PDEATHSIG, int(signal.SIGKILL))


def _catches(pid, number):
    """Return whether the process has a handler of its own for the signal."""
    try:
        status = Path(f"/proc/{pid}/status").read_text(encoding="utf-8", errors="replace")
    except OSError:
        return False
    caught = [line.split()[1] for line in status.splitlines() if line.startswith("SigCgt:")]
    return bool(caught) and bool(int(caught[0], 16) >> (number - 1) & 1)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
