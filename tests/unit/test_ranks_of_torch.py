"""torch's own launchers and gloo: today's here, that of torch 1.2 in its image, in a container without a network."""

import os
import subprocess
from pathlib import Path

import pytest

from stages import codec
from stages.records import Variant
from tests import real_engine
from tests.project import ROOT
from tests.supervised import CELL, Checkout

pytestmark = pytest.mark.slow

EXAMPLE = (ROOT / "jobs/data_parallel/train.py").read_text()
# The other one waits for it in all_reduce, and dies of that.
DIES = """
import sys, torch
from torch import distributed
distributed.init_process_group("gloo")
if distributed.get_rank() == 1:
    raise ValueError("not with me")
distributed.all_reduce(torch.ones(1))
"""
HERE, OLD = "this torch", pytest.param("torch 1.2", marks=pytest.mark.engine)


@pytest.fixture
def checkout(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Checkout:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "")  # on a machine with one card too
    checkout = Checkout(tmp_path, observe=True)
    checkout.variant = Variant({}, {"OMP_NUM_THREADS": "1"}, gpus=2)
    return checkout


def train(checkout: Checkout, where: str, text: str) -> str:
    """Run it as two processes; what was printed."""
    command = (*checkout.script(text), "--out", str(CELL.output_dir.absolute()))
    if where == HERE:
        done = checkout.run("train", command, timeout=300, ranks=2)
        return done.stdout + done.stderr
    images = real_engine.connect()._client.images.list("faceoff/cuda-10.0")
    if not images:
        real_engine.unable("cuda-10.0 is not built")
    codec.write(CELL.task_path("train"), checkout.task("train", command, ranks=2))
    for path in (CELL.events_path, CELL.running_path):
        path.touch()
    places = [f"--volume={ROOT / 'stages'}:{ROOT / 'stages'}:ro", f"--volume={checkout.root}:{checkout.root}"]
    user = [f"--user={os.getuid()}:{os.getgid()}", "--env=HOME=/tmp", "--env=USER=faceoff"]
    words = ["python", "-m", "stages.train", "--task", str(CELL.task_path("train"))]
    docker = ["docker", "run", "--rm", "--init", "--network=none", f"--workdir={checkout.root}", "--entrypoint="]
    done = subprocess.run([*docker, *places, *user, images[0].id, *words], capture_output=True, text=True, timeout=300)
    return done.stdout + done.stderr


@pytest.mark.parametrize("where", [HERE, OLD])
def test_two_processes_share_the_images(checkout, where):
    said = train(checkout, where, EXAMPLE)
    assert (checkout.root / CELL.result_path("train")).exists(), said
    found = checkout.result()
    assert all(f"rank {rank} of 2 epoch 3 loss" in said for rank in (0, 1))
    assert [(each.name, each.samples, each.steps) for each in found.spans] == [("train", 1024, 16)] * 3, found.notes
    assert (CELL.output_dir / "model.pt").exists()


@pytest.mark.parametrize("where", [HERE, OLD])
def test_the_rank_that_died_is_named(checkout, where, monkeypatch):
    temporary = checkout.root / "tmp"
    temporary.mkdir()
    monkeypatch.setenv("TMPDIR", str(temporary))
    said = train(checkout, where, DIES)
    assert not [each.name for each in temporary.iterdir()]
    assert checkout.reason == "rank 1 of 2 ended with exit code 1: ValueError: not with me", said
