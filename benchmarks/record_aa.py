"""Records runs of one and the same setting, one after the other, for benchmarks/verdict_quality.py to draw from.

python -m benchmarks.record_aa OUTPUT.csv [--runs N]

Trains and evaluates a tiny recipe on this machine N times, by what the stages call, in one process, so that fastai is
imported once. A row is written as soon as its run has ended: an interrupted recording is of use too. OUTPUT.json beside
it says on which machine, at which commit and with which software. Takes about 4 s a run; wants an idle machine, and
says how busy others kept it.
"""

import argparse
import contextlib
import csv
import gc
import io
import json
import os
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path

from stages import codec
from stages.errors import FaceoffError, run_entry
from stages.harness.results.metrics import FIGURES, TIMED
from stages.records import MACHINE_PATH, Ceilings, Cell, EvaluateResult, Machine, Recipe, TrainResult
from tests.project import ROOT, make_project, stage

COLUMNS = ("run", "started_at", "others_share", *TIMED)  # others_share: of all CPUs' time, by other processes
PHOTOS = {"source": "synthetic", "train_photos": 64, "valid_photos": 8}
RECIPE = {"arch": "resnet18", "pretrained": False, "size": 32, "frozen_epochs": 1, "unfrozen_epochs": 1, "workers": 1}


def main() -> int:
    parser = argparse.ArgumentParser(description="Record runs of one setting, for benchmarks/verdict_quality.py.")
    parser.add_argument("output", type=Path)
    parser.add_argument("--runs", type=int, default=300)
    arguments = parser.parse_args()
    output = arguments.output.resolve()
    if output.exists():
        raise FaceoffError(f"{output} is there already; name another file, or delete it")
    with project() as recipe, output.open("x", newline="", encoding="utf-8") as file:
        record(Cell("host", "fp32", 16, 1), recipe)  # imports, and is colder than all that follow
        output.with_suffix(".json").write_text(json.dumps(circumstances(), indent=2) + "\n", encoding="utf-8")
        writer = csv.writer(file, lineterminator="\n")
        writer.writerow(COLUMNS)
        for run in range(1, arguments.runs + 1):
            writer.writerow([run, *record(Cell("host", "fp32", 16, 1), recipe)])
            file.flush()
            print(f"run {run} of {arguments.runs}", file=sys.stderr, flush=True)
    return 0


@contextlib.contextmanager
def project() -> Iterator[Recipe]:
    """A project of its own with photos, in which this process then works; the recipe."""
    from stages.workload import ceilings
    from stages.workload.inputs import read_recipe

    ceilings.measure = lambda learner, job, beat=None: Ceilings(1.0, 1.0)  # 6 s a run, of which none is recorded
    with tempfile.TemporaryDirectory(prefix="faceoff-record-") as name:
        folder = make_project(Path(name), ["host"], dataset=PHOTOS, recipe=RECIPE)
        for prepare in (["download"], ["machine"]):
            stage(folder, *prepare)
        with contextlib.chdir(folder):
            yield read_recipe()


def record(cell: Cell, recipe: Recipe) -> list[object]:
    """One run: train and evaluate, as the stages do, and leave nothing of it."""
    from stages.workload import cell as workload

    began = time.perf_counter()
    with contextlib.redirect_stdout(io.StringIO()):
        train: TrainResult = workload.train(cell, recipe, began)
        codec.write(cell.train_path, train)
        evaluate: EvaluateResult = workload.evaluate(cell, recipe, time.perf_counter())
    shutil.rmtree(cell.model_dir.parent)
    gc.collect()  # learners are cycles: thirty of them fill a machine
    others = train.sittings[0].load.others_share
    return [
        train.started_at,
        "" if others is None else f"{others:.3f}",
        *(FIGURES[name](train, evaluate) for name in TIMED),
    ]


def circumstances() -> dict[str, object]:
    """Of the recording: machine, commit and software."""
    from stages.workload import cell as workload
    from stages.workload import learners

    hardware = codec.read(MACHINE_PATH, Machine).hardware
    describe = ["git", "describe", "--always", "--dirty", "--abbrev=40", "--exclude=*"]
    commit = subprocess.run(describe, cwd=ROOT, capture_output=True, text=True).stdout.strip()
    environment = workload.environment(learners.find())
    return {
        "cpu": hardware.cpu.model,
        "logical_cpus": hardware.cpu.logical_cpus,
        "memory_bytes": hardware.memory_bytes,
        "kernel": hardware.kernel,
        "commit": commit or None,
        "python": environment.python,
        "torch": environment.torch,
        "fastai": environment.fastai,
        "torch_threads": environment.torch_threads,
        "load_average": os.getloadavg()[0],
        "photos": PHOTOS,
        "recipe": RECIPE,
    }


if __name__ == "__main__":
    run_entry(main)
