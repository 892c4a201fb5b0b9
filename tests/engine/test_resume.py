"""Trainings of fastai 1 in containers that end early: the container is killed, or the engine itself is."""

import dataclasses
import shutil
import signal
import tempfile
from pathlib import Path

import docker
import pytest

from stages import codec, records
from stages.harness.environments.docker_engine import DockerEngine
from tests import daemon, real_engine, training
from tests.training import cell, kept_epochs, learned, result

pytestmark = [pytest.mark.engine, pytest.mark.slow]

IMAGE = "cuda-10.0"


@pytest.fixture(scope="module")
def engine() -> DockerEngine:
    return real_engine.connect()


@pytest.fixture(scope="module")
def undisturbed(engine: DockerEngine, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A project in which the cell was trained in one sitting."""
    folder = training.prepared(tmp_path_factory.mktemp("project"), IMAGE)
    done = training.run(folder, IMAGE)
    assert done.returncode == 0, done.stderr
    return folder


@pytest.fixture
def project(undisturbed: Path, tmp_path: Path) -> Path:
    """The same, not trained yet."""
    folder = tmp_path / "project"
    shutil.copytree(undisturbed, folder)
    shutil.rmtree(folder / "models")
    (folder / cell(IMAGE).train_path).unlink()
    return folder


def goes_on_to_the_same_end(project: Path, undisturbed: Path, **environment: str) -> None:
    kept = kept_epochs(project, IMAGE)
    done = training.run(project, IMAGE, **environment)
    assert done.returncode == 0, done.stderr
    assert f"goes on after epoch {len(kept)} of " in done.stdout
    trained = result(project, IMAGE)
    assert learned(trained) == learned(result(undisturbed, IMAGE))
    assert [dataclasses.asdict(epoch) for epoch in trained.epochs[: len(kept)]] == kept
    assert [each.after_epochs for each in trained.sittings] == [0, len(kept)]


@pytest.mark.parametrize("epochs", [1, 2])
def test_a_container_that_is_killed(engine: DockerEngine, project: Path, undisturbed: Path, epochs: int) -> None:
    with training.started(project, IMAGE) as process:
        training.wait_for(process, lambda: len(kept_epochs(project, IMAGE)) >= epochs)
        [container] = real_engine.containers(engine, f"faceoff.pid={process.pid}")
        container.kill()
        output, _ = process.communicate(timeout=training.PATIENCE_SECONDS)
    assert process.returncode == 128 + signal.SIGKILL, output
    goes_on_to_the_same_end(project, undisturbed)


def test_an_engine_that_is_killed(engine: DockerEngine, project: Path, undisturbed: Path) -> None:
    reference = codec.read(project / records.image_path(IMAGE), records.Image).reference
    with tempfile.TemporaryDirectory(prefix="d-") as folder, daemon.running(Path(folder)) as own:
        own.load(reference)
        with training.started(project, IMAGE, DOCKER_HOST=own.host) as process:
            training.wait_for(process, lambda: len(kept_epochs(project, IMAGE)) >= 1)
            own.kill()
            output, _ = process.communicate(timeout=training.PATIENCE_SECONDS)
        assert process.returncode not in (0, None) and "Traceback" not in output, output
        own.start()  # which ends what the one before left running
        assert not docker.DockerClient(own.host).containers.list()
        assert not (project / cell(IMAGE).train_path).exists()
        goes_on_to_the_same_end(project, undisturbed, DOCKER_HOST=own.host)
