"""What is foretold of /dev/shm, against the real job: with half of it the training fails, with it the training passes.

fastai 1 in containers of cuda-10.0; fastai 2 on this machine, with a /dev/shm of its own in a mount namespace.
"""

import shlex
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from jobs.dogs_cats import needs, parameters
from stages.codec import read
from stages.records import Cell, Result
from tests import real_engine
from tests.mounts import mounting
from tests.project import DOGS_CATS, make_project, run_stage, stage

pytestmark = [pytest.mark.engine, pytest.mark.slow]

PAGE_BYTES = 4096
FASTAI_1, FASTAI_2 = (4, 4, 64), (8, 2, 64)  # batch size, workers, edge of the photos
BATCHES = 60  # many more than can wait in /dev/shm at once, whatever stays uncollected in fastai 2


def test_fastai_1_in_a_container(tmp_path: Path) -> None:
    real_engine.connect()
    folder = make(tmp_path, "cuda-10.0", FASTAI_1)
    params = (folder / "params.yaml").read_text()

    def train(size_bytes: int) -> subprocess.CompletedProcess[str]:
        (folder / "params.yaml").write_text(params.replace("shm_size: 1g", f"shm_size: {size_bytes}b"))
        return run_stage(folder, *train_arguments("cuda-10.0"))

    check(folder, "cuda-10.0", needed_bytes("1.0.48", FASTAI_1), train)


def test_fastai_2_on_this_machine(tmp_path: Path) -> None:
    folder = make(tmp_path, "host", FASTAI_2)
    entry, *arguments = train_arguments("host")

    def train(size_bytes: int) -> subprocess.CompletedProcess[str]:
        command = shlex.join([sys.executable, "-m", f"stages.{entry}", *arguments])
        return mounting(f"mount -t tmpfs -o size={size_bytes} tmpfs /dev/shm\n{command}", folder)

    check(folder, "host", needed_bytes("2.8.12", FASTAI_2), train)


def check(folder: Path, image: str, needed: int, train: Callable[[int], subprocess.CompletedProcess[str]]) -> None:
    """Train with half of /dev/shm, then with all."""
    done = train(needed // 2 // PAGE_BYTES * PAGE_BYTES)
    assert done.returncode == 1, done.stdout
    assert "faceoff: the loader's processes ran out of shared memory" in done.stderr
    done = train(needed)
    assert done.returncode == 0, done.stderr
    result: Result = read(folder / Cell(image, "plain", 1).result_path("train"), Result)
    assert result.status == "ok"


def make(folder: Path, image: str, setting: tuple[int, int, int]) -> Path:
    """A project whose photos and image are there, and nothing trained."""
    batch_size, workers, size = setting
    photos = {"train_photos": BATCHES * batch_size, "valid_photos": 2 * batch_size}
    section = {
        "dataset": {**DOGS_CATS["dataset"], **photos},
        "recipe": {**DOGS_CATS["recipe"], "unfrozen_epochs": 0, "workers": workers, "size": size},
    }
    variants = {"plain": {"precision": "fp32", "batch_size": batch_size}}
    make_project(folder, [image], job="dogs_cats", variants=variants, dogs_cats=section)
    for command in (["machine"], ["job"], ["download"], ["image", image]):
        stage(folder, *command)
    return folder


def train_arguments(image: str) -> list[str]:
    return ["inside", image, "--result", str(Cell(image, "plain", 1).result_path("train"))]


def needed_bytes(fastai: str, setting: tuple[int, int, int]) -> int:
    batch_size, workers, size = setting
    own = {"precision": "fp32", "batch_size": batch_size, "workers": workers, "size": size}
    return needs.shared_memory_bytes(fastai, False, batch_size, parameters.choice(DOGS_CATS, own, "variants").recipe)
