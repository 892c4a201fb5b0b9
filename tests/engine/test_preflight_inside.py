"""Preflight inside real containers: what cannot work there is refused before any epoch, in one line each."""

from pathlib import Path

import pytest

from stages import codec
from stages.records import Preflight, preflight_path
from tests import real_engine
from tests.project import DOGS_CATS, make_project, run_stage, stage

pytestmark = [pytest.mark.engine, pytest.mark.slow]
IMAGE = "cuda-10.0"


def make(folder: Path, **container: object) -> Path:
    """The article's batch of 64 photos of 224 px, in a container with these limits."""
    real_engine.connect()
    make_project(
        folder,
        [IMAGE],
        job="dogs_cats",
        dogs_cats={
            "recipe": {**DOGS_CATS["recipe"], "size": 224, "workers": 2},
            "dataset": {**DOGS_CATS["dataset"], "train_photos": 128, "valid_photos": 4},
        },
        variants={"fp32-bs64": {"precision": "fp32", "batch_size": 64}},
        container=container,
    )
    for each in (["machine"], ["job"], ["download"], ["image", IMAGE]):
        stage(folder, *each)
    return folder


def refused(folder: Path) -> list[str]:
    """The lines of stage `profile`, which must fail."""
    done = run_stage(folder, "inside", IMAGE, "--profile")
    assert done.returncode == 1, done.stdout
    assert "Traceback" not in done.stderr
    return [line for line in done.stderr.splitlines() if line.startswith("faceoff: ")]


def test_the_articles_crash_is_refused_and_told_what_to_set(tmp_path: Path) -> None:
    """Its bus error: batches of 64 in Docker's 64 MB."""
    [line] = refused(make(tmp_path, shm_size="64m"))
    assert line.startswith("faceoff: shared memory, fp32-bs64: needs 183.9 MiB in /dev/shm; found: 64 MiB")
    assert "container.shm_size: 192m in params.yaml" in line


def test_a_memory_limit_that_kills_the_dry_run_is_told_as_such(tmp_path: Path) -> None:
    folder = make(tmp_path, memory="800m")
    line = refused(folder)[0]
    assert line.startswith("faceoff: memory, fp32-bs64: needs more than ")
    assert "800 MiB (limit)" in line and "raise container.memory" in line
    checks = codec.read(folder / preflight_path(IMAGE), Preflight).checks
    assert [check.name for check in checks if check.status == "failed"] == ["memory, fp32-bs64"]
