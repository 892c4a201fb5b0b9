"""What tests/conftest.py sees to, on a run of pytest of its own."""

import os
import subprocess
import sys
from pathlib import Path

from tests.project import ROOT

TESTS = """
import os
import subprocess
import pytest
from dvc.config import Config

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

def test_sees_no_settings(tmp_path):
    said = subprocess.run(["git", "config", "--list"], cwd=tmp_path, capture_output=True, text=True)
    assert (said.stdout, Config(validate=False)["core"].get("autostage")) == ("", None)
"""


def test_skips_are_one_line_who_leaves_something_changed_is_named_and_no_settings_are_seen(tmp_path: Path) -> None:
    (tmp_path / "test_it.py").write_text(TESTS)
    (tmp_path / ".config/dvc").mkdir(parents=True)
    (tmp_path / ".config/dvc/config").write_text("[core]\n    autostage = true\n")
    (tmp_path / ".gitconfig").write_text("[commit]\n\tgpgsign = true\n")
    variables = {"HOME": str(tmp_path), "GIT_CONFIG_GLOBAL": str(tmp_path / ".gitconfig"), "DVC_EXP_AUTO_PUSH": "1"}
    environment = {name: each for name, each in os.environ.items() if not name.startswith(("GIT_", "DVC_"))}
    command = [sys.executable, "-m", "pytest", "-p", "tests.conftest", "-p", "no:cacheprovider", "--rootdir", tmp_path]
    done = subprocess.run(
        [*command, tmp_path], cwd=ROOT, env={**environment, **variables}, capture_output=True, text=True
    )
    lines = done.stdout.splitlines()
    assert [line for line in lines if line.startswith("FAILED ")] == [], done.stdout
    assert "faceoff: skipped 4 tests: no engine: it does not answer (3); no Chromium (1)" in lines
    named = [line.partition("::")[2].split(" ")[0] for line in lines if line.startswith("ERROR ")]
    assert named == ["test_stays_away", "test_leaves_a_variable"]
    assert "[('$MINE', None, '1')]" in done.stdout
