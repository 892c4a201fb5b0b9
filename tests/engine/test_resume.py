"""Trainings of fastai 1 in containers that end early: the container is killed, or the engine itself is."""

import contextlib
import dataclasses
import os
import shutil
import signal
import subprocess
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import docker
import pytest

from stages import codec, records
from stages.harness.engine import DockerEngine
from tests import real_engine, training
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
    assert trained.sittings == 2 and not (project / cell(IMAGE).checkpoint_path).exists()


@pytest.mark.parametrize("epochs", [1, 2])
def test_a_container_that_is_killed(engine: DockerEngine, project: Path, undisturbed: Path, epochs: int) -> None:
    with training.started(project, IMAGE) as process:
        training.wait_for(process, lambda: len(kept_epochs(project, IMAGE)) >= epochs)
        [container] = real_engine.containers(engine, f"faceoff.pid={process.pid}")
        container.kill()
        output, _ = process.communicate(timeout=training.PATIENCE_SECONDS)
    assert process.returncode == 128 + signal.SIGKILL, output
    goes_on_to_the_same_end(project, undisturbed)


def test_an_engine_that_is_killed(engine: DockerEngine, project: Path, undisturbed: Path, tmp_path: Path) -> None:
    reference = codec.read(project / records.image_path(IMAGE), records.Image).reference
    with daemon(tmp_path) as start:
        address, pid = start()
        client = docker.DockerClient(address, timeout=600)
        client.images.load(engine._client.images.get(reference).save(named=True))
        with training.started(project, IMAGE, DOCKER_HOST=address) as process:
            training.wait_for(process, lambda: len(kept_epochs(project, IMAGE)) >= 1)
            os.kill(pid, signal.SIGKILL)
            output, _ = process.communicate(timeout=training.PATIENCE_SECONDS)
        assert process.returncode not in (0, None) and "Traceback" not in output, output
        start()  # which ends what the one before left running
        assert not client.containers.list()
        assert not (project / cell(IMAGE).train_path).exists()
        goes_on_to_the_same_end(project, undisturbed, DOCKER_HOST=address)


@contextlib.contextmanager
def daemon(folder: Path) -> Iterator[Callable[[], tuple[str, int]]]:
    """Starts an engine of the test's own, again and again on the same data; gives its address and process id."""
    if os.getuid() != 0:
        pytest.skip("only root starts a Docker engine")
    run, address = folder / "run", f"unix://{folder}/sock"
    data = ["--data-root", str(folder / "data"), "--exec-root", str(run), "--pidfile", str(folder / "pid")]
    running: list[subprocess.Popen[bytes]] = []

    def start() -> tuple[str, int]:
        (folder / "pid").unlink(missing_ok=True)
        log = (folder / "dockerd.log").open("ab")
        command = ["dockerd", "--host", address, *data, "--bridge=none", "--iptables=false"]
        running.append(subprocess.Popen(command, stdout=log, stderr=log))
        for _ in range(600):
            with contextlib.suppress(docker.errors.DockerException):
                if docker.DockerClient(address).ping():
                    return address, running[-1].pid
            assert running[-1].poll() is None, (folder / "dockerd.log").read_text()
            time.sleep(0.1)
        raise AssertionError("dockerd does not answer")

    try:
        yield start
    finally:
        for each in running:
            each.terminate()
            each.wait()
        for file in run.glob("containerd/*.pid"):  # survives a dockerd that was killed
            with contextlib.suppress(ProcessLookupError, ValueError):
                os.kill(int(file.read_text()), signal.SIGTERM)
        for mount in (folder / "data", run):
            subprocess.run(["umount", "--recursive", "--lazy", str(mount)], capture_output=True)
        shutil.rmtree(folder / "data")  # gigabytes
