"""The Makefile's set-up with real make, venv and pip, on a lock of one tiny wheel instead of gigabytes."""

import hashlib
import os
import shlex
import shutil
import subprocess
import sys
import zipfile
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
ODD = """it's a "$(touch pwned)" `touch pwned`; touch pwned"""  # the name of every project's folder here


class Project:
    """A folder with the project's Makefile, a lock, and stages that say that they ran."""

    def __init__(self, path: Path) -> None:
        self.path = path
        shutil.copy(ROOT / "Makefile", path)
        (path / "docker" / "host").mkdir(parents=True)
        (path / "stages").mkdir()
        for stage in ("params", "publish"):
            (path / "stages" / f"{stage}.py").write_text(f"import sys\nprint('{stage}', *sys.argv[1:])\n")
        self.wheel = path / "tiny-1.0-py3-none-any.whl"
        with zipfile.ZipFile(self.wheel, "w") as archive:
            info = "tiny-1.0.dist-info"
            archive.writestr("tiny.py", "")
            archive.writestr(f"{info}/METADATA", "Metadata-Version: 2.1\nName: tiny\nVersion: 1.0\n")
            archive.writestr(f"{info}/WHEEL", "Wheel-Version: 1.0\nRoot-Is-Purelib: true\nTag: py3-none-any\n")
            archive.writestr(f"{info}/RECORD", "")
        self.lock(hashlib.sha256(self.wheel.read_bytes()).hexdigest())

    def lock(self, sha256: str) -> None:
        text = f"tiny @ {self.wheel.as_uri()} --hash=sha256:{sha256}\n"
        (self.path / "docker" / "host" / "requirements.lock").write_text(text)

    def make(self, *arguments: str) -> "subprocess.CompletedProcess[str]":
        # Without what an outer make hands down, and with an interpreter outside any virtual environment.
        environment = {key: value for key, value in os.environ.items() if not key.startswith("MAKE")}
        command = ["make", f"PYTHON={Path(sys.executable).resolve()}", *arguments]
        return subprocess.run(command, cwd=self.path, env=environment, capture_output=True, text=True)


@pytest.fixture
def project(tmp_path: Path) -> Project:
    path = tmp_path / ODD
    path.mkdir()
    return Project(path)


def fake_python(path: Path, change: str) -> str:
    """An interpreter that runs `-c CODE` after a change to what that code sees."""
    script = path / "fake-python"
    script.write_text(f'#!/bin/sh\nexec {sys.executable} -c {shlex.quote(change + "; exec(sys.argv[2])")} "$@"\n')
    script.chmod(0o755)
    return f"PYTHON={script}"


def test_make_alone_prints_help(project: Project) -> None:
    run = project.make()
    assert run.returncode == 0
    assert "make repro PRESET=article" in run.stdout
    assert not (project.path / ".venv").exists()


@pytest.mark.parametrize(
    ("change", "advice"),
    [
        ("import sys; sys.version_info = (3, 9)", "needs Python 3.11 or newer and found 3.9; name one: make PYTHON="),
        ("import sys, importlib.util as u; u.find_spec = lambda name: None", "apt-get install python3-venv"),
    ],
)
def test_a_python_that_will_not_do_is_one_line(project: Project, change: str, advice: str) -> None:
    run = project.make(fake_python(project.path.parent, change), "repro")
    assert run.returncode != 0
    ours = [line for line in run.stderr.splitlines() if not line.startswith("make")]
    assert len(ours) == 1
    assert advice in ours[0]


def test_no_python_is_one_line(project: Project) -> None:
    run = project.make("PYTHON=no-such-python", "repro")
    assert run.returncode != 0
    assert run.stderr.splitlines()[0].startswith("faceoff: no no-such-python here; install Python 3.11")


def test_a_failed_set_up_is_not_taken_for_done_and_a_whole_one_is_not_done_again(project: Project) -> None:
    lock = project.path / "docker" / "host" / "requirements.lock"
    stamp = project.path / ".venv" / "host.stamp"
    good = lock.read_text()
    project.lock("0" * 64)
    failed = project.make(".venv/host.stamp")
    assert failed.returncode != 0
    assert "DO NOT MATCH THE HASHES" in failed.stderr
    assert not stamp.exists()

    lock.write_text(good)
    whole = project.make(".venv/host.stamp")
    assert whole.stdout.startswith("faceoff: setting up .venv")
    assert whole.stderr == ""
    assert list((project.path / ".venv").glob("lib/python3*/site-packages/tiny.py"))

    assert "up to date" in project.make(".venv/host.stamp").stdout


@pytest.mark.parametrize("preset", ["article", "-x", "it's", '"; touch pwned; "', "`touch pwned`"])
def test_the_preset_is_handed_on(project: Project, preset: str) -> None:
    # -o: the set-up counts as done; what runs is this test's own environment
    (project.path / "dvc.yaml").write_text("stages: {}\n")
    run = project.make("-o", ".venv/harness.stamp", "repro", f"PRESET={preset}")
    assert run.stdout.splitlines()[0] == f"params --preset {preset}"
    assert not list(project.path.rglob("pwned"))


def test_make_test_fails_where_no_test_is_collected(project: Project) -> None:
    (project.path / "tests").mkdir()
    run = project.make("-o", "lint", "test")
    assert "no tests ran" in run.stdout
    assert run.returncode != 0
