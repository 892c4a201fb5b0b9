"""Processes of this machine, without a container: how they are started, waited for and ended."""

import contextlib
import os
import signal
import subprocess
from collections.abc import Iterator, Mapping
from pathlib import Path

from stages.errors import FaceoffError
from stages.harness.environments.launch import STOP_SECONDS, TRACEBACK_SECONDS, TRACEBACK_SIGNAL
from stages.harness.process.signals import STOP_SIGNALS, end_with_parent, masked_signals
from stages.harness.process.watchdog import Watch, watched


@contextlib.contextmanager
def started(
    command: tuple[str, ...],
    environment: Mapping[str, str],
    directory: Path | None = None,
    stderr: int | None = None,
    cpus: frozenset[int] | None = None,
) -> Iterator[subprocess.Popen[bytes]]:
    """Start the command, on these CPUs alone, and end what is left of it on the way out.

    Within, signals to stop wait.
    """

    def begin() -> None:
        signal.pthread_sigmask(signal.SIG_UNBLOCK, STOP_SIGNALS)  # a child inherits the mask
        end_with_parent(signal.SIGKILL)
        if cpus is not None:
            os.sched_setaffinity(0, cpus)
            if os.sched_getaffinity(0) != cpus:  # the kernel leaves out those that are not there, without a word
                raise OSError

    with masked_signals(signal.SIG_BLOCK):
        try:
            process = subprocess.Popen(
                command,
                cwd=directory,
                env=environment,
                stdin=subprocess.DEVNULL,  # a container has none either
                stderr=stderr,
                process_group=0,  # Ctrl-C reaches the job through us, once, and its loaders end with it
                preexec_fn=begin,
            )
        except subprocess.SubprocessError as error:  # in `begin`; its own words are lost
            why = "this machine has not all of the CPUs of container.cpuset" if cpus else str(error).rstrip(".")
            raise FaceoffError(f"cannot run {command[0]}: {why}") from None
        except OSError as error:
            raise FaceoffError(f"cannot run {command[0]}: {error.strerror}", exit_code=127) from None
        try:
            yield process
        finally:
            _end_group(process)


def wait(process: subprocess.Popen[bytes], watch: Watch | None) -> tuple[int, str | None]:
    """Return the exit code, as a shell tells it, and which limit of the watch was broken."""
    with watched(watch, lambda: _kill(process)) as overdue, masked_signals(signal.SIG_UNBLOCK):
        code = process.wait()
    return code if code >= 0 else 128 - code, overdue()


def _kill(process: subprocess.Popen[bytes]) -> None:
    """Have the process say where it stands, then kill it."""
    process.send_signal(TRACEBACK_SIGNAL)
    with contextlib.suppress(subprocess.TimeoutExpired):
        process.wait(TRACEBACK_SECONDS)
    process.kill()


def _end_group(process: subprocess.Popen[bytes]) -> None:
    """End what is left of the process's group: ask, wait, kill."""
    with contextlib.suppress(ProcessLookupError):
        if process.poll() is None:
            process.terminate()  # it alone: it ends its loaders itself, and would take their end for a failure
            with contextlib.suppress(subprocess.TimeoutExpired):
                process.wait(STOP_SECONDS)
        os.killpg(process.pid, signal.SIGKILL)
    process.wait()
