"""Podman services of the tests' own: rootless, killed, and one that drops what it does not know.

On the socket of a plain one CI runs all tests of engines: .ci/run.
"""

import os
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest

from stages.harness.environments.docker_engine import DockerEngine
from tests import podman, tiny_image
from tests.real_engine import make_job

pytestmark = pytest.mark.engine

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
    assert engine.run(make_job(tiny_image.load(engine), home, "sh", "-c", "exit 0", **limits)).exit_code == 0
    if not Path("/sys/fs/cgroup/cgroup.controllers").exists():
        assert {"memory", "cpus", "cpuset"} <= {*about.unenforced}
