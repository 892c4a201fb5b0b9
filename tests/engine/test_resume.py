"""Trainings in containers that end early, and go on: the container is killed, or the engine itself is.

tests/faults/test_resume.py has image host, and tests/engine/test_deaths.py what is said of each death.
"""

import tempfile
from pathlib import Path

import docker
import pytest

from stages.harness.environments.docker_engine import DockerEngine
from stages.records import Cell
from tests import daemon, real_engine, resuming
from tests.resuming import SPANS, check_end, kept, result, started, train, wait_for

pytestmark = pytest.mark.engine

CELL = Cell("probe", "plain", 1)


@pytest.fixture(scope="module")
def engine() -> DockerEngine:
    return real_engine.connect()


@pytest.fixture
def project(engine: DockerEngine, tmp_path: Path) -> Path:
    return resuming.make(tmp_path / "project", CELL.image, real_engine.base(engine))


def killed_after(engine: DockerEngine, project: Path, spans: int) -> None:
    """`docker kill` by somebody else, once so many spans are kept: the run ends in one line."""
    process = started(project, CELL)
    wait_for(process, lambda: kept(project, CELL) >= spans)
    [container] = real_engine.containers(engine, f"faceoff.pid={process.pid}")
    container.kill()
    _, said = process.communicate(timeout=resuming.PATIENCE_SECONDS)
    assert process.returncode == 137
    [line] = said.splitlines()
    assert line.startswith(f"faceoff: {CELL.setting}, repeat 1: it was killed (SIGKILL), and not by faceoff")
    assert result(project, CELL).status == "failed"


@pytest.mark.alone  # a test beside it whose container runs out of memory would pass for this one's
def test_a_container_that_is_killed_again_and_again(engine: DockerEngine, project: Path) -> None:
    after_spans = [0]
    for spans in (1, 2, SPANS):
        killed_after(engine, project, spans)
        after_spans.append(kept(project, CELL))
    done = train(project, CELL)
    assert done.returncode == 0 and not done.stderr, done.stderr
    assert "found: ['done'" in done.stdout
    check_end(project, CELL, *after_spans)


@pytest.mark.own_engine
def test_an_engine_that_is_killed(engine: DockerEngine, tmp_path: Path) -> None:
    base = real_engine.base(engine)
    with tempfile.TemporaryDirectory(prefix="d-") as folder, daemon.running(Path(folder)) as own:
        own.load(base)
        project = resuming.make(tmp_path / "project", CELL.image, base, DOCKER_HOST=own.host)
        process = started(project, CELL, DOCKER_HOST=own.host)
        wait_for(process, lambda: kept(project, CELL) >= 1)
        own.kill()
        _, said = process.communicate(timeout=90)
        assert process.returncode == 1 and said.count("\n") == 1, said
        assert said.startswith("faceoff: the Docker engine went away while a container ran: ")
        assert not (project / CELL.result_path("train")).exists()
        own.start()  # which ends what the one before left running
        assert not docker.DockerClient(own.host).containers.list()
        before = kept(project, CELL)
        done = train(project, CELL, DOCKER_HOST=own.host)
        assert done.returncode == 0 and not done.stderr, done.stderr
        check_end(project, CELL, 0, before)
