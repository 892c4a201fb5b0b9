"""What the observer's marks in a GPU's queue cost a step, and tell: a training with them and without, in turns.

python -m benchmarks.marks [--pairs N] [--stand-in]

On a machine with a GPU it measures a network that the host can barely launch fast enough, where each microsecond shows,
and one that keeps the GPU busy, where none should. Ends with 1 where the marks take more than MOST_SHARE of a step of
LEAST_STEP_SECONDS. Without a GPU, --stand-in runs the same lines on the tests' stand-in for a queue: what is printed
then is the cost of Python's part, the stand-in's own with it, and nothing of CUDA.
"""

import argparse
import json
import os
import statistics
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import Any

from stages.errors import FaceoffError, run_entry
from stages.workload.observer import HOOK, VARIABLE
from stages.workload.observer.read import Observation, observed
from tests.project import ROOT

NETWORKS = {"launch-bound": (20, 64), "compute-bound": (20, 4096)}  # layers and width
MOST_SHARE, LEAST_STEP_SECONDS = 0.01, 0.01


def main() -> int:
    """Measure and print; 1 where the marks take too much."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.marks", description="What the observer's marks cost.")
    parser.add_argument("--pairs", type=int, default=20)
    parser.add_argument("--stand-in", action="store_true")
    arguments = parser.parse_args()
    networks = {"stand-in": NETWORKS["launch-bound"]} if arguments.stand_in else NETWORKS
    costs = [measure(name, *size, arguments.pairs, arguments.stand_in) for name, size in networks.items()]
    return int(max(costs) > MOST_SHARE * LEAST_STEP_SECONDS)


def measure(name: str, layers: int, width: int, pairs: int, stand_in: bool) -> float:
    """Print what a step takes more with marks, and what they tell; return the former."""
    found, _ = train(pairs, layers, width, stand_in)
    step = statistics.median(without for _, (without, _) in found["pairs"])
    more = [marked[1] - plain[1] if stand_in else marked[0] - plain[0] for marked, plain in found["pairs"]]
    low, median, high = (1e6 * each for each in (min(more), statistics.median(more), max(more)))
    each = found["marks"] / (found["steps"] * (len(found["pairs"]) + 1))
    clock = "CPU time, of Python's part and the stand-in's own" if stand_in else "time"
    print(f"{found['device']}, {name}: a step takes {1e3 * step:.3f} ms and {each:.1f} marks")
    print(f"{clock} that the marks take of a step, µs: median {median:.1f} (from {low:.1f} to {high:.1f})")
    print(f"what they tell: {waiting_share(train(0, layers, width, stand_in)[1])}", flush=True)
    return float(median / 1e6)


def train(pairs: int, layers: int, width: int, stand_in: bool) -> tuple[dict[str, Any], Observation]:
    """Run benchmarks/marks_steps.py; return what it prints and what was observed of it."""
    with tempfile.TemporaryDirectory(prefix="faceoff-marks-") as folder:
        prefix = Path(folder, "observed")
        environment = {**os.environ, VARIABLE: str(prefix), "PYTHONPATH": str(HOOK)}
        if stand_in:
            environment.update(STAND_IN=str(ROOT / "tests/observer/scripts"), OMP_NUM_THREADS="1")
        script = str(ROOT / "benchmarks/marks_steps.py")
        command = [sys.executable, script, *(str(each) for each in (pairs, layers, width))]
        done = subprocess.run(command, env=environment, capture_output=True, text=True)
        if done.returncode:
            raise FaceoffError(f"benchmarks/marks_steps.py failed: {done.stderr.strip()[-500:]}")
        return json.loads(done.stdout.splitlines()[-1]), observed(prefix)


def waiting_share(seen: Observation) -> str:
    """Say how much of a training's compute the GPU waits for launches; why not, where that is not known."""
    split = seen.spans[-1].split
    if split is None or split.launch_seconds is None or not split.compute_seconds:
        return "; ".join(seen.notes)
    return f"for {split.launch_seconds / split.compute_seconds:.0%} of compute nothing was left in the queue"


if __name__ == "__main__":
    run_entry(main)
