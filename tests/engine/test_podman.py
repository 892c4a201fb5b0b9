"""Podman services of the tests' own: rootless, killed, and one that drops what it does not know.

On the socket of a plain one CI runs all tests of engines: .ci/run.
"""

import os
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest

from stages import codec, records
from stages.harness.environments.docker_engine import DockerEngine
from stages.records import Cell
from tests import attempts, nvml, podman, real_engine, tiny_image
from tests.nvml import T4
from tests.project import run_stage
from tests.real_engine import make_job

pytestmark = [pytest.mark.engine, pytest.mark.own_engine]

CELL = Cell("probe", "plain", 1)
WRITE = 'echo "$(umask)" > result; test -O result'


def connect(service: podman.Podman) -> DockerEngine:
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("DOCKER_HOST", service.host)
        return DockerEngine()


@pytest.fixture(scope="module")
def rootless() -> Iterator[tuple[DockerEngine, str]]:
    with podman.rootless() as (service, user):
        yield connect(service), user


@pytest.fixture
def home(rootless: tuple[DockerEngine, str]) -> Iterator[Path]:
    """A folder of the rootless engine's user, who may not enter pytest's."""
    with tempfile.TemporaryDirectory(prefix="p-") as folder:
        os.chown(folder, *map(int, rootless[1].split(":")))
        yield Path(folder)


def test_what_rootless_podmans_job_writes_is_the_callers(rootless: tuple[DockerEngine, str], home: Path) -> None:
    engine, user = rootless
    assert engine.run(make_job(tiny_image.load(engine), home, "sh", "-c", WRITE, user=user)).exit_code == 0
    found = (home / "result").stat()
    assert f"{found.st_uid}:{found.st_gid}" == user


def test_rootless_podman_says_what_it_cannot_limit_and_runs_without(
    rootless: tuple[DockerEngine, str], home: Path
) -> None:
    engine, _ = rootless
    about = engine.about()
    assert about.is_rootless and about.name == "Podman"
    engine.check_sees(home)
    limits = {"memory_bytes": 2**28, "cpus": 1.0, "cpuset": "0"}
    if Path("/sys/fs/cgroup/cgroup.controllers").exists():  # there it can limit what its user was given to limit
        limits = {}
    else:
        assert {"memory", "cpus", "cpuset"} <= {*about.unenforced}
    assert engine.run(make_job(tiny_image.load(engine), home, "sh", "-c", "exit 0", **limits)).exit_code == 0


@pytest.fixture(scope="module")
def own() -> Iterator[podman.Podman]:
    base = real_engine.base(real_engine.connect())
    with podman.running() as service:
        service.load(base)
        yield service


def make(folder: Path, base: str, **container: object) -> Path:
    """A project with one cell in the image `probe`, which is a bare Python."""
    root = attempts.make(folder, "probe", container=container)
    (root / "docker/probe").mkdir()
    (root / "docker/probe/image.yaml").write_text(f"pull: {base}\nexpects: {{python: '3'}}\n")
    return root


def test_a_card_that_podman_drops_ends_the_cell_in_a_line(own: podman.Podman, tmp_path: Path) -> None:
    """Podman 4.3 takes the request for a card and hands out none, without a word."""
    root = make(tmp_path, real_engine.base(real_engine.connect()), gpus="all")
    shell = nvml.environment(root / "driver", T4) | {"DOCKER_HOST": own.host}
    for words in (("machine",), ("image", "probe")):
        done = run_stage(root, *words, **shell)
        assert done.returncode == 0, done.stderr
    assert str(codec.read(root / records.image_path("probe"), records.Image).engine).startswith("Podman ")
    done = attempts.attempt(root, "print('trains on the CPU')", CELL, **shell)
    assert done.returncode == 1 and "trains on the CPU" not in done.stdout
    [line] = done.stderr.splitlines()
    assert f"container.gpus asks for {T4['uuid']}: this container has none: the engine dropped the request" in line
    assert "Podman" in line and "container.gpus: none" in line


def test_a_service_that_is_killed_is_one_line_and_the_next_run_removes_the_container(
    own: podman.Podman, tmp_path: Path
) -> None:
    """Unlike Docker's, its containers go on without it."""
    shell = {**os.environ, "DOCKER_HOST": own.host}
    root = make(tmp_path, real_engine.base(real_engine.connect()))
    assert run_stage(root, "image", "probe", **shell).returncode == 0
    attempts.is_run(root, "import time; print('ready', flush=True); time.sleep(600)")
    command = [sys.executable, "-m", "stages.inside", "probe", "--result", str(CELL.result_path("train"))]
    process = subprocess.Popen(command, cwd=root, env=shell, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
    assert process.stdout is not None and any(line == "ready\n" for line in process.stdout)
    own.kill()
    _, said = process.communicate(timeout=90)
    assert process.returncode == 1
    assert "engine went away while a container ran: start it and run again" in said and said.count("\n") == 1
    own.start()
    done = attempts.attempt(root, "print('next')", CELL, **shell)
    assert done.returncode == 0, done.stderr
    assert "faceoff: removed container " in done.stdout and "\nnext\n" in done.stdout
    left = subprocess.run(["docker", "ps", "--all", "--quiet"], env=shell, capture_output=True, check=True)
    assert left.stdout == b""
