"""How an entry ends whose output nobody takes any more, though the pipe is open."""

import array
import fcntl
import os
import signal
import subprocess
import sys
import termios
import time

import pytest

PROGRAM = """
import sys
from stages.errors import run_entry

def main() -> int:
    while True:
        print("x" * {length})

run_entry(main)
"""
FULL_BYTES = 50_000  # of the 64 KiB that a pipe holds: no more than a line is missing then


@pytest.mark.parametrize("length", [1, 10_000])
@pytest.mark.parametrize(("number", "code"), [(signal.SIGINT, 130), (signal.SIGTERM, 143)])
def test_a_full_pipe_does_not_keep_it_from_ending(length: int, number: int, code: int) -> None:
    """A short line is still in Python's own buffer then, which would be written at the exit."""
    environment = {name: value for name, value in os.environ.items() if name != "PYTHONUNBUFFERED"}
    command = [sys.executable, "-c", PROGRAM.format(length=length)]
    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, env=environment) as process:
        assert process.stdout is not None
        wait_until_full(process.stdout.fileno())
        process.send_signal(number)
        try:
            assert process.wait(timeout=60) == code
        finally:
            process.kill()


def wait_until_full(pipe: int) -> None:
    held, end = array.array("i", [0]), time.monotonic() + 60
    while held[0] < FULL_BYTES:
        assert time.monotonic() < end
        time.sleep(0.05)
        fcntl.ioctl(pipe, termios.FIONREAD, held)
    time.sleep(0.2)  # and the writer stands still
