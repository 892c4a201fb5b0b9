"""Where the wall time of a face-off goes: what is measured of it, and what all else takes, part by part.

    python -m benchmarks.efficiency                          as params.yaml says
    python -m benchmarks.efficiency --image cuda-10.0        in a container
    python -m benchmarks.efficiency --preset ci --times 3    another face-off; three times, and the median
    python -m benchmarks.efficiency --set dogs_cats.recipe.unfrozen_epochs=12
                                                             trainings of about a minute on the 2-core machine

Each is a first run, in a folder of its own: what `make repro` does, but for the set-up of .venv; image host is the
Python that runs this. Nothing else may work on the machine meanwhile. Every 20 ms it is looked which of the run's
processes is the innermost one at work, and that one's part gets the time. A cell's commands are divided by their spans,
by the moments at which their events come, and by what their imports take in a process of their own afterwards.
"""

import argparse
import os
import shutil
import statistics
import subprocess
import sys
import tempfile
import time
from collections import defaultdict
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import yaml

from benchmarks.innermost import Command, Kind, Looker
from stages import codec, records
from stages.errors import FaceoffError, run_entry
from stages.harness.params import overrides, schema
from stages.records import Result

ROOT = Path(__file__).resolve().parent.parent
FOLDERS = ("stages", "docker", "jobs", "presets", ".dvc/plots")
FILES = ("dvc.yaml", "params.yaml", ".gitignore", ".dvcignore", ".dvc/config", ".dvc/.gitignore")
LOOK_SECONDS = 0.02
SETTLED_SECONDS = 2.0  # before each run
IMPORTS = """
import sys, time
began = time.perf_counter()
sys.path[0] = "."
from jobs.dogs_cats.imports import cheap
with cheap():
    from jobs.dogs_cats import {module}, learners
learners.find().import_fastai()
print("imports", time.perf_counter() - began)
sys.stdout.flush()
import os
os._exit(0)
"""
MODULES = {"train": "training", "evaluate": "evaluation"}
MEASURED = "measured: the spans that make up the total"
SPANS, CEILINGS = "spans that are not of the total", "what loader and compute reach alone"
IMPORTED, PREPARED, ENDED = "imports of torch and fastai", "data, network and weights", "ends of the cells' commands"
BETWEEN, AGAIN = "checkpoints, models, predictions", "runs that were disturbed and do not count"
SUPERVISOR, AROUND = "supervisor", "start and end of what a cell runs in (harness, container)"
STAGE, DVC, REST = "stage {}", "DVC", "checks before, the table after, and what was not seen"
TITLES = {
    Kind("workload.measure"): "profile: import of torch, and what it reaches",
    Kind("profile", "measure"): "profile: measured, by the job",
    Kind("profile"): "profile: facts",
    Kind("preflight_inside"): "preflight inside the image, without dry-runs",
    Kind("preflight_inside", "train"): "preflight inside the image: dry-runs",
    Kind("profile", "train"): "preflight inside the image: dry-runs",
    Kind("workload.contents"): "what the image holds",
    Kind("preflight"): "preflight on the host",
    Kind("train"): SUPERVISOR,
    Kind("evaluate"): SUPERVISOR,
    Kind("inside"): AROUND,
    Kind("dvc"): DVC,
}


def main() -> int:
    parser = argparse.ArgumentParser(prog="python -m benchmarks.efficiency", description="Where wall time goes.")
    parser.add_argument("--image", help="the only image; without it, those of params.yaml")
    parser.add_argument("--preset", help="a file of presets/, laid over params.yaml first")
    parser.add_argument(
        "--set", metavar="KEY=VALUE", type=assignment, action="append", default=[], help="of params.yaml, last of all"
    )
    parser.add_argument("--times", type=int, default=1, help="how many runs")
    options = parser.parse_args()
    shares = [one_run(options.image, options.preset, options.set) for _ in range(options.times)]
    if len(shares) > 1:
        print(f"\nmeasured, median of {len(shares)}: {statistics.median(shares):.1%}")
    return 0


def assignment(words: str) -> dict[str, Any]:
    """Return {'a': {'b': 3}} of 'a.b=3'."""
    keys, equals, value = words.partition("=")
    if not equals:
        raise argparse.ArgumentTypeError(f"{words}: expected KEY=VALUE, e.g. dogs_cats.recipe.unfrozen_epochs=12")
    found = yaml.safe_load(value)
    for key in reversed(keys.split(".")):
        found = {key: found}
    return dict(found)


def one_run(image: str | None, preset: str | None, changes: Sequence[Mapping[str, Any]] = ()) -> float:
    """Run a face-off in a new folder and print its table; the share of its wall time that is measured."""
    with tempfile.TemporaryDirectory(prefix="faceoff-efficiency-") as name:
        folder = Path(name).resolve() / "project"
        make(folder, image, preset, changes)
        time.sleep(SETTLED_SECONDS)
        looker, load, began = Looker(folder), os.getloadavg()[0], os.times()
        for entry in ("params", "repro", "publish"):
            run(folder, entry, looker)
        ended = os.times()
        os.chdir(folder)  # paths of records are relative
        try:
            parts = divided(looker)
        finally:
            os.chdir(ROOT)
    wall_seconds = ended.elapsed - began.elapsed
    parts[REST] += wall_seconds - sum(parts.values())
    print_table(parts, wall_seconds)
    cpu = sum(ended[2:4]) - sum(began[2:4])
    print(f"CPU of all that has been waited for {cpu:.0f} s; load of the minute before {load:.1f}")
    return parts[MEASURED] / wall_seconds


