"""Runs a command as a child of this process until it has ended, and ends whatever it leaves running.

Signals to this process are waited for, not handled: none comes at a bad moment, and the end of the command is seen at
once. SIGTERM, SIGINT and SIGHUP end the command; SIGUSR1 has it say where it stands.

Runs inside images: Python 3.7 syntax, standard library only.
"""

import ctypes
import os
import signal
import subprocess
import sys
import time
from contextlib import closing
from pathlib import Path
from typing import Callable, Dict, NamedTuple, Optional, Sequence

from stages.errors import FaceoffError
from stages.workload import processes
from stages.workload.probes.guard import die_with
from stages.workload.supervisor.last_words import LastWords
from stages.workload.supervisor.memory import Together

LOOK_SECONDS = 0.5
STOP_SECONDS = 4.0  # from asking to killing: less than Docker, which asks this process, has patience
REAP_SECONDS = 2.0  # that killed processes may take to go; one that hangs in the kernel is left behind
STOP_SIGNALS = (signal.SIGTERM, signal.SIGINT, signal.SIGHUP)
WAITED_FOR = (signal.SIGCHLD, signal.SIGUSR1, *STOP_SIGNALS)
PR_SET_CHILD_SUBREAPER = 36  # of linux/prctl.h


class Ended(NamedTuple):
    """How a command ended."""

    code: int  # its exit code, or the negative number of the signal that killed it
    seconds: float
    peak_bytes: int  # resident, of the largest process; at least what this process holds, whose child it began as
    stopped_by: Optional[int]  # the signal to this process that ended it
    overdue: bool  # it was killed, its time being up
    words: Optional[str] = None  # of several processes, which one died first, and of what
    last_words: str = ""  # the end of what it said on stderr
    began_at: float = 0.0  # seconds since 1970
    together_bytes: Optional[int] = None  # of all its processes: see memory.Together


def run(
    command: Sequence[str],
    folder: Path,
    environment: Dict[str, str],
    look: Callable[[], Optional[bool]],
    every_seconds: float = LOOK_SECONDS,
    limit_seconds: Optional[float] = None,
) -> Ended:
    """Run the command in the folder; `look` is called again and again until it has ended, and kills it by a True.

    All processes that it started are ended when this returns. Raises FaceoffError where it can't be started.
    """
    _adopt(True)  # what it starts and forgets becomes our child
    signal.signal(signal.SIGCHLD, signal.SIG_DFL)  # with SIG_IGN, which is inherited, nobody could wait for it
    before = signal.pthread_sigmask(signal.SIG_BLOCK, WAITED_FOR)  # the thread that listens has it, too
    try:
        with closing(LastWords()) as words:
            running = _Running(command, folder, environment, words.stream)
            try:
                words.begin()
                running.wait(look, every_seconds, limit_seconds)
            finally:
                running.end_all()
        return running.ended()._replace(last_words=words.text)
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, before)
        _adopt(False)


def _adopt(wanted: bool) -> None:
    """Make this process the parent of descendants whose own has ended, or no longer."""
    ctypes.CDLL(None).prctl(PR_SET_CHILD_SUBREAPER, int(wanted), 0, 0, 0)


