"""Preflight inside real containers: what cannot work there is refused before any epoch, in one line each."""

from pathlib import Path

import pytest

from stages import codec
from stages.records import Preflight, preflight_path
from tests import real_engine
from tests.project import make_project, run_stage, stage

pytestmark = [pytest.mark.engine, pytest.mark.slow]
IMAGE = "cuda-10.0"


def make(folder: Path, **container: object) -> Path:
    """The article's batch of 64 photos of 224 px, in a container with these limits."""
    real_engine.connect()
    make_project(
        folder,
        [IMAGE],
        recipe={"arch": "resnet18", "pretrained": False, "size": 224, "workers": 2},
        dataset={"train_photos": 128, "valid_photos": 4},
        precisions=["fp32"],
        batch_sizes=[64],
        compare={"baseline": f"{IMAGE}/fp32-bs64"},
        container=container,
    )
    stage(folder, "download")
    stage(folder, "machine")
    stage(folder, "image", IMAGE)
    return folder


def refused(folder: Path) -> list[str]:
    """The lines of `preflight_inside`, which must fail."""
    done = run_stage(folder, "inside", IMAGE, "--", "python", "-m", "stages.preflight_inside", "--image", IMAGE)
    assert done.returncode == 1, done.stdout
    assert "Traceback" not in done.stderr
    return [line for line in done.stderr.splitlines() if line.startswith("faceoff: ")]


def test_the_articles_crash_is_refused_and_told_what_to_set(tmp_path: Path) -> None:
    """Its bus error: batches of 64 in Docker's 64 MB."""
    [line] = refused(make(tmp_path, shm_size="64m"))
    assert line.startswith("faceoff: shared memory, batch size 64: needs 183.9 MiB in /dev/shm; found: 64 MiB")
    assert "container.shm_size: 192m in params.yaml" in line


def test_a_memory_limit_that_kills_the_dry_run_is_told_as_such(tmp_path: Path) -> None:
    folder = make(tmp_path, memory="800m")
    line = refused(folder)[0]
    assert line.startswith("faceoff: memory, fp32, batch size 64: needs more than ")
    assert "800 MiB (limit)" in line and "raise container.memory" in line
    checks = codec.read(folder / preflight_path(IMAGE), Preflight).checks
    assert [check.name for check in checks if check.status == "failed"] == ["memory, fp32, batch size 64"]
