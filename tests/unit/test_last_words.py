"""A command's stderr goes on to where it went, byte by byte, a terminal stays one, and its end is kept."""

import os
import pty
import select
import subprocess
import sys
import time

import pytest

from tests.project import ROOT
from tests.supervised import PYTHONS

# Runs the command that its arguments are, and tells on stdout what was kept.
RUN = """
import json, os, sys
from pathlib import Path
from stages.workload.supervisor import command
ended = command.run(sys.argv[1:], Path.cwd(), dict(os.environ), lambda: None)
print(json.dumps([ended.code, ended.last_words[-40:], len(ended.last_words)]))
"""
SAYS = """
import os, sys
size = os.get_terminal_size(2) if os.isatty(2) else ()
print("terminal" if size else "no terminal", *size, file=sys.stderr)
sys.stderr.write("\\r50 %\\r100 %\\n")
sys.stderr.flush()
os.write(2, b"x" * 100000 + b"\\xff\\n")
raise SystemExit("the end")
"""
BYTES = b"\r50 %\r100 %\n" + b"x" * 100000 + b"\xff\nthe end\n"


@pytest.mark.parametrize("python", PYTHONS, ids=["this Python", "3.7"][: len(PYTHONS)])
def test_a_pipe_gets_every_byte_and_the_end_is_kept(python: str) -> None:
    done = subprocess.run([python, "-c", RUN, "python", "-c", SAYS], cwd=ROOT, capture_output=True)
    assert done.stderr == b"no terminal\n" + BYTES
    assert done.stdout.startswith(b'[1, "xxxxxxxx') and done.stdout.endswith(b'\\ufffd\\nthe end\\n", 65536]\n')


@pytest.mark.parametrize("python", PYTHONS, ids=["this Python", "3.7"][: len(PYTHONS)])
def test_a_terminal_stays_one_of_the_same_size_and_gets_the_same(python: str) -> None:
    reader, terminal = pty.openpty()
    os.set_blocking(reader, False)
    subprocess.run(["stty", "cols", "91", "rows", "33"], stdin=terminal, check=True)
    shown = b""
    with subprocess.Popen(
        [python, "-c", RUN, "python", "-c", SAYS], cwd=ROOT, stdout=subprocess.PIPE, stderr=terminal
    ) as process:
        expected, deadline = (b"terminal 91 33\n" + BYTES).replace(b"\n", b"\r\n"), time.monotonic() + 60
        # The kernel may hand over the last of it after the process has ended.
        while process.poll() is None or (len(shown) < len(expected) and time.monotonic() < deadline):
            if select.select([reader], [], [], 0.1)[0]:
                shown += os.read(reader, 2**16)
        if select.select([reader], [], [], 0.1)[0]:
            shown += os.read(reader, 2**16)  # what is too much
    os.close(terminal)
    os.close(reader)
    assert shown == expected


def test_a_process_that_stays_behind_holds_nobody_up() -> None:
    """It has the stream open; with its command it is ended."""
    script = "import os, time\nif os.fork() == 0:\n    os.setsid()\n    time.sleep(60)\nraise SystemExit('left it')"
    done = subprocess.run(
        [sys.executable, "-c", RUN, "python", "-c", script], cwd=ROOT, capture_output=True, timeout=20
    )
    assert done.stderr == b"left it\n" and done.stdout.startswith(b'[1, "left it')


def test_a_reader_that_is_gone_does_not_stop_the_command() -> None:
    reader, writer = os.pipe()
    os.close(reader)
    done = subprocess.run(
        [sys.executable, "-c", RUN, "python", "-c", SAYS], cwd=ROOT, stdout=subprocess.PIPE, stderr=writer
    )
    os.close(writer)
    assert done.stdout.startswith(b"[1, ")
