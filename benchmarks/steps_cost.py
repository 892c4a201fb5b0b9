"""What it costs to keep the time of each step: CPU seconds and bytes, of a training of 10,000 steps in 10 epochs.

python -m benchmarks.steps_cost [--pairs N]

Telling: what the built-in job does for it at the end of its epochs. Keeping: what the supervisor takes more where each
span tells its steps than where it does not, by pairs of cells that go on from epoch to epoch as one with checkpoints
does. Reading: what the host does for a cell. Ends with 1 where telling and keeping take more than MOST_SHARE of the
training, whose steps take 10 ms, or the file is larger than MOST_BYTES.
"""

import argparse
import dataclasses
import importlib
import json
import os
import random
import resource
import statistics
import tempfile
import time
from contextlib import chdir
from pathlib import Path

from stages import contract
from stages.contract import Span
from stages.errors import FaceoffError, run_entry
from stages.records import step_times
from tests.supervised import CELL, Checkout

EPOCHS, STEPS, STEP_SECONDS = 10, 1_000, 0.01  # of an epoch each
MOST_SHARE, MOST_BYTES = 0.001, 100_000
SCRIPT = """import os, sys, time
for line in open(sys.argv[1]):
    time.sleep({pause})
    with open(os.environ["FACEOFF_EVENTS"], "a") as events:
        events.write(line)
"""
PAUSE_SECONDS = 0.5  # so that each epoch is noted by itself


def main() -> int:
    """Measure and print; 1 where it is too much."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.steps_cost", description="What kept steps cost.")
    parser.add_argument("--pairs", type=int, default=5)
    pairs = parser.parse_args().pairs
    noise = random.Random(1)  # noqa: S311 - repeatable
    epochs = [[round(STEP_SECONDS * noise.uniform(0.9, 1.3), 6) for _ in range(STEPS)] for _ in range(EPOCHS)]
    with tempfile.TemporaryDirectory(prefix="faceoff-steps-") as name, chdir(name):
        telling = statistics.median(tell(Path("events.jsonl")) for _ in range(pairs))
        keeping = [keep(Path(name, f"pair-{pair}"), epochs) for pair in range(pairs)]
        size = CELL.steps_path.stat().st_size
        began = time.process_time()
        step_times.rows(CELL.steps_path.read_text(encoding="utf-8"), CELL.steps_path)
        reading = time.process_time() - began
    more = statistics.median(keeping)
    share = (telling + more) / sum(map(sum, epochs))
    print(f"{EPOCHS * STEPS} steps of {1e3 * STEP_SECONDS:.0f} ms in {EPOCHS} epochs, {pairs} pairs; CPU seconds")
    print(f"telling {telling:.3f}, keeping {more:.3f} (from {min(keeping):.3f} to {max(keeping):.3f})")
    print(f"reading on the host {reading:.3f}, once a cell")
    print(f"share of the training: {share:.3%}, {MOST_SHARE:.1%} at most; file: {size} bytes, {MOST_BYTES} at most")
    return int(share > MOST_SHARE or size > MOST_BYTES)


def tell(path: Path) -> float:
    """Return what the built-in job takes more to tell its steps."""
    os.environ[contract.EVENTS] = str(path)
    job = "jobs.dogs_cats"  # by name: its types are those of several versions of torch, and nobody checks them
    split, training = importlib.import_module(f"{job}.split"), importlib.import_module(f"{job}.training")
    seconds = {True: 0.0, False: 0.0}
    for _ in range(EPOCHS):
        splitter = split.Splitter()
        splitter.begin()
        for _ in range(STEPS):
            splitter.computed()
        for with_steps in seconds:
            began = time.process_time()
            steps = splitter.step_seconds() if with_steps else ()
            training.say_span(Span("frozen", 1.0, steps=STEPS, step_seconds=steps))
            seconds[with_steps] += time.process_time() - began
    return seconds[True] - seconds[False]


def keep(folder: Path, epochs: list[list[float]]) -> float:
    """Return what two cells take, the one whose spans tell their steps less the other."""
    seconds = {}
    for with_steps in (False, True):
        root = folder / ("with" if with_steps else "without")
        checkout = Checkout(root, resumes=True)
        lines = root / "lines.jsonl"
        spans = [Span("frozen", sum(each), steps=STEPS, step_seconds=tuple(each)) for each in epochs]
        lines.write_text("".join(line(span, with_steps) for span in spans), encoding="utf-8")
        command = (*checkout.script(SCRIPT.format(pause=PAUSE_SECONDS)), str(lines))
        before = children_seconds()
        done = checkout.run("train", command)
        after = children_seconds()
        if done.returncode:
            raise FaceoffError(f"the cell failed: {done.stderr.strip()[-500:]}")
        seconds[with_steps] = after - before
    return seconds[True] - seconds[False]


def children_seconds() -> float:
    """Return the CPU time of all processes that were started and have ended."""
    usage = resource.getrusage(resource.RUSAGE_CHILDREN)
    return usage.ru_utime + usage.ru_stime


def line(span: Span, with_steps: bool) -> str:
    """Return the span as a job tells it."""
    document = {"span": span.name, **dataclasses.asdict(span)}
    given = ("span", "seconds", "steps", *(("step_seconds",) if with_steps else ()))
    return json.dumps({key: document[key] for key in given}) + "\n"


if __name__ == "__main__":
    run_entry(main)