class _Running:
    """A command that was started."""

    def __init__(self, command: Sequence[str], folder: Path, environment: Dict[str, str], stderr: int) -> None:
        self._others = set(processes.children(os.getpid()))
        self._memory = Together(self._others)
        self._code = None  # type: Optional[int]
        self._seconds = 0.0
        self._peak_bytes = 0
        self._stopped_by = None  # type: Optional[int]
        self._overdue = False
        self._kill_at = None  # type: Optional[float]
        parent = os.getpid()
        program = sys.executable if command[0] == "python" else command[0]
        self._began, self._began_at = time.perf_counter(), time.time()
        try:
            self._process = subprocess.Popen(
                [program, *command[1:]],
                cwd=str(folder),
                env=environment,
                stdin=subprocess.DEVNULL,
                stderr=stderr,
                preexec_fn=lambda: _begin(parent),
            )
        except OSError as error:
            place = "" if folder.is_dir() else f": the folder {folder} is not there"
            raise FaceoffError(f"cannot run {command[0]}: {error.strerror}{place}") from None
        except ValueError as error:  # a null character
            raise FaceoffError(f"cannot run {command[0]!r:.80}: {error}") from None

    def wait(self, look: Callable[[], Optional[bool]], every_seconds: float, limit_seconds: Optional[float]) -> None:
        """Wait until the command itself has ended, or has been killed because its time was up."""
        due = None if limit_seconds is None else self._began + limit_seconds
        while self._code is None:
            now = time.perf_counter()
            moments = [now + every_seconds, *(each for each in (due, self._kill_at) if each is not None)]
            received = signal.sigtimedwait(WAITED_FOR, max(0.0, min(moments) - now))
            self._reap()
            if self._code is not None:
                return
            if received is not None:
                self._pass_on(signal.Signals(received.si_signo))
            now = time.perf_counter()
            if due is not None and now >= due:
                due, self._overdue = None, True
                self._kill()
            if self._kill_at is not None and now >= self._kill_at:
                self._kill_at = None
                self._kill()
            self._memory.look()
            if look():
                self._kill()

    def end_all(self) -> None:
        """Kill what is left of the command, its descendants of any generation among it."""
        deadline = time.perf_counter() + REAP_SECONDS
        while time.perf_counter() < deadline:
            self._reap()
            left = set(processes.children(os.getpid())) - self._others
            if not left:
                break
            for pid in left:
                try:
                    os.kill(pid, signal.SIGKILL)
                except ProcessLookupError:
                    continue
            time.sleep(0.01)

    def ended(self) -> Ended:
        code = -signal.SIGKILL if self._code is None else self._code
        found = Ended(code, self._seconds, self._peak_bytes, self._stopped_by, self._overdue)
        return found._replace(began_at=self._began_at, together_bytes=self._memory.peak_bytes)

    def _kill(self) -> None:
        """Kill the command, which may have ended by now: Popen.kill would wait for it, and `_reap` wait for ever."""
        os.kill(self._process.pid, signal.SIGKILL)

    def _pass_on(self, number: signal.Signals) -> None:
        if number == signal.SIGUSR1:
            # A Python that has no handler for it says where it stands at SIGABRT: PYTHONFAULTHANDLER is set. A launcher
            # has none; what it has started may have.
            pid = self._process.pid
            handlers = [each for each in (pid, *processes.children(pid)) if processes.catches(each, signal.SIGUSR1)]
            for each in (handlers[:1] if pid in handlers else handlers) or [pid]:
                os.kill(each, signal.SIGUSR1 if handlers else signal.SIGABRT)
        elif number in STOP_SIGNALS and self._stopped_by is None:
            self._stopped_by = int(number)
            self._kill_at = time.perf_counter() + STOP_SECONDS
            os.kill(self._process.pid, signal.SIGTERM)

    def _reap(self) -> None:
        """Wait for all that has ended, adopted processes among it."""
        while True:
            try:
                pid, status, usage = os.wait4(-1, os.WNOHANG)
            except ChildProcessError:
                return
            if pid == 0:
                return
            if pid in self._others:  # who watches the cards
                continue
            self._peak_bytes = max(self._peak_bytes, usage.ru_maxrss * 1024)
            if pid == self._process.pid:
                self._seconds = time.perf_counter() - self._began
                self._code = self._process.returncode = _exit_code(status)


def _begin(parent: int) -> None:
    """Prepare the forked child, before the command takes its place: its signals, and its end with its parent."""
    signal.pthread_sigmask(signal.SIG_UNBLOCK, WAITED_FOR)
    die_with(parent)


def _exit_code(status: int) -> int:
    return -os.WTERMSIG(status) if os.WIFSIGNALED(status) else os.WEXITSTATUS(status)
