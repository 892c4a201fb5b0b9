"""Runs a job without a container: same output, exit codes and signals, but none of the container's limits."""

import contextlib
import os
import signal
import subprocess
import sys
from collections.abc import Iterator, Mapping
from pathlib import Path

from stages.checks import killed_for_memory
from stages.errors import FaceoffError
from stages.harness.environments.launch import (
    KILLED,
    PYTHON_ENVIRONMENT,
    STOP_SECONDS,
    TOKENS,
    TRACEBACK_SECONDS,
    TRACEBACK_SIGNAL,
    Outcome,
)
from stages.harness.process.signals import STOP_SIGNALS, end_with_parent, masked_signals
from stages.harness.process.watchdog import Watch, watched


def run_on_host(command: tuple[str, ...], gpus: bool, watch: Watch | None = None) -> Outcome:
    """Run the command without a container: same output, exit codes and signals, but none of the container's limits.

    What it leaves running is ended, as it would be with its container.
    """
    killed_before = killed_for_memory()
    with started(command, environment(gpus)) as process:
        code, overdue = _wait(process, watch)
    exit_code = code if code >= 0 else 128 - code
    out_of_memory = exit_code == KILLED and killed_for_memory() > killed_before
    return Outcome(exit_code, out_of_memory, overdue, on_host=True)


def environment(gpus: bool) -> dict[str, str]:
    """Return this process's own, with .venv first on PATH and without what is for the download alone."""
    inherited = {key: value for key, value in os.environ.items() if key not in TOKENS}
    environment = {**inherited, **PYTHON_ENVIRONMENT}
    environment["PATH"] = os.pathsep.join((str(Path(sys.executable).parent), environment.get("PATH", os.defpath)))
    if not gpus:
        environment["CUDA_VISIBLE_DEVICES"] = ""  # a container that asks for none sees none
    return environment


@contextlib.contextmanager
def started(
    command: tuple[str, ...], environment: Mapping[str, str], directory: Path | None = None, stderr: int | None = None
) -> Iterator[subprocess.Popen[bytes]]:
    """Start the command, and end what is left of it on the way out. Within, signals to stop wait."""
    program = sys.executable if command[0] == "python" else command[0]
    with masked_signals(signal.SIG_BLOCK):
        try:
            process = subprocess.Popen(
                (program, *command[1:]),
                cwd=directory,
                env=environment,
                stdin=subprocess.DEVNULL,  # a container has none either
                stderr=stderr,
                process_group=0,  # Ctrl-C reaches the job through us, once, and its loaders end with it
                preexec_fn=_begin_on_host,
            )
        except OSError as error:
            raise FaceoffError(f"cannot run {command[0]}: {error.strerror}", exit_code=127) from None
        try:
            yield process
        finally:
            _end_group(process)


def _wait(process: subprocess.Popen[bytes], watch: Watch | None) -> tuple[int, str | None]:
    with watched(watch, lambda: _kill(process)) as overdue, masked_signals(signal.SIG_UNBLOCK):
        code = process.wait()
    return code, overdue()


def _begin_on_host() -> None:
    signal.pthread_sigmask(signal.SIG_UNBLOCK, STOP_SIGNALS)  # a child inherits the mask
    end_with_parent(signal.SIGKILL)


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
