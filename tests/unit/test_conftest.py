"""What tests/conftest.py sees to, on a run of pytest of its own."""

import subprocess
import sys
from pathlib import Path

from tests.project import ROOT

TESTS = """
import os
import pytest

@pytest.mark.parametrize("number", range(3))
def test_engine(number):
    pytest.skip("no engine: it does\\nnot answer")

def test_page():
    pytest.skip("no Chromium")

def test_stays_away(tmp_path):
    os.chdir(tmp_path)

def test_leaves_a_variable():
    os.environ["MINE"] = "1"

def test_comes_back(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("MINE", "2")
"""


def test_what_was_skipped_is_one_line_and_who_leaves_something_changed_is_named(tmp_path: Path) -> None:
    (tmp_path / "test_it.py").write_text(TESTS)
    command = [sys.executable, "-m", "pytest", "-p", "tests.conftest", "-p", "no:cacheprovider", "--rootdir", tmp_path]
    done = subprocess.run([*command, tmp_path], cwd=ROOT, capture_output=True, text=True)
    lines = done.stdout.splitlines()
    assert "faceoff: skipped 4 tests: no engine: it does not answer (3); no Chromium (1)" in lines
    named = [line.partition("::")[2].split(" ")[0] for line in lines if line.startswith("ERROR ")]
    assert named == ["test_stays_away", "test_leaves_a_variable"]
    assert "[('$MINE', None, '1')]" in done.stdout
