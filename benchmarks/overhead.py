"""What faceoff adds to training: a cell's epoch times against a plain fastai script's, and its time around its epochs.

python -m benchmarks.overhead [IMAGE] [--rounds N]

Runs a plain script and a cell in turn, in one image and on the same photos, and prints the ratio of their epoch times
pair by pair; the plain script's are what fastai's own recorder reports. Beside it, free of the machine's noise: what
the job and the recorder say of the very same epochs. Takes minutes; wants an idle machine.
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
from typing import Any

from stages.codec import read
from stages.errors import run_entry
from stages.records import Cell, Result
from tests.project import DOGS_CATS, ROOT, cell_stage, make_project, stage

MOST_ROUNDS = 100
SIZE, BATCH_SIZE, FROZEN_EPOCHS, UNFROZEN_EPOCHS = 96, 16, 1, 2
VARIANT = "plain"


@dataclass(frozen=True)
class Round:
    """A plain run and a cell, one after the other."""

    plain_seconds: list[float]  # per epoch of the plain script, as fastai's recorder reports them
    cell_seconds: list[float]  # per epoch of the cell, as the job reports them
    recorder_seconds: list[float]  # the same epochs, as fastai's recorder reports them
    around_seconds: float  # of the cell's stage, beside its epochs

    @property
    def ratio(self) -> float:
        """Return cell to plain, over all epochs."""
        return sum(self.cell_seconds) / sum(self.plain_seconds)

    @property
    def clocks_ratio(self) -> float:
        """Return the job's clock to the recorder's, on the same epochs."""
        return sum(self.cell_seconds) / sum(self.recorder_seconds)


def main() -> int:
    """Run the rounds and print what they show."""
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
    print(f"the same epochs, the job / fastai's recorder: {spread([each.clocks_ratio for each in rounds], '.6f')}")
    print(f"cell's wall time beside its epochs, s: {spread(around, '.2f')}")
    return 0


def spread(values: list[float], form: str) -> str:
    """Say where the values lie."""
    low, median, high = (format(each, form) for each in (min(values), statistics.median(values), max(values)))
    return f"median {median} (min {low}, max {high})"


def run_round(folder: Path, image: str, repeat: int) -> Round:
    """Run the plain script, then a cell."""
    numbers = [str(each) for each in (SIZE, BATCH_SIZE, FROZEN_EPOCHS, UNFROZEN_EPOCHS)]
    cell, plain = Cell(image, VARIANT, repeat), folder / "models/plain.json"
    inside(folder, image, ["python", "-c", source("plain_fastai.py"), str(plain), *numbers])
    began = time.perf_counter()
    cell_stage(folder, "train", image, VARIANT, repeat)
    wall_seconds = time.perf_counter() - began
    cell_seconds = [span.seconds for span in read(folder / cell.result_path("train"), Result).spans]
    recorder = json.loads((folder / cell.output_dir / "recorder.json").read_text(encoding="utf-8"))
    done = Round(
        json.loads(plain.read_text(encoding="utf-8")),
        cell_seconds,
        recorder[: len(cell_seconds)],  # the rest are no epochs but ceilings
        wall_seconds - sum(cell_seconds),
    )
    print(f"round {repeat}: ratio {done.ratio:.4f}, {done.around_seconds:.2f} s around the epochs", flush=True)
    return done


def source(name: str) -> str:
    """Return a script's text: images see no folder benchmarks/."""
    return (ROOT / "benchmarks" / name).read_text(encoding="utf-8")


def inside(folder: Path, image: str, command: list[str]) -> None:
    """Run the command in the image, from `folder`."""
    whole = [sys.executable, "-m", "stages.inside", image, "--", *command]
    done = subprocess.run(whole, cwd=folder, capture_output=True, text=True)
    if done.returncode:
        sys.exit(f"{done.stdout}{done.stderr}\nbenchmarks/overhead: the command above ended with {done.returncode}")


@contextmanager
def project(image: str) -> Iterator[Path]:
    """Make a project of the benchmark's own with drawn photos and the image; nothing of the checkout changes."""
    with tempfile.TemporaryDirectory(prefix="faceoff-overhead-") as name:
        epochs = {"frozen_epochs": FROZEN_EPOCHS, "unfrozen_epochs": UNFROZEN_EPOCHS}
        dataset = {"train_photos": 480, "valid_photos": 96}
        folder = dogs_cats(Path(name), image, BATCH_SIZE, dataset, size=SIZE, workers=2, **epochs)
        job = folder / "jobs/dogs_cats"
        (job / "run.py").rename(job / "real_run.py")
        definition = (job / "job.yaml").read_text(encoding="utf-8").replace("run.py", "real_run.py")
        (job / "job.yaml").write_text(definition.replace("real_run.py train", "run.py train"), encoding="utf-8")
        (job / "run.py").write_text(source("recorded_cell.py"), encoding="utf-8")
        prepare(folder, image)
        yield folder


def dogs_cats(folder: Path, image: str, batch_size: int, dataset: dict[str, Any], **recipe: Any) -> Path:
    """Make a project in which the article's job has one variant, in fp32, with a small network and drawn photos."""
    section = {"dataset": {**DOGS_CATS["dataset"], **dataset}, "recipe": {**DOGS_CATS["recipe"], **recipe}}
    variants = {VARIANT: {"precision": "fp32", "batch_size": batch_size}}
    repeats = [*range(1, MOST_ROUNDS + 1)]
    return make_project(folder, [image], job="dogs_cats", variants=variants, repeats=repeats, dogs_cats=section)


def prepare(folder: Path, image: str) -> None:
    """Run the stages before a cell's."""
    for command in (["machine"], ["job"], ["download"], ["image", image]):
        stage(folder, *command)
    (folder / "models").mkdir(exist_ok=True)


if __name__ == "__main__":
    run_entry(main)
