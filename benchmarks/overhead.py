"""What faceoff adds to training: its epoch times against a plain fastai script's, and a cell's time around its epochs.

python -m benchmarks.overhead [IMAGE] [--rounds N]

Runs a plain script and a cell in turn, in one image and on the same photos, and prints the ratio of their epoch times
pair by pair; the plain script's are what fastai's own recorder reports. Beside it, free of the machine's noise: what
faceoff and the recorder say of the very same epochs. Takes minutes; wants an idle machine.
"""

import argparse
import json
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from stages.codec import read
from stages.errors import run_entry
from stages.records import Cell, TrainResult
from tests.project import ROOT, make_project, stage

SIZE, BATCH_SIZE, FROZEN_EPOCHS, UNFROZEN_EPOCHS = 96, 16, 1, 2


@dataclass(frozen=True)
class Round:
    """A plain run and a cell, one after the other."""

    plain_seconds: list[float]  # per epoch of the plain script, as fastai's recorder reports them
    cell_seconds: list[float]  # per epoch of the cell, as faceoff reports them
    recorder_seconds: list[float]  # the same epochs, as fastai's recorder reports them
    around_seconds: float  # of the cell's process, beside its epochs and the import of fastai

    @property
    def ratio(self) -> float:
        """Cell to plain, over all epochs."""
        return sum(self.cell_seconds) / sum(self.plain_seconds)

    @property
    def clocks_ratio(self) -> float:
        """Faceoff's clock to the recorder's, on the same epochs."""
        return sum(self.cell_seconds) / sum(self.recorder_seconds)


def main() -> int:
    parser = argparse.ArgumentParser(description="Epoch times and wall time of a cell beside a plain fastai script's.")
    parser.add_argument("image", nargs="?", default="host")
    parser.add_argument("--rounds", type=int, default=5)
    arguments = parser.parse_args()
    with project(arguments.image) as folder:
        rounds = [run_round(folder, arguments.image, repeat) for repeat in range(1, arguments.rounds + 1)]
    ratios = [each.ratio for each in rounds]
    around = [each.around_seconds for each in rounds]
    print(f"image {arguments.image}, {arguments.rounds} rounds, {FROZEN_EPOCHS + UNFROZEN_EPOCHS} epochs each")
    print(f"epoch time, cell / plain script: {spread(ratios, '.4f')}")
    print(f"the same epochs, faceoff / fastai's recorder: {spread([each.clocks_ratio for each in rounds], '.6f')}")
    print(f"cell's wall time beside epochs and import, s: {spread(around, '.2f')}")
    return 0


def spread(values: list[float], form: str) -> str:
    low, median, high = (format(each, form) for each in (min(values), statistics.median(values), max(values)))
    return f"median {median} (min {low}, max {high})"


def run_round(folder: Path, image: str, repeat: int) -> Round:
    numbers = [str(each) for each in (SIZE, BATCH_SIZE, FROZEN_EPOCHS, UNFROZEN_EPOCHS)]
    cell = Cell(image, "fp32", BATCH_SIZE, repeat)
    place = ["--image", image, "--precision", "fp32", "--batch-size", str(BATCH_SIZE), "--repeat", str(repeat)]
    plain, recorder = folder / "models/plain.json", folder / "models/recorder.json"
    inside(folder, image, ["python", "-c", source("plain_fastai.py"), str(plain), *numbers])
    wall_seconds = inside(folder, image, ["python", "-c", source("recorded_cell.py"), str(recorder), *place])
    result = read(folder / cell.train_path, TrainResult)
    cell_seconds = [epoch.epoch_seconds for epoch in result.epochs]
    assert result.import_seconds is not None, result.reason  # noqa: S101 - fp32 is never 'unsupported'
    around_seconds = wall_seconds - sum(cell_seconds) - result.import_seconds
    done = Round(
        json.loads(plain.read_text(encoding="utf-8")),
        cell_seconds,
        json.loads(recorder.read_text(encoding="utf-8"))[: len(cell_seconds)],  # the rest are no epochs but ceilings
        around_seconds,
    )
    print(f"round {repeat}: ratio {done.ratio:.4f}, {done.around_seconds:.2f} s around the epochs", flush=True)
    return done


def source(name: str) -> str:
    """A script's text: images see no folder benchmarks/."""
    return (ROOT / "benchmarks" / name).read_text(encoding="utf-8")


def inside(folder: Path, image: str, command: list[str]) -> float:
    """Run the command in the image, from `folder`; the seconds that it took, a container's start included."""
    began = time.perf_counter()
    whole = [sys.executable, "-m", "stages.inside", image, "--", *command]
    done = subprocess.run(whole, cwd=folder, capture_output=True, text=True)
    if done.returncode:
        sys.exit(f"{done.stdout}{done.stderr}\nbenchmarks/overhead: the command above ended with {done.returncode}")
    return time.perf_counter() - began


@contextmanager
def project(image: str) -> Iterator[Path]:
    """A project of the benchmark's own with drawn photos and the image; nothing of the checkout changes."""
    with tempfile.TemporaryDirectory(prefix="faceoff-overhead-") as name:
        recipe = {"arch": "resnet18", "pretrained": False, "size": SIZE, "channels_last": False, "workers": 2}
        folder = make_project(
            Path(name),
            [image],
            dataset={"source": "synthetic", "train_photos": 480, "valid_photos": 96},
            recipe={**recipe, "frozen_epochs": FROZEN_EPOCHS, "unfrozen_epochs": UNFROZEN_EPOCHS},
        )
        stage(folder, "download")
        stage(folder, "machine")
        stage(folder, "image", image)
        yield folder


if __name__ == "__main__":
    run_entry(main)
