"""One process at a time, also where another is just leaving; tests/faults/test_interruptions.py has real runs."""

import subprocess
import sys
from pathlib import Path

from tests.project import ROOT

ENTERS_OFTEN = """
import os, sys, time
from pathlib import Path
from stages.errors import FaceoffError
from stages.harness.process.locks import held
end = time.monotonic() + 1.5
entered = 0
while time.monotonic() < end:
    try:
        with held(Path("running"), "the test"):
            os.close(os.open("inside", os.O_CREAT | os.O_EXCL))  # fails where another is inside
            entered += 1
            os.unlink("inside")
    except FaceoffError:
        pass
assert entered
"""


def test_nobody_enters_by_a_file_that_another_has_just_removed(tmp_path: Path) -> None:
    command = [sys.executable, "-c", ENTERS_OFTEN]
    environment = {"PYTHONPATH": str(ROOT)}
    started = [
        subprocess.Popen(command, cwd=tmp_path, env=environment, stderr=subprocess.PIPE, text=True) for _ in range(4)
    ]
    assert [process.communicate()[1] for process in started] == [""] * 4
    assert not (tmp_path / "running").exists()
