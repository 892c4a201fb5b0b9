"""Two branches with results of their own, merged by real git: what it leaves of them, and what is said of that."""

import re
import shutil
import subprocess
from pathlib import Path

import pytest

from stages import codec
from stages.errors import FaceoffError
from stages.harness.params import schema
from stages.harness.pipeline import dvc_files
from stages.harness.process import dvc_lock
from stages.records import MACHINE_PATH, Machine
from tests import results
from tests.project import ROOT

ATTRIBUTES = Path(".gitattributes")


def git(*arguments, code=0):
    user = ("-c", "user.name=t", "-c", "user.email=t@localhost")
    done = subprocess.run(["git", *user, *arguments], capture_output=True, text=True)
    assert done.returncode == code, done.stdout + done.stderr
    return done.stdout


@pytest.fixture
def merge(tmp_path, monkeypatch):
    """What merges the branch `side` into `main`, each of which has measured; what the first commit has, it copies."""
    monkeypatch.chdir(tmp_path)

    def make(*files):
        git("init", "-q", "-b", "main")
        for file in files:
            shutil.copy(ROOT / file, tmp_path / file)
        git("add", "--all")
        git("commit", "-q", "--allow-empty", "-m", "first")
        git("branch", "side")
        for branch in ("side", "main"):
            git("checkout", "-q", branch)
            dvc_lock.LOCK_PATH.write_text(f"{dvc_lock.HEAD}  machine:\n    cmd: {branch}\n")
            schema.PARAMS_PATH.write_text(f"image: {branch}\n")
            codec.write(MACHINE_PATH, results.machine(branch))
            git("add", "--all")
            git("commit", "-q", "-m", branch)
        git("merge", "-q", "side", code=1)

    return make


def refusal(read):
    with pytest.raises(FaceoffError) as refused:
        read()
    (line,) = str(refused.value).splitlines()
    return line


def test_files_with_both_sides_are_told_in_one_line_whose_command_mends_them(merge):
    merge()
    lines = [
        refusal(dvc_files.mend),
        refusal(lambda: codec.read(MACHINE_PATH, Machine)),
        refusal(lambda: schema.load()),
    ]
    assert [line.partition(": ")[0] for line in lines] == ["dvc.lock", "metrics/machine.json", "params.yaml"]
    for line in lines:
        assert "both sides of a merge are in it, from line " in line
    (command,) = re.findall("take one side's: (git checkout --ours .*), or --theirs", lines[0])
    git(*command.split()[1:])
    dvc_files.mend()
    assert codec.read(MACHINE_PATH, Machine).machine_id == "main"


def test_by_gitattributes_the_results_of_the_branch_at_hand_stay_whole(merge):
    merge(ATTRIBUTES)
    dvc_files.mend()
    assert "cmd: main" in dvc_lock.LOCK_PATH.read_text()
    assert codec.read(MACHINE_PATH, Machine).machine_id == "main"
    assert {line[:2] for line in git("status", "--porcelain").splitlines()} == {"AA"}, "and git says that they differ"


def test_by_gitattributes_no_clone_changes_the_ends_of_lines(merge, tmp_path):
    merge(ATTRIBUTES)
    git("clone", "-q", "--branch=main", "--config=core.autocrlf=true", str(tmp_path), str(tmp_path / "clone"))
    for path in (dvc_lock.LOCK_PATH, MACHINE_PATH):
        assert b"\r\n" not in (tmp_path / "clone" / path).read_bytes()
    assert b"\r\n" in (tmp_path / "clone" / schema.PARAMS_PATH).read_bytes(), "else this tests nothing"
