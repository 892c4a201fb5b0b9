"""Records the steps of one and the same training, beside other processes if that is wanted, for verdict_quality.

python -m benchmarks.record_steps OUTPUT.jsonl [--runs N] [--busy N | --bursts]

Trains a small recipe of jobs/dogs_cats on this machine N times, as stage `train` does, in a new process each. --busy
keeps so many processes busy beside it, --bursts one that is busy now and then: idle for 6 s, busy for 4 s, in the mean.
A line a training: its spans, their steps in microseconds, and what share of the CPUs' time other processes took. A
line is written as soon as its training has ended: an interrupted recording is of use too. Wants a machine that is idle
but for what it starts itself.
"""

import argparse
import csv
import json
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path

from stages import codec
from stages.errors import FaceoffError, run_entry
from stages.harness.params import schema
from stages.records import Cell, Result
from tests.project import DOGS_CATS, ROOT, make_project, stage

CELL = Cell("host", "plain", 2)  # of a second repeat, which has no ceilings to measure
SECTION = {
    "dataset": {**DOGS_CATS["dataset"], "train_photos": 320, "valid_photos": 48},
    "recipe": {**DOGS_CATS["recipe"], "size": 64, "workers": 2},
}
BUSY = "while True: pass"
BURSTS = """
import random, time
drawn = random.Random(7)
while True:
    time.sleep(drawn.expovariate(1 / 6))
    ends = time.time() + drawn.expovariate(1 / 4)
    while time.time() < ends: pass
"""


def main() -> int:
    """Record as many trainings as are asked for, after one that is colder than all that follow."""
    parser = argparse.ArgumentParser(description="Record the steps of one training, for benchmarks/verdict_quality.py.")
    parser.add_argument("output", type=Path)
    parser.add_argument("--runs", type=int, default=20)
    parser.add_argument("--busy", type=int, default=0, help="processes that are busy beside it")
    parser.add_argument("--bursts", action="store_true", help="one that is busy now and then")
    arguments = parser.parse_args()
    if arguments.output.exists():
        raise FaceoffError(f"{arguments.output} is there already; name another file, or delete it")
    beside = [BUSY] * arguments.busy + [BURSTS] * arguments.bursts
    with tempfile.TemporaryDirectory(prefix="faceoff-record-") as name, ExitStack() as stack:
        folder = project(Path(name))
        record(folder)
        for code in beside:
            stack.enter_context(running(code))
        with arguments.output.open("x", encoding="utf-8") as file:
            for run in range(1, arguments.runs + 1):
                file.write(json.dumps(record(folder)) + "\n")
                file.flush()
                print(f"run {run} of {arguments.runs}", file=sys.stderr, flush=True)
    return 0


@contextmanager
def running(code: str) -> Iterator[None]:
    """Have Python run this beside the block."""
    process = subprocess.Popen([sys.executable, "-c", code])
    try:
        yield
    finally:
        process.kill()
        process.wait()


def project(folder: Path) -> Path:
    """Make a project with data and the environment of this checkout's params.yaml, where the cell can be trained."""
    variants = {CELL.variant: {"precision": "fp32", "batch_size": 16}}
    env = schema.load(ROOT).env
    make_project(folder, ["host"], job="dogs_cats", variants=variants, repeats=[1, 2], env=env, dogs_cats=SECTION)
    for prepare in (["machine"], ["job"], ["download"], ["image", "host"], ["inside", "host", "--profile"]):
        stage(folder, *prepare)
    return folder


def record(folder: Path) -> dict[str, object]:
    """Train anew, and return what it took."""
    for each in (CELL.output_dir.parent, CELL.steps_path.parent):
        shutil.rmtree(folder / each, ignore_errors=True)
    stage(folder, "inside", CELL.image, "--result", str(CELL.result_path("train")))
    trained = codec.read(folder / CELL.result_path("train"), Result)
    with (folder / CELL.steps_path).open(encoding="utf-8", newline="") as file:
        rows = [*csv.reader(file)][1:]
    return {
        "started_at": trained.started_at,
        "others_share": trained.attempts[0].load.others_share,
        "spans": {span.name: span.seconds for span in trained.spans},
        "steps": [[span, [int(each) for each in microseconds.split()]] for span, microseconds in rows],
    }


if __name__ == "__main__":
    run_entry(main)
