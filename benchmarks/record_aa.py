"""Records runs of one and the same setting, one after the other, for benchmarks/verdict_quality.py to draw from.

python -m benchmarks.record_aa OUTPUT.csv [--runs N]

Trains and evaluates a tiny recipe of jobs/dogs_cats on this machine N times, by the commands that DVC runs. A row is
written as soon as its run has ended: an interrupted recording is of use too. OUTPUT.json beside it says on which
machine, at which commit and with which software. Wants an idle machine, and says how busy others kept it.
"""

import argparse
import csv
import json
import os
import subprocess
import sys
import tempfile
from pathlib import Path

from benchmarks.verdict_quality import METRICS
from stages import codec, records
from stages.errors import FaceoffError, run_entry
from stages.harness.params import schema
from stages.harness.results.metrics import values
from stages.harness.results.read import read_all
from stages.records import Cell
from tests.project import DOGS_CATS, ROOT, make_project, stage

COLUMNS = ("run", "started_at", "others_share", *METRICS)  # others_share: of all CPUs' time, by other processes
SECTION = {**DOGS_CATS, "dataset": {**DOGS_CATS["dataset"], "train_photos": 64, "valid_photos": 8}}
CELL = Cell("host", "fp32-bs16", 1)


def main() -> int:
    """Record as many runs as are asked for, after one that is colder than all that follow."""
    parser = argparse.ArgumentParser(description="Record runs of one setting, for benchmarks/verdict_quality.py.")
    parser.add_argument("output", type=Path)
    parser.add_argument("--runs", type=int, default=300)
    arguments = parser.parse_args()
    output = arguments.output.resolve()
    if output.exists():
        raise FaceoffError(f"{output} is there already; name another file, or delete it")
    with tempfile.TemporaryDirectory(prefix="faceoff-record-") as name, output.open("x", encoding="utf-8") as file:
        folder = project(Path(name))
        record(folder)
        output.with_suffix(".json").write_text(json.dumps(circumstances(folder), indent=2) + "\n", encoding="utf-8")
        writer = csv.writer(file, lineterminator="\n")
        writer.writerow(COLUMNS)
        for run in range(1, arguments.runs + 1):
            writer.writerow([run, *record(folder)])
            file.flush()
            print(f"run {run} of {arguments.runs}", file=sys.stderr, flush=True)
    return 0


def project(folder: Path) -> Path:
    """Make a project of its own with data, in which the cell can run again and again."""
    variants = {CELL.variant: {"precision": "fp32", "batch_size": 16}}
    make_project(folder, ["host"], job="dogs_cats", variants=variants, repeats=[1], dogs_cats=SECTION)
    for prepare in (["machine"], ["job"], ["download"], ["image", "host"], ["inside", "host", "--profile"]):
        stage(folder, *prepare)
    return folder


def record(folder: Path) -> list[object]:
    """Train and evaluate, as DVC does, and return the row."""
    for each in records.STAGES:
        stage(folder, "inside", "host", "--result", str(CELL.result_path(each)))
    [result] = read_all(schema.load(folder), folder)
    if result.train is None:
        raise FaceoffError(f"the run gave nothing: {result.reason}")
    found = values(result, codec.read(folder / records.JOB_PATH, records.Job))
    others = result.train.attempts[0].load.others_share
    return [result.train.started_at, "" if others is None else f"{others:.3f}", *(found[name] for name in METRICS)]


def circumstances(folder: Path) -> dict[str, object]:
    """Tell of the recording: machine, commit and software."""
    facts = codec.read(folder / records.facts_path("host"), records.Facts)
    describe = ["git", "describe", "--always", "--dirty", "--abbrev=40", "--exclude=*"]
    commit = subprocess.run(describe, cwd=ROOT, capture_output=True, text=True).stdout.strip()
    return {
        "cpu": facts.hardware.cpu.model,
        "logical_cpus": facts.hardware.cpu.logical_cpus,
        "memory_bytes": facts.hardware.memory_bytes,
        "kernel": facts.hardware.kernel,
        "commit": commit or None,
        "python": facts.contents.python,
        "torch": facts.contents.torch,
        "torch_threads": facts.torch_threads,
        "load_average": os.getloadavg()[0],
        "section": SECTION,
    }


if __name__ == "__main__":
    run_entry(main)
