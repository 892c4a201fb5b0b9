"""The Makefile's set-up with real make, venv and pip, on locks of two tiny wheels instead of gigabytes."""

import os
import shlex
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from tests.wheels import wheel

ROOT = Path(__file__).resolve().parents[2]
ODD = """it's a "$(touch pwned)" `touch pwned`; touch pwned"""  # the name of every project's folder here
CODE = (
    "__init__.py",
    "errors.py",
    "units.py",
    "watched.py",
    "harness/__init__.py",
    "harness/environments/__init__.py",
    "harness/environments/pip.py",
)
HARNESS = ("dvc/cli.py", "docker.py", "kagglehub.py", "matplotlib.py", "PIL.py", "statsmodels/api.py")
TORCH = ("torch.py", "torchvision.py", "fastai.py")


class Project:
    """A folder with the project's Makefile, its locks, and stages that say that they ran."""

    def __init__(self, path: Path) -> None:
        self.path, self.wheels = path, path / "wheels"
        self.stamps = {name: path / ".venv" / f"{name}.stamp" for name in ("harness", "host")}
        shutil.copy(ROOT / "Makefile", path)
        for file in CODE:
            (path / "stages" / file).parent.mkdir(parents=True, exist_ok=True)
            shutil.copy(ROOT / "stages" / file, path / "stages" / file)
        for stage in ("params", "publish"):
            (path / "stages" / f"{stage}.py").write_text(f"import sys\nprint('{stage}', *sys.argv[1:])\n")
        self.locks = {"harness": path / "stages" / "requirements.lock", "host": path / "docker/host/requirements.lock"}
        self.locks["host"].parent.mkdir(parents=True)
        lines = [
            wheel(self.wheels, "tiny", "1.0", dict.fromkeys(HARNESS, "")),
            wheel(self.wheels, "torch", "9.0", dict.fromkeys(TORCH, "")),
        ]
        self.locks["harness"].write_text(lines[0])
        self.locks["host"].write_text("".join(lines))

    def make(self, *arguments: str, **variables: str) -> "subprocess.CompletedProcess[str]":
        # Without what an outer make hands down, and with an interpreter outside any virtual environment.
        environment = {key: value for key, value in os.environ.items() if not key.startswith(("MAKE", "PIP_"))}
        path = f"{Path(sys.executable).parent}:{environment['PATH']}"  # a bare Debian has no `python`
        environment |= {"PATH": path, "PIP_NO_INDEX": "1", "PIP_FIND_LINKS": self.wheels.as_uri(), **variables}
        command = ["make", f"PYTHON={Path(sys.executable).resolve()}", *arguments]
        return subprocess.run(command, cwd=self.path, env=environment, capture_output=True, text=True)

    def installed(self, name: str) -> list[Path]:
        return list((self.path / ".venv").glob(f"lib/python3*/site-packages/{name}"))


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
    lock, stamp = project.locks["harness"], project.stamps["harness"]
    good = lock.read_text()
    lock.write_text(f"tiny==1.0 --hash=sha256:{'0' * 64}\n")
    failed = project.make(".venv/harness.stamp")
    assert failed.returncode != 0
    assert "DO NOT MATCH THE HASHES" in failed.stderr
    assert not stamp.exists()

    lock.write_text(good)
    whole = project.make(".venv/harness.stamp")
    assert whole.stdout.startswith("faceoff: setting up .venv; ")
    assert whole.stderr == ""
    assert project.installed("docker.py") and not project.installed("torch.py")
    assert "up to date" in project.make(".venv/harness.stamp").stdout

    # What docker/host/image.yaml has for `setup`.
    assert project.make("--silent", ".venv/host.stamp").stdout.startswith(
        "faceoff: adding torch and fastai for image host"
    )
    assert project.installed("torch.py")
    again = project.make("--silent", ".venv/host.stamp")
    assert (again.returncode, again.stdout, again.stderr) == (0, "", "")

    python = project.path / ".venv/bin/python"  # an upgrade of the system took away what it links to
    python.unlink()
    python.symlink_to("/nowhere/python")
    assert "-m venv .venv" in project.make("--dry-run", ".venv/harness.stamp").stdout


def test_pips_settings_of_the_shell_do_not_lead_elsewhere(project: Project) -> None:
    elsewhere = project.path.parent / "elsewhere"
    conf = project.path.parent / "pip.conf"
    conf.write_text(f"[install]\ntarget = {elsewhere}\n")
    names = ("PIP_TARGET", "PIP_PREFIX", "PIP_ROOT", "PYTHONPATH")
    variables = {**dict.fromkeys(names, str(elsewhere)), "PIP_USER": "1", "PIP_CONFIG_FILE": str(conf)}
    run = project.make(".venv/host.stamp", **variables)
    assert (run.returncode, run.stderr) == (0, "")
    assert project.installed("docker.py") and project.installed("torch.py")
    assert not elsewhere.exists()


def test_a_stamp_comes_after_an_import_and_what_was_being_laid_is_laid_anew(project: Project) -> None:
    lock, half = project.locks["host"], project.path / ".venv" / "host.stamp.half"
    good = lock.read_text()
    torch = wheel(project.wheels, "torch", "9.1", {"torch.py": "raise OSError('libcudart.so.13: not there')"})
    lock.write_text(project.locks["harness"].read_text() + torch)
    broken = project.make(".venv/host.stamp")
    assert broken.returncode != 0
    assert broken.stderr.splitlines()[0] == (
        "faceoff: .venv is not whole (torch: libcudart.so.13: not there); have it made anew: rm -r .venv"
    )
    assert not project.stamps["host"].exists() and project.stamps["harness"].exists() and half.exists()

    lock.write_text(good)
    project.installed("tiny-1.0.dist-info")[0].joinpath("RECORD").unlink()  # killed as it wrote this package
    project.installed("docker.py")[0].unlink()
    whole = project.make(".venv/host.stamp")
    assert (whole.returncode, whole.stderr) == (0, "")
    assert project.installed("docker.py")
    assert project.stamps["host"].exists() and not half.exists()

    # As a checkout leaves it that had one lock for all: goes on, and downloads nothing.
    project.stamps["harness"].unlink()
    project.wheels.rename(project.path / "gone")
    older = project.make(".venv/host.stamp")
    assert (older.returncode, older.stderr) == (0, "")
    assert older.stdout.splitlines() == ["faceoff: bringing .venv up to stages/requirements.lock"]


@pytest.mark.parametrize("preset", ["article", "-x", "it's", '"; touch pwned; "', "`touch pwned`"])
def test_the_preset_is_handed_on(project: Project, preset: str) -> None:
    # -o: the set-up counts as done; what runs is this test's own environment
    (project.path / "dvc.yaml").write_text("stages: {}\n")
    run = project.make(
        "-o", ".venv/harness.stamp", "repro", f"PRESET={preset}", PYTHONSAFEPATH="1", PYTHONHOME="/nowhere"
    )
    assert run.stdout.splitlines()[0] == f"params --preset {preset}"
    assert not list(project.path.rglob("pwned"))


def test_make_test_fails_where_no_test_is_collected(project: Project) -> None:
    (project.path / "tests").mkdir()
    run = project.make("-o", "lint", "test")
    assert "no tests ran" in run.stdout
    assert run.returncode != 0
