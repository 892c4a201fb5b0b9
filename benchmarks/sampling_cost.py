"""What it costs to sample the cards: CPU time of the supervisor's loop during a command, with it and without.

python -m benchmarks.sampling_cost [--seconds N] [--cards N]

The driver is the tests' stand-in (tests/nvml/standin.c), which looks up a text file: what a true one takes for an
answer is not in it. The command sleeps. Ends with 1 where sampling takes more than MOST_SHARE of one CPU.
"""

import argparse
import os
import subprocess
import sys
import tempfile
import time
from pathlib import Path

from stages.errors import run_entry
from stages.records import DATA_DIR
from stages.workload import processes
from stages.workload.probes import conditions
from stages.workload.supervisor import command
from stages.workload.supervisor.sampling import Sampler
from tests import nvml

MOST_SHARE = 0.001


def main() -> int:
    """Measure and print; 1 where it is too much."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.sampling_cost", description="What sampling costs.")
    parser.add_argument("--seconds", type=int, default=60)
    parser.add_argument("--cards", type=int, default=1)
    wanted = parser.parse_args()
    cards = [{**nvml.T4, "uuid": f"GPU-{number:08d}-0000-0000-0000-000000000000"} for number in range(wanted.cards)]
    if "NVML_STANDIN" in os.environ:
        return measure(wanted.seconds, tuple(str(card["uuid"]) for card in cards))
    with tempfile.TemporaryDirectory(prefix="faceoff-sampling-") as name:
        again = [sys.executable, "-m", "benchmarks.sampling_cost", *sys.argv[1:]]  # libraries are found at its start
        return subprocess.run(again, env=nvml.environment(Path(name), *cards)).returncode


def measure(seconds: int, uuids: tuple[str, ...]) -> int:
    """Measure both and print; 1 where it is too much."""
    bare, _, _ = run(seconds, None)
    began = time.process_time()
    sampler = Sampler(conditions.look(DATA_DIR, sample_seconds=0), uuids)
    starting = time.process_time() - began
    ours, reading, samples = run(seconds, sampler)
    share = (ours - bare + reading) / seconds
    print(f"{seconds} s of a command, {len(uuids)} card(s) of the stand-in, {samples} readings; CPU seconds")
    print(
        f"the supervisor's loop: {bare:.4f} without, {ours:.4f} with; the process that asks the driver: {reading:.4f}"
    )
    print(f"once, before the command: {starting:.3f}, and what the driver's start takes")
    print(f"share of the command: {share:.4%}, {MOST_SHARE:.1%} at most")
    return int(share > MOST_SHARE)


def run(seconds: int, sampler: Sampler | None) -> tuple[float, float, int]:
    """Run a command that sleeps; return CPU seconds of this process and of its child that reads, and the readings."""
    readers = processes.children(os.getpid())
    before, began = sum(map(cpu_seconds, readers)), time.process_time()
    if sampler is None:
        command.run(("sleep", str(seconds)), Path(), dict(os.environ), lambda: None)
        return time.process_time() - began, 0.0, 0
    sampler.begin(time.monotonic())
    command.run(("sleep", str(seconds)), Path(), dict(os.environ), lambda: sampler.look(time.monotonic()))
    ours, reading = time.process_time() - began, sum(map(cpu_seconds, readers)) - before
    sampler.end(time.monotonic())
    return ours, reading, sampler.sampled.cards[0].samples


def cpu_seconds(pid: int) -> float:
    """Return the time that the process ran, by the scheduler's own count in nanoseconds."""
    return int(Path(f"/proc/{pid}/schedstat").read_text().split()[0]) / 1e9


if __name__ == "__main__":
    run_entry(main)
