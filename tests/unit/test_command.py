"""Commands that end amid something else."""

import subprocess

import pytest

from tests.project import ROOT
from tests.supervised import PYTHONS

# Each look lasts until the command has ended and nobody has waited for it, and asks for its end.
RUN = """
import os, signal, time
from pathlib import Path
from stages.workload import processes
from stages.workload.supervisor import command

def look():
    [child] = processes.children(os.getpid())
    os.waitid(os.P_PID, child, os.WEXITED | os.WNOWAIT)
    return True

print(command.run(["python", "-c", "raise SystemExit(7)"], Path.cwd(), dict(os.environ), look, 0.001).code)
"""


@pytest.mark.parametrize("python", PYTHONS)
def test_a_command_that_ends_amid_a_look_is_waited_for_though_it_was_to_be_killed(python: str) -> None:
    done = subprocess.run([python, "-c", RUN], cwd=ROOT, capture_output=True, text=True, timeout=20, check=False)
    assert (done.stdout, done.stderr) == ("7\n", "")


OTHER = """
import os
from pathlib import Path
from stages.workload.supervisor import command

if os.fork() == 0:  # as who watches the cards; it ends first
    block = b"x" * 2**27
    os._exit(0)
ended = command.run(["python", "-c", "import time; time.sleep(1)"], Path.cwd(), dict(os.environ), lambda: None)
print(ended.code, ended.peak_bytes < 2**27)
"""


def test_what_another_child_takes_is_not_the_commands() -> None:
    done = subprocess.run([PYTHONS[0], "-c", OTHER], cwd=ROOT, capture_output=True, text=True, timeout=20, check=False)
    assert (done.stdout, done.stderr) == ("0 True\n", "")
