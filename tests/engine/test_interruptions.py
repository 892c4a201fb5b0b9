"""Ctrl-C, SIGTERM and SIGKILL of a real DVC while a container runs; tests/faults has image host, and every stage."""

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from tests import real_engine
from tests.engine import test_deaths

pytestmark = pytest.mark.engine

PATIENCE_SECONDS = 60
STAGE = """
stages:
  job:
    cmd: exec python -m stages.inside probe -- sh -c 'touch models/begun; sleep 600'
"""


@pytest.fixture(scope="module")
def root(tmp_path_factory: pytest.TempPathFactory) -> Path:
    root = test_deaths.make(tmp_path_factory.mktemp("project"), real_engine.base(real_engine.connect()))
    test_deaths.make_image(root)
    (root / "dvc.yaml").write_text(STAGE)
    subprocess.run(["dvc", "init", "-q", "--no-scm"], cwd=root, env=environment(), check=True)
    return root


def environment() -> dict[str, str]:
    """SHELL is what DVC runs the stage with: here one that does not replace itself by a single command."""
    return {**os.environ, "PATH": f"{Path(sys.executable).parent}:{os.environ['PATH']}", "SHELL": "/bin/sh"}


def begin(root: Path) -> subprocess.Popen[bytes]:
    """DVC, whose stage's container runs."""
    (root / "models/begun").unlink(missing_ok=True)
    process = subprocess.Popen(["dvc", "repro"], cwd=root, env=environment(), start_new_session=True)
    end = time.monotonic() + PATIENCE_SECONDS
    while not (root / "models/begun").exists():
        assert time.monotonic() < end
        time.sleep(0.1)
    assert len(test_deaths.containers(root)) == 1
    return process


def wait_for_none(root: Path) -> None:
    end = time.monotonic() + PATIENCE_SECONDS
    while test_deaths.containers(root):
        assert time.monotonic() < end, "the container is still there"
        time.sleep(0.1)


@pytest.mark.parametrize("how", ["Ctrl-C", "SIGTERM", "SIGKILL"])
def test_no_container_outlives_dvc(root: Path, how: str) -> None:
    process = begin(root)
    if how == "Ctrl-C":
        os.killpg(process.pid, signal.SIGINT)
    else:
        process.send_signal(signal.Signals[how])
    assert process.wait(PATIENCE_SECONDS) != 0
    wait_for_none(root)
    following = begin(root)  # which works
    following.terminate()
    following.wait(PATIENCE_SECONDS)
    wait_for_none(root)
