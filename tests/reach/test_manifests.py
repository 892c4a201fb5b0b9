"""SkyPilot's YAML and the Job of Kubernetes: read by their makers' own code, and their scripts run for real in bash."""

import os
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import yaml

from tests import checkouts
from tests.project import ROOT

JOB, SKY = ROOT / "reach/job.yaml", ROOT / "reach/sky.yaml"
VALIDATE = "kubernetes-validate==1.37.0"
SKYPILOT = "skypilot==0.14.1"
REQUIRED = "FACEOFF_REQUIRE_SKYPILOT"  # 570 MB, so only where it is asked for
PARSE = """\
import sys, sky
task = sky.Task.from_yaml(sys.argv[1])
[resources] = task.resources
print(task.name, resources.accelerators, resources.disk_size, sorted(task.envs), bool(task.setup), bool(task.run))
"""
STAND_IN = """\
import pathlib, signal, sys, time
if pathlib.Path("../wait").exists():
    signal.signal(signal.SIGTERM, lambda *_: (pathlib.Path("../packed").touch(), sys.exit(143)))
    pathlib.Path("../began").touch()
    time.sleep(60)
pathlib.Path(sys.argv[sys.argv.index("--pack") + 1]).write_text(" ".join(sys.argv[1:]))
for path in map(pathlib.Path, sys.argv[sys.argv.index("--state") + 1 :] if "--state" in sys.argv else ()):
    path.write_text("{}")
sys.exit(3)
"""


def environment(tmp_path: Path, package: str) -> Path:
    """The folder of programs of an environment with that package alone."""
    made = tmp_path / "made"
    subprocess.run([sys.executable, "-m", "venv", "--without-pip", made], check=True)
    pip = [sys.executable, "-m", "pip", "--python", made / "bin/python", "install", "--quiet", package]
    done = subprocess.run(pip, capture_output=True, text=True)
    if done.returncode:
        pytest.skip(f"NOT TESTED: {package} cannot be installed: {done.stderr.strip()[-200:]}")
    return made / "bin"


@pytest.mark.slow
def test_the_job_is_what_kubernetes_takes(tmp_path: Path) -> None:
    validate = [environment(tmp_path, VALIDATE) / "kubernetes-validate", "--strict", "-k", "1.30.0"]
    done = subprocess.run([*validate, JOB], capture_output=True, text=True)
    assert done.returncode == 0 and "passed for resource job/faceoff" in done.stdout + done.stderr
    broken = tmp_path / "job.yaml"
    broken.write_text(JOB.read_text().replace("medium: Memory", "medium: [Memory]"))
    assert subprocess.run([*validate, broken], capture_output=True).returncode != 0


@pytest.mark.slow
def test_skypilot_reads_its_yaml(tmp_path: Path) -> None:
    if not os.environ.get(REQUIRED):
        pytest.skip(f"NOT TESTED: {SKYPILOT} is 570 MB; {REQUIRED}=1 installs it")
    command = [environment(tmp_path, SKYPILOT) / "python", "-c", PARSE, SKY]
    apart = {**os.environ, "HOME": str(tmp_path), "SKYPILOT_DISABLE_USAGE_COLLECTION": "1"}
    done = subprocess.run(command, capture_output=True, text=True, env=apart)
    assert done.stdout.split("\n")[-2] == "faceoff {'T4': 1} 100 ['PRESET'] True True", done.stderr


def pod() -> Any:
    return yaml.safe_load(JOB.read_text())["spec"]["template"]["spec"]


def test_shared_memory_of_the_pod_is_memory() -> None:
    [container] = pod()["containers"]
    [mounted] = [each["name"] for each in container["volumeMounts"] if each["mountPath"] == "/dev/shm"]
    [volume] = [each for each in pod()["volumes"] if each["name"] == mounted]
    assert volume["emptyDir"]["medium"] == "Memory" and volume["emptyDir"]["sizeLimit"]


@pytest.fixture
def work(tmp_path: Path) -> Path:
    """The pod's /work, and a repository whose session is a stand-in."""
    (tmp_path / "repository/reach").mkdir(parents=True)
    (tmp_path / "repository/reach/session.py").write_text(STAND_IN)
    checkouts.commit(tmp_path / "repository")
    (tmp_path / "bin").mkdir()
    (tmp_path / "bin/python3").symlink_to(sys.executable)
    return tmp_path


def started(work: Path, **environment: str) -> subprocess.Popen[bytes]:
    """The pod's script, in a folder of the test's instead of /work."""
    [container] = pod()["containers"]
    script = container["args"][0].replace("/work/", f"{work}/")
    given = {each["name"]: each["value"] for each in container["env"]}
    given |= {"REPOSITORY": str(work / "repository"), "COMMIT": "HEAD", **environment}
    path = f"{work / 'bin'}:{os.environ['PATH']}"
    return subprocess.Popen([*container["command"], script], cwd=work, env={**os.environ, **given, "PATH": path})


def test_the_pod_waits_until_its_pack_is_fetched_and_ends_as_the_session_did(work: Path) -> None:
    with started(work, PRESET="kaggle") as process:
        until(lambda: (work / "pack.zip").exists() and (work / "pack.zip").stat().st_size > 0)
        assert (work / "pack.zip").read_text() == f"--pack {work}/pack.zip --preset kaggle"
        with pytest.raises(subprocess.TimeoutExpired):
            process.wait(1.5)
        (work / "fetched").touch()
        assert process.wait(60) == 3


def test_a_pod_that_is_ended_lets_the_session_pack(work: Path) -> None:
    (work / "wait").touch()
    (work / "fetched").touch()
    (work / "pack.zip").touch()
    with started(work) as process:
        until((work / "began").exists)
        process.terminate()
        assert process.wait(60) == 143
    assert (work / "packed").exists()


def test_the_command_of_skypilot_runs_a_session(work: Path) -> None:
    folder = work / "repository"
    (folder / ".venv").symlink_to(Path(sys.executable).parent.parent)
    done = subprocess.run(["bash", "-c", yaml.safe_load(SKY.read_text())["run"]], cwd=folder)
    assert (folder / "pack.zip").exists() and (folder / "state.json").read_text() == "{}"
    assert done.returncode == 3


def until(holds: Callable[[], bool]) -> None:
    end = time.monotonic() + 120
    while not holds():
        assert time.monotonic() < end
        time.sleep(0.05)
