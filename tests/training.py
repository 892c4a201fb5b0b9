"""A training of a small project as a process that tests watch and kill."""

import contextlib
import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

from stages.codec import read
from stages.records import Cell, TrainResult
from tests.project import make_project, stage

FROZEN_EPOCHS, UNFROZEN_EPOCHS = 1, 3
PATIENCE_SECONDS = 300
ENVIRONMENT = {**os.environ, "OMP_NUM_THREADS": "1"}  # threads wait for each other where others take the CPUs


def prepared(folder: Path, image: str, **recipe: Any) -> Path:
    """A project in which one cell of the image can be trained at once."""
    small = {"arch": "resnet18", "pretrained": False, "size": 32, "workers": 1}
    epochs = {"frozen_epochs": FROZEN_EPOCHS, "unfrozen_epochs": UNFROZEN_EPOCHS}
    dataset = {"train_photos": 64, "valid_photos": 16}
    make_project(folder, [image], dataset=dataset, recipe={**small, **epochs, **recipe})
    for command in (["download"], ["machine"], ["image", image]):
        stage(folder, *command)
    return folder


def cell(image: str) -> Cell:
    return Cell(image, "fp32", 16, 1)


def command(image: str) -> list[str]:
    """As in dvc.yaml."""
    place = ["--image", image, "--precision", "fp32", "--batch-size", "16", "--repeat", "1"]
    inside = [sys.executable, "-m", "stages.inside", image, "--result", str(cell(image).train_path)]
    return [*inside, "--", "python", "-m", "stages.train", *place]


def run(folder: Path, image: str, **environment: str) -> subprocess.CompletedProcess[str]:
    """Train to the end, whichever that is."""
    wanted = {**ENVIRONMENT, **environment}
    return subprocess.run(command(image), cwd=folder, env=wanted, capture_output=True, text=True)


@contextlib.contextmanager
def started(folder: Path, image: str, **environment: str) -> Iterator[subprocess.Popen[str]]:
    """A training under way."""
    wanted = {**ENVIRONMENT, **environment}
    process = subprocess.Popen(
        command(image), cwd=folder, env=wanted, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True
    )
    try:
        yield process
    finally:
        process.send_signal(signal.SIGTERM)
        process.communicate()


def kill(process: subprocess.Popen[str]) -> None:
    """SIGKILL for the process that trains, not for `stages.inside`, which starts it; the latter must end by itself."""
    [trains] = [int(pid) for pid in Path(f"/proc/{process.pid}/task/{process.pid}/children").read_text().split()]
    os.kill(trains, signal.SIGKILL)
    output, _ = process.communicate(timeout=PATIENCE_SECONDS)
    assert process.returncode == 128 + signal.SIGKILL, output


def wait_for(process: subprocess.Popen[str], happened: Callable[[], bool]) -> None:
    began = time.monotonic()
    while not happened():
        assert process.poll() is None, f"the training ended too early: {process.communicate()[0]}"
        assert time.monotonic() - began < PATIENCE_SECONDS
        time.sleep(0.001)


def kept_epochs(folder: Path, image: str) -> list[dict[str, Any]]:
    """What the cell's checkpoint holds; nothing where there is none."""
    try:
        with (folder / cell(image).checkpoint_path).open("rb") as file:
            file.readline()
            epochs: list[dict[str, Any]] = json.loads(file.readline())["progress"]["epochs"]
            return epochs
    except FileNotFoundError:
        return []


def result(folder: Path, image: str) -> TrainResult:
    return read(folder / cell(image).train_path, TrainResult)


def learned(trained: TrainResult) -> list[tuple[object, ...]]:
    """What of its epochs does not depend on clocks and memory."""
    return [(each.phase, each.index, each.train_loss, each.valid_loss, each.accuracy) for each in trained.epochs]