def make(folder: Path, image: str | None, preset: str | None, changes: Sequence[Mapping[str, Any]] = ()) -> None:
    """Lay out this checkout without its results."""
    for part in FOLDERS:
        shutil.copytree(ROOT / part, folder / part, ignore=shutil.ignore_patterns("__pycache__"))
    for file in FILES:
        shutil.copy(ROOT / file, folder / file)
    (folder / ".venv").symlink_to(sys.prefix)  # whose Python runs each stage of dvc.yaml
    (folder / "docker/host/image.yaml").write_text(f"python: {sys.executable}\n", encoding="utf-8")
    text = (folder / "params.yaml").read_text(encoding="utf-8")
    if preset is not None:
        text = schema.with_preset(preset, folder)
    if image is not None:
        variant = yaml.safe_load(text)["compare"]["baseline"].partition("/")[2]
        only = {"image": image, "images": [image], "compare": {"baseline": f"{image}/{variant}"}}
        text = overrides.merged(text, only)
    for change in changes:
        text = overrides.merged(text, change)
    schema.parse(text, "params.yaml as the options say", folder)
    (folder / "params.yaml").write_text(text, encoding="utf-8")
    author = ("-c", "user.name=benchmark", "-c", "user.email=benchmark@localhost")
    for command in (("init", "-q"), ("add", "-A"), (*author, "commit", "-q", "-m", "checkout")):
        subprocess.run(["git", *command], cwd=folder, check=True)


def run(folder: Path, entry: str, looker: Looker) -> None:
    """Run an entry of stages/ to its end, and look at the processes meanwhile. Raises FaceoffError where it fails."""
    path = os.pathsep.join((str(Path(sys.executable).parent), os.environ.get("PATH", os.defpath)))
    printed = folder.parent / "printed"
    with printed.open("a", encoding="utf-8") as file:
        process = subprocess.Popen(
            [sys.executable, "-m", f"stages.{entry}"],
            cwd=folder,
            env={**os.environ, "PATH": path},
            stdout=file,
            stderr=subprocess.STDOUT,
        )
        while process.poll() is None:
            looker.look()
            time.sleep(LOOK_SECONDS)
    looker.look()
    if process.returncode:
        words = printed.read_text(encoding="utf-8", errors="replace")[-2000:]
        raise FaceoffError(f"stages.{entry} ended with exit code {process.returncode}: {words}")


def divided(looker: Looker) -> dict[str, float]:
    """Return the seconds of each part. The run's folder is the working directory."""
    parts: dict[str, float] = defaultdict(float)
    for kind, seconds in looker.seconds.items():
        if kind.command and kind.entry in records.STAGES:
            continue  # divided below
        known = TITLES.get(kind) or TITLES.get(Kind(kind.entry))
        unknown = REST if kind.entry in ("params", "repro", "publish") else STAGE.format(kind.entry)
        parts[known or unknown] += seconds
    job = codec.read(records.JOB_PATH, records.Job)
    imports = {
        (image, stage): import_seconds(image, module) if job.name == "dogs_cats" else 0.0
        for image in {cell.image for cell, _ in looker.commands}
        for stage, module in MODULES.items()
    }
    for (cell, stage), command in looker.commands.items():
        result = codec.read(cell.result_path(stage), Result)
        for part, seconds in of_command(command, result, job, imports[cell.image, stage]).items():
            parts[part] += seconds
    return parts


def of_command(command: Command, result: Result, job: records.Job, imports: float) -> dict[str, float]:
    """Divide what a cell's command took."""
    whole = command.ended - command.began
    again = sum(each.command_seconds for each in result.discarded)
    if again:
        measured = sum(span.seconds for span in result.spans if span.name in job.total)
        return {MEASURED: measured, AGAIN: again, IMPORTED: imports, BETWEEN: whole - measured - again - imports}
    if job.total == records.WALL or not command.events:
        return {MEASURED: whole}
    (first_at, first), (last_at, _) = command.events[0], command.events[-1]
    before = first_at - float(first.get("seconds", 0.0)) - command.began
    arrived = [command.began, *(at for at, _ in command.events)]
    found = {
        IMPORTED: min(imports, before),
        PREPARED: max(0.0, before - imports),
        MEASURED: sum(span.seconds for span in result.spans if span.name in job.total),
        SPANS: sum(span.seconds for span in result.spans if span.name not in job.total),
        CEILINGS: sum(
            at - earlier for earlier, (at, event) in zip(arrived, command.events, strict=False) if "ceilings" in event
        ),
        ENDED: command.ended - last_at,
    }
    return {**found, BETWEEN: whole - sum(found.values())}


def import_seconds(image: str, module: str) -> float:
    """Return what a command of the built-in job takes before it looks at its data, median of three."""
    words = ["python", "-c", IMPORTS.format(module=module)]
    command = [sys.executable, "-m", "stages.inside", image, "--", *words]
    taken = []
    for _ in range(3):
        done = subprocess.run(command, capture_output=True, text=True, check=True)
        taken.append(float(done.stdout.split()[-1]))
    return statistics.median(taken)


def print_table(parts: dict[str, float], wall_seconds: float) -> None:
    """Print the parts, the largest first."""
    print(f"\n{'part':62}{'seconds':>9}{'share':>8}")
    for part, seconds in sorted(parts.items(), key=lambda each: -each[1]):
        print(f"{part:62}{seconds:9.1f}{seconds / wall_seconds:8.1%}")
    print(f"{'all':62}{wall_seconds:9.1f}{1:8.1%}")


if __name__ == "__main__":
    run_entry(main)
