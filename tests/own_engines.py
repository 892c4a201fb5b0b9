"""What tests ask of engines of their own, Docker's and Podman's alike: whose the files are, and which limits hold."""

import os
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from stages.harness.environments.docker_engine import DockerEngine
from tests import tiny_image
from tests.daemon import Daemon
from tests.real_engine import make_job

WRITE = 'echo "$(umask)" > result; test -O result'
LIMITS = ("memory", "cpus", "cpuset")
FOUND_LIMITS = """
for each in memory.max cpu.max cpuset.cpus.effective; do
    if [ -e /sys/fs/cgroup/$each ]; then read -r line < /sys/fs/cgroup/$each; else line=none; fi
    echo "$line"
done > limits
"""


def connect(started: Daemon) -> DockerEngine:
    """The engine as faceoff finds it."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("DOCKER_HOST", started.host)
        return DockerEngine()


@contextmanager
def home(user: str) -> Iterator[Path]:
    """A folder of a rootless engine's user, uid:gid, who may not enter pytest's."""
    with tempfile.TemporaryDirectory(prefix="h-") as folder:
        os.chown(folder, *map(int, user.split(":")))
        yield Path(folder)


def owner_of_result(engine: DockerEngine, folder: Path, user: str) -> str:
    """uid:gid of what a job of the user writes there, which inside is the job's own too."""
    job = make_job(tiny_image.load(engine), folder, "sh", "-c", WRITE, user=user)
    assert engine.run(job).exit_code == 0
    found = (folder / "result").stat()
    return f"{found.st_uid}:{found.st_gid}"


def held(engine: DockerEngine, folder: Path, user: str) -> set[str]:
    """Keys of `container` whose limits hold in a rootless engine's container, as cgroup 2 shows: under 1 none can."""
    limits = {"memory_bytes": 2**28, "cpus": 1.0, "cpuset": "0"}
    job = make_job(tiny_image.load(engine), folder, "sh", "-c", FOUND_LIMITS, user=user, **limits)
    assert engine.run(job).exit_code == 0
    found = (folder / "limits").read_text().splitlines()
    wanted = {"memory": str(2**28), "cpus": "100000 100000", "cpuset": "0"}
    return {key for (key, value), each in zip(wanted.items(), found, strict=True) if value == each}
