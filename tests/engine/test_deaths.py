"""A cell that dies in a container, or with its engine: told from how it ended; and containers that are left over.

tests/faults/test_deaths.py has what is the same without a container.
"""

import json
import os
import signal
import subprocess
import sys
import tempfile
import time
import uuid
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import requests.exceptions
from docker.models.containers import Container

from stages.harness.environments.docker_engine import DockerEngine
from stages.records import Cell
from tests import attempts, daemon, real_engine
from tests.attempts import attempt, failed, told
from tests.project import run_stage

pytestmark = pytest.mark.engine

CELL = Cell("probe", "plain", 1)
FILLS_MEMORY = "x = bytearray(300 * 2**20); print(len(x))"
IN_A_LOADER = f"""
import subprocess, sys, time
loader = subprocess.run([sys.executable, "-c", "{FILLS_MEMORY}"])
time.sleep(2)  # as torch takes to end its other loaders; Docker's word comes after the event
sys.exit("RuntimeError: the loader died" if loader.returncode else "it did not")
"""
FILLS_SHM = """
import mmap, os
file = os.open("/dev/shm/batch", os.O_RDWR | os.O_CREAT)
os.ftruncate(file, 2**23)
memory = mmap.mmap(file, 2**23)
for place in range(0, 2**23, 4096):
    memory[place] = 1
"""
HANGS = "import os, time; os.utime(os.environ['FACEOFF_EVENTS']); print('ready', flush=True); time.sleep(600)"


WAITS = HANGS.replace("os.utime(os.environ['FACEOFF_EVENTS']); ", "")


@pytest.fixture(scope="module")
def engine() -> DockerEngine:
    return real_engine.connect()


def make(folder: Path, base: str, **overrides: Any) -> Path:
    """A project with one cell in the image `probe`, which is a bare Python."""
    root = attempts.make(folder, "probe", **overrides)
    (root / "docker/probe").mkdir()
    (root / "docker/probe/image.yaml").write_text(f"pull: {base}\nexpects: {{python: '3'}}\n")
    return root


def make_image(root: Path, **environment: str) -> None:
    made = run_stage(root, "image", "probe", **environment)
    assert made.returncode == 0, made.stderr


@pytest.fixture(scope="module")
def root(engine: DockerEngine, tmp_path_factory: pytest.TempPathFactory) -> Path:
    container = {"memory": "200m", "shm_size": "1m"}
    root = make(tmp_path_factory.mktemp("project"), real_engine.base(engine), container=container)
    make_image(root)
    return root


def containers(root: Path) -> list[str]:
    found = real_engine.containers(real_engine.connect(), f"faceoff.checkout={root}")
    return [each.labels["faceoff.owner"] for each in found]


@pytest.mark.parametrize(
    ("script", "code", "words"),
    [
        (FILLS_MEMORY, 137, "it ran out of memory: it needs more than the 200m of container.memory: raise that"),
        (IN_A_LOADER, 1, "it ran out of memory: it needs more than the 200m of container.memory: raise that"),
        (FILLS_SHM, 135, "it died of a bus error, as one does whose /dev/shm is full: /dev/shm has 1 MiB"),
        ("import ctypes; ctypes.string_at(0)", 139, "it died of a segmentation fault in native code"),
        ("import os; os.kill(os.getpid(), 9)", 137, "it was killed (SIGKILL), and not by faceoff or for want"),
        ("raise SystemExit(7)", 1, "the command ended with exit code 7"),
        (
            "open('train.py', 'a')",
            1,
            "the command ended with exit code 1; its own words are above: it wrote into a folder ",
        ),
    ],
    ids=["memory", "memory, of a loader", "shared memory", "segmentation fault", "kill", "exit code", "read-only"],
)
def test_each_death_is_told_from_the_others(root: Path, script: str, code: int, words: str) -> None:
    done = attempt(root, script, CELL)
    reason = failed(root, CELL)
    assert done.returncode == code
    assert reason.startswith(words)
    assert ("raise container.shm_size" in reason) == (script == FILLS_SHM)
    assert told(done)[-1] in (f"faceoff: probe/plain, repeat 1: {reason}", f"faceoff: {reason}")
    assert containers(root) == []


WRITES = """
import errno, os
os.chdir("../..")
for place in ("metrics", "metrics/machine.json", "metrics/probe/image.json", "metrics/probe/x", "models/probe/x"):
    try:
        open(place + "/new" if os.path.isdir(place) else place, "a")
    except OSError as error:
        assert error.errno == errno.EROFS, error
    else:
        raise SystemExit("could write " + place)
for place in ("metrics", "models"):
    open(place + "/probe/plain/new", "w").close()
"""


