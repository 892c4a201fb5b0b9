"""Records runs of one and the same setting, one after the other, for benchmarks/verdict_quality.py to draw from.

python -m benchmarks.record_aa OUTPUT.csv [--runs N]

Trains and evaluates a tiny recipe in image host N times, by the real stages, and writes a row per run as soon as it has
ended, so that an interrupted recording is of use too. Takes about half a minute a run; wants an idle machine.
"""

import argparse
import csv
import sys
import tempfile
from pathlib import Path

from stages import codec
from stages.errors import FaceoffError, run_entry
from stages.harness.figures import FIGURES, TIMED
from stages.records import Cell, EvaluateResult, TrainResult
from tests.project import cell_stage, make_project, stage

COLUMNS = ("run", "started_at", *TIMED)
IMAGE, PRECISION, BATCH_SIZE = "host", "fp32", 16
RECIPE = {"arch": "resnet18", "pretrained": False, "size": 32, "frozen_epochs": 1, "unfrozen_epochs": 1, "workers": 1}


def main() -> int:
    parser = argparse.ArgumentParser(description="Record runs of one setting, for benchmarks/verdict_quality.py.")
    parser.add_argument("output", type=Path)
    parser.add_argument("--runs", type=int, default=60)
    arguments = parser.parse_args()
    if arguments.output.exists():
        raise FaceoffError(f"{arguments.output} is there already; name another file, or delete it")
    with tempfile.TemporaryDirectory(prefix="faceoff-record-") as name, arguments.output.open("x", newline="") as file:
        folder = make_project(
            Path(name),
            [IMAGE],
            dataset={"source": "synthetic", "train_photos": 160, "valid_photos": 32},
            recipe=RECIPE,
        )
        for prepare in (["download"], ["machine"], ["image", IMAGE]):
            stage(folder, *prepare)
        writer = csv.writer(file, lineterminator="\n")
        writer.writerow(COLUMNS)
        for run in range(1, arguments.runs + 1):
            writer.writerow(record(folder, run))
            file.flush()
            print(f"run {run} of {arguments.runs}", file=sys.stderr, flush=True)
    return 0


def record(folder: Path, run: int) -> list[object]:
    """One run: train and evaluate, as the pipeline does."""
    cell = Cell(IMAGE, PRECISION, BATCH_SIZE, run)
    for name in ("train", "evaluate"):
        cell_stage(folder, name, IMAGE, PRECISION, BATCH_SIZE, run)
    train = codec.read(folder / cell.train_path, TrainResult)
    evaluate = codec.read(folder / cell.evaluate_path, EvaluateResult)
    return [run, train.started_at, *(FIGURES[name](train, evaluate) for name in TIMED)]


if __name__ == "__main__":
    run_entry(main)
