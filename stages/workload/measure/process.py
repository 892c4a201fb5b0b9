"""The process that measures, as its parent sees it; its own side is __main__.py.

The parent asks for one part at a time, in a line of JSON, and reads details and samples as they come, a line each. The
process is started, not forked: torch's threads and a CUDA context do not outlive a fork.

Runs inside images: Python 3.7 syntax, standard library only.
"""

import contextlib
import json
import os
import select
import signal
import subprocess
import sys
import time
from typing import Any, List, NamedTuple, Optional

ENDING_SECONDS = 1.0  # that a killed process may take to go


class Outcome(NamedTuple):
    """What a part told, as far as it came."""

    details: List[str]
    samples: List[Any]  # numbers, or what the function tells otherwise
    failure: Optional[str]


class MeasuringProcess:
    """Starts when it is first asked, and anew after a part that hung or crashed."""

    def __init__(self) -> None:
        self._process = None  # type: Optional[subprocess.Popen]
        self._answers = -1  # while there is a process, the pipe that it answers by
        self._unread = b""

    def __enter__(self) -> "MeasuringProcess":
        return self

    def __exit__(self, *error: object) -> None:
        self._end()

    @property
    def pid(self) -> int:
        return self._process.pid

    def load(self, module: str, limit_seconds: float) -> Optional[str]:
        """Have the process import a module, with all that takes long; return why it could not."""
        return self._ask({"module": module}, limit_seconds).failure

    def run(self, module: str, function: str, arguments: dict, share_seconds: float, limit_seconds: float) -> Outcome:
        """Return what the function tells; it knows of its share, and is stopped at its limit."""
        request = {"module": module, "function": function, "arguments": dict(arguments, seconds=share_seconds)}
        return self._ask(request, limit_seconds)

    def _ask(self, request: dict, limit_seconds: float) -> Outcome:
        deadline = time.monotonic() + limit_seconds
        outcome = Outcome([], [], None)
        if self._process is None:
            self._start()
        self._send(request)
        while True:
            line = self._line(deadline)
            if line is None:
                self._end()
                return outcome._replace(failure=f"did not end within {limit_seconds:.1f} s")
            if not line:
                return outcome._replace(failure=f"ended without an answer ({self._exit()})")
            answer = json.loads(line.decode())
            if "detail" in answer:
                outcome.details.append(answer["detail"])
            elif "sample" in answer:
                outcome.samples.append(answer["sample"])
            else:
                return outcome._replace(failure=answer["failure"])

    def _start(self) -> None:
        """Start it. Answers come by a pipe of their own: an image's sitecustomize may print what is no answer."""
        self._answers, theirs = os.pipe()
        command = [sys.executable, "-m", "stages.workload.measure", str(theirs)]
        try:
            self._process = subprocess.Popen(
                command, stdin=subprocess.PIPE, stdout=subprocess.DEVNULL, bufsize=0, pass_fds=(theirs,)
            )
        finally:
            os.close(theirs)
        self._unread = b""

    def _send(self, request: dict) -> None:
        with contextlib.suppress(BrokenPipeError):  # it has ended, and reading tells so
            self._process.stdin.write(json.dumps(request).encode() + b"\n")

    def _line(self, deadline: float) -> Optional[bytes]:
        """Return the next line; empty where the process has ended, None where none came in time."""
        while b"\n" not in self._unread:
            ready, _, _ = select.select([self._answers], [], [], max(0.0, deadline - time.monotonic()))
            chunk = os.read(self._answers, 2**16) if ready else None
            if not chunk:
                return chunk
            self._unread += chunk
        line, self._unread = self._unread.split(b"\n", 1)
        return line

    def _exit(self) -> str:
        """Return how the process ended, its answers being at their end."""
        with contextlib.suppress(subprocess.TimeoutExpired):
            self._process.wait(ENDING_SECONDS)
        code = self._process.poll()
        self._end()
        return "its answers ended" if code is None else _describe_exit(code)

    def _end(self) -> None:
        """Kill the process. One that hangs in the kernel does not even take that: it is left behind."""
        process, self._process = self._process, None
        if process is None:
            return
        process.kill()
        process.stdin.close()
        os.close(self._answers)
        with contextlib.suppress(subprocess.TimeoutExpired):
            process.wait(ENDING_SECONDS)


def _describe_exit(code: int) -> str:
    return signal.Signals(-code).name if code < 0 else f"exit code {code}"
