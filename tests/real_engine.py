"""The real Docker engine for the tests that need one: they fail without it where FACEOFF_REQUIRE_ENGINE is set."""

import os

import pytest

from stages.errors import FaceoffError
from stages.harness import images
from stages.harness.engine import DockerEngine
from tests.project import ROOT

REQUIRED = "FACEOFF_REQUIRE_ENGINE"


def connect() -> DockerEngine:
    """The engine. Skips the test where there is none, unless there has to be one."""
    try:
        return DockerEngine()
    except FaceoffError as error:
        if os.environ.get(REQUIRED):
            pytest.fail(f"{REQUIRED} is set, and {error}")
        pytest.skip(f"no Docker engine: {error}")


def base(engine: DockerEngine) -> str:
    """A small image with Python in it: the base of the legacy images, or this site's own."""
    build = images.load("cuda-10.0", ROOT).build
    assert build is not None
    reference = os.environ.get(images.BASE_VARIABLE) or build.base
    if engine.find(reference) is None:
        engine.pull(reference, print)
    return reference