def test_a_cell_may_write_what_is_its_settings_alone(root: Path) -> None:
    done = attempt(root, WRITES, CELL)
    assert done.returncode == 0, done.stderr
    for name in ("metrics", "models"):
        (root / name / CELL.setting / "new").unlink()


CHANGES_THE_MODEL = """
import os
open(os.environ["FACEOFF_OUTPUT"] + "/scratch", "w").close()
open("../../models/probe/plain/1/model", "a")
"""


def test_an_evaluation_cannot_change_the_model(root: Path) -> None:
    attempts.is_run(root, "import os; open(os.environ['FACEOFF_OUTPUT'] + '/model', 'w')", CHANGES_THE_MODEL)
    assert run_stage(root, *attempts.arguments(CELL)).returncode == 0
    done = run_stage(root, *attempts.arguments(CELL, "evaluate"))
    assert done.returncode == 1 and "Read-only file system: '../../models/probe/plain/1/model'" in done.stderr


def test_a_container_that_cannot_be_stopped_is_removed_all_the_same(
    engine: DockerEngine, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def stop(*_: Any, **__: Any) -> None:
        raise requests.exceptions.ReadTimeout

    monkeypatch.setattr(Container, "stop", stop)
    label = f"test-{uuid.uuid4().hex[:8]}"

    def break_off(*_: object) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr("stages.harness.environments.docker_container.Output.copy", break_off)
    job = real_engine.make_job(real_engine.base(engine), tmp_path, "python3", "-c", WAITS, labels={"faceoff": label})
    with pytest.raises(KeyboardInterrupt):
        engine.run(job)
    assert real_engine.containers(engine, f"faceoff={label}") == []


def test_a_job_that_closes_its_output_is_waited_for_however_long(engine: DockerEngine, tmp_path: Path) -> None:
    def exit_code(patience_seconds: int) -> int:
        impatient = DockerEngine(patience_seconds=patience_seconds)
        script = f"sleep {patience_seconds + 1}; exec >&- 2>&-; sleep {patience_seconds + 1}; exit 7"
        return impatient.run(real_engine.make_job(real_engine.base(engine), tmp_path, "sh", "-c", script)).exit_code

    assert real_engine.patiently(exit_code) == 7


# A container has to start in the latter.
@pytest.mark.parametrize(("key", "minutes"), [("stall_minutes", 0.05), ("cell_minutes", 0.4)])
def test_a_container_that_is_overdue_is_killed(root: Path, key: str, minutes: float) -> None:
    attempts.params_with(root, limits={"stall_minutes": None, "cell_minutes": None} | {key: minutes})
    try:
        done = attempt(root, HANGS, CELL)
    finally:
        attempts.params_with(root, limits={"stall_minutes": None, "cell_minutes": None})
    assert "ready\n" in done.stdout
    assert f"(limits.{key})" in failed(root, CELL)
    assert containers(root) == []


def test_docker_kill_by_somebody_else(root: Path, engine: DockerEngine) -> None:
    with started(root) as process:
        [container] = real_engine.containers(engine, f"faceoff.pid={process.pid}")
        container.kill()
        assert process.wait(60) == 137
    assert failed(root, CELL).startswith("it was killed (SIGKILL), and not by faceoff")


# ---------------------------------------------------------------------------------- what a killed faceoff leaves behind


def started(root: Path, **environment: str) -> subprocess.Popen[str]:
    """An attempt at the cell whose job runs until it is ended."""
    attempts.is_run(root, HANGS)
    command = [sys.executable, "-m", "stages." + attempts.arguments(CELL)[0], *attempts.arguments(CELL)[1:]]
    process = subprocess.Popen(
        command, cwd=root, env={**os.environ, **environment}, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    )
    assert process.stdout is not None and any(line == "ready\n" for line in process.stdout)
    return process


def test_the_next_run_removes_the_container_of_a_killed_one(root: Path) -> None:
    process = started(root)
    process.kill()
    process.communicate()
    assert len(containers(root)) == 1
    assert (root / CELL.running_path).exists()
    done = attempt(root, "print('next')", CELL)
    assert (done.returncode, done.stderr) == (0, "")
    assert "faceoff: removed container " in done.stdout and "\nnext\n" in done.stdout
    assert containers(root) == [] and not (root / CELL.running_path).exists()


def test_the_container_of_a_living_run_stays(root: Path) -> None:
    process = started(root)
    assert run_stage(root, "inside", "probe", "--", "true").returncode == 0
    make_image(root)
    assert process.poll() is None and len(containers(root)) == 1
    process.terminate()
    assert process.wait(60) == 143
    assert containers(root) == []


def test_two_checkouts_with_one_engine(root: Path, engine: DockerEngine, tmp_path: Path) -> None:
    """One is killed, the other runs: neither removes what is the other's, and each has its own result."""
    other = make(tmp_path, real_engine.base(engine))
    make_image(other)
    killed, living = started(root), started(other)
    killed.kill()
    killed.communicate()
    assert run_stage(other, "inside", "probe", "--", "true").returncode == 0
    assert (len(containers(root)), len(containers(other))) == (1, 1)
    assert attempt(root, "raise SystemExit(7)", CELL).returncode == 1
    assert (containers(root), len(containers(other))) == ([], 1)
    assert living.poll() is None and not (other / CELL.result_path("train")).exists()
    living.terminate()
    assert living.wait(60) == 143
    assert containers(other) == []


def test_a_reused_pid_is_not_taken_for_the_owner(root: Path, engine: DockerEngine) -> None:
    """A container whose owner's pid is this test's, which was started at another time."""
    process = started(root)
    [owner] = containers(root)
    process.kill()
    process.communicate()
    [left] = real_engine.containers(engine, f"faceoff.checkout={root}")
    here, _, started_at = owner.rsplit(" ", 2)
    forged = {**left.labels, "faceoff.owner": f"{here} {os.getpid()} {started_at}"}
    left.remove(force=True)
    forgery = engine._client.containers.create(
        real_engine.base(engine), ["sleep", "600"], labels=forged, network_mode="none"
    )
    forgery.start()
    try:
        assert run_stage(root, "inside", "probe", "--", "true").returncode == 0
        assert containers(root) == []
    finally:
        for each in real_engine.containers(engine, f"faceoff.checkout={root}"):
            each.remove(force=True)


# -------------------------------------------------------------------------------------------------- an engine that dies


@pytest.fixture(scope="module")
def own(engine: DockerEngine) -> Iterator[daemon.Daemon]:
    with tempfile.TemporaryDirectory(prefix="d-") as folder, daemon.running(Path(folder)) as started:
        started.load(real_engine.base(engine))
        yield started


@pytest.mark.own_engine
def test_a_daemon_that_is_killed_is_one_line_and_the_next_run_works(
    own: daemon.Daemon, engine: DockerEngine, tmp_path: Path
) -> None:
    environment = {"DOCKER_HOST": own.host}
    root = make(tmp_path, real_engine.base(engine))
    attempts.params_with(root, on_failure="record")
    make_image(root, **environment)
    process = started(root, **environment)
    own.kill()
    _, said = process.communicate(timeout=90)
    assert process.returncode == 1
    assert said.startswith("faceoff: the Docker engine went away while a container ran: start it and run again")
    assert said.count("\n") == 1
    assert not (root / CELL.result_path("train")).exists()  # it says nothing of the cell, so there is nothing to record
    own.start()
    done = attempt(root, "print('next')", CELL, **environment)
    assert (done.returncode, done.stderr) == (0, "")
    label = f"label=faceoff.checkout={root}"
    left = subprocess.run(["docker", "ps", "-aq", "--filter", label], env=own.environment(), capture_output=True)
    assert left.stdout == b""


@pytest.mark.own_engine
def test_a_build_that_is_stopped_leaves_nothing(own: daemon.Daemon, engine: DockerEngine, tmp_path: Path) -> None:
    root = make(tmp_path, real_engine.base(engine))
    for name in ("packages.lock", "torch.txt"):
        (root / "docker/probe" / name).touch()
    files = {"packages": "docker/probe/packages.lock", "torch": "docker/probe/torch.txt"}
    build = {"base": real_engine.base(engine), **files}
    (root / "docker/probe/image.yaml").write_text(json.dumps({"build": build}))
    (root / "docker/Dockerfile").write_text("ARG BASE\nFROM ${BASE}\nRUN echo it builds; sleep 600\n")

    def there() -> list[bytes]:
        return [
            subprocess.run(["docker", *each], env=own.environment(), capture_output=True, check=True).stdout
            for each in (["ps", "-aq"], ["images", "-q"])
        ]

    before = there()
    for number in (signal.SIGINT, signal.SIGTERM):
        process = subprocess.Popen(
            [sys.executable, "-m", "stages.image", "probe"],
            cwd=root,
            env=own.environment() | {"FACEOFF_BUILD_NETWORK": "none"},
            stdout=subprocess.PIPE,
            text=True,
        )
        assert process.stdout is not None
        assert any(line.endswith(": RUN echo it builds; sleep 600\n") for line in process.stdout)
        while process.poll() is None and there() == before:
            time.sleep(0.1)
        process.send_signal(number)
        assert process.wait(60) == 128 + number
        end = time.monotonic() + 120
        while there() != before:
            assert time.monotonic() < end, there()
            time.sleep(0.2)
    assert list((root / "models").glob(".*")) == []
