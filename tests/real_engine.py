"""The real Docker engine for the tests that need one: they fail without it where FACEOFF_REQUIRE_ENGINE is set."""

import contextlib
import dataclasses
import os
from collections.abc import Callable
from pathlib import Path
from typing import Any, NoReturn

import pytest
from docker.models.containers import Container

from stages.errors import FaceoffError
from stages.harness.environments import container, definition
from stages.harness.environments.docker_engine import DockerEngine
from stages.harness.environments.launch import Job, Mount
from tests.project import ROOT

REQUIRED = "FACEOFF_REQUIRE_ENGINE"


def unable(reason: str) -> NoReturn:
    """Skip the test, or fail it where all that tests need has to be there."""
    if os.environ.get(REQUIRED):
        pytest.fail(f"{REQUIRED} is set, and {reason}")
    pytest.skip(reason)


def connect() -> DockerEngine:
    """The engine. Skips the test where there is none, unless there has to be one."""
    try:
        return DockerEngine()
    except FaceoffError as error:
        unable(f"there is no Docker engine: {error}")


def is_podman(engine: DockerEngine) -> bool:
    """Whether it is Podman at the socket: what Podman does otherwise, each test says where it meets it."""
    return engine.about().name == "Podman"


def base(engine: DockerEngine) -> str:
    """A small image with Python in it: the base of the legacy images, or this site's own."""
    build = definition.load("cuda-10.0", ROOT).build
    assert build is not None
    reference = os.environ.get(container.BASE_VARIABLE) or build.base
    if engine.find(reference) is None:
        engine.pull(reference, print)
    return reference


def remove_image(engine: object, reference: str) -> None:
    """Remove what a test has built, if it has."""
    if isinstance(engine, DockerEngine) and engine.find(reference) is not None:
        engine._client.images.remove(reference, force=True)


def containers(engine: DockerEngine, label: str) -> list[Container]:
    """Containers, running or not, that bear the label 'key=value'."""
    found: list[Container] = engine._client.containers.list(all=True, filters={"label": label}, ignore_removed=True)
    return found


def patiently(run: Callable[[int], int]) -> int:
    """Run with a patience of 2 s; with more where a busy machine's engine takes longer for what is asked."""
    for patience_seconds in (2, 8):
        with contextlib.suppress(FaceoffError):
            return run(patience_seconds)
    return run(30)


def make_job(reference: str, folder: Path, *command: str, **changes: Any) -> Job:
    """A job in a folder that it may write, without limits; `changes` by field."""
    job = Job(
        reference=reference,
        command=command,
        directory=folder,
        mounts=(Mount(folder, folder, False),),
        environment={},
        user=f"{os.getuid()}:{os.getgid()}",
        gpu_uuids=None,
        shm_bytes=64 * 2**20,
        memory_bytes=None,
        cpus=None,
        cpuset=None,
        tty=False,
        labels={"faceoff": "test"},
    )
    return dataclasses.replace(job, **changes)
