"""What DVC itself costs a stage, as there are more of them: CPU seconds, for the first 50 stages and for the last 50.

    python -m benchmarks.stage_cost                  600 stages
    python -m benchmarks.stage_cost --stages 100     fewer, for a quick look
    python -m benchmarks.stage_cost --whole          as it is where dvc.lock stays whole: `dvc repro --all-pipelines`

In a folder of its own, with this checkout's dvc.yaml and a stand-in for each stage, which writes its outputs at once
and treats dvc.lock as a stage does. Told are the seconds of DVC, and those with what it started: shells, interpreters.
Of CPU, since a busy machine stretches wall time; it stretches CPU time somewhat too, but hardly the ratio.
"""

import argparse
import itertools
import os
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path

import yaml

from stages.errors import FaceoffError, run_entry
from stages.harness.pipeline import dvc_files
from stages.harness.process import dvc_lock

ROOT = Path(__file__).resolve().parent.parent
NOTES = "cpu-times"
SPAN = 50
TICKS_PER_SECOND = os.sysconf("SC_CLK_TCK")
ENTRIES = ("machine", "preflight", "job", "download", "image", "setting", "inside", "compare", "scorecard")
# Outputs are found in dvc.yaml as it stands here; a stage of a matrix is told by its command's words.
STAND_IN = """
import json, os, pathlib, sys
from stages.harness.process.dvc_lock import dvc_stage

NAME, WORDS = pathlib.Path(__file__).stem, sys.argv[1:]
FIXED = {{
    "machine": ["metrics/machine.json"], "job": ["metrics/job.json", "data/source.json"], "preflight": [],
    "download": ["data/manifest.json", "metrics/dataset.json"],
    "compare": ["metrics/comparison.json", "metrics/results.csv"],
    "scorecard": ["metrics/scorecard.json", "metrics/curves.csv"],
}}

def outputs():
    if NAME in FIXED:
        return FIXED[NAME]
    image = pathlib.Path("metrics", WORDS[0])
    if NAME == "image":
        return [image / "image.json"]
    if NAME == "setting":
        return [image / WORDS[1] / "setting.json"]
    if "--profile" in WORDS:
        return [image / "facts.json", image / "profile.json"]
    result = pathlib.Path(WORDS[-1])
    stage, _, repeat = result.stem.partition("-")
    if stage == "train":
        steps = result.with_name(f"steps-{{repeat}}.csv")
        return [result, steps]
    return [result, result.with_name(f"predictions-{{repeat}}.csv")]

@dvc_stage
def main():
    for path in map(pathlib.Path, outputs()):
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(json.dumps({{"of": NAME}}))
    times = pathlib.Path(f"/proc/{{os.getppid()}}/stat").read_text().rpartition(")")[2].split()[11:15]
    with open("{notes}", "a") as notes:
        notes.write(" ".join([os.environ["DVC_STAGE"], *times]) + "\\n")
    return 0

sys.exit(main())
"""


def main() -> int:
    parser = argparse.ArgumentParser(prog="python -m benchmarks.stage_cost", description="What DVC costs a stage.")
    parser.add_argument("--stages", type=int, default=600, help="of cells: trainings and evaluations")
    parser.add_argument("--whole", action="store_true", help="leave dvc.lock whole")
    options = parser.parse_args()
    span = min(SPAN, max(1, options.stages // 4))
    with tempfile.TemporaryDirectory(prefix="faceoff-stages-") as name:
        make(Path(name), repeats=-(-options.stages // 4))
        targets = ["--all-pipelines"] if options.whole else []
        repro(Path(name), targets)
        report(Path(name), options.stages, span)
        for how, variables in (("dvc repro", {}), ("make repro", {dvc_lock.WILL_MEND: str(os.getpid())})):
            seconds = repro(Path(name), targets, **variables)
            print(f"nothing to do, {how}: {seconds:.1f} s of CPU")
    return 0


def make(folder: Path, repeats: int) -> None:
    """Lay out a checkout of two variants on one image, whose stages are stand-ins."""
    for part in ("stages", "docker", "jobs"):
        shutil.copytree(ROOT / part, folder / part, ignore=shutil.ignore_patterns("__pycache__"))
    for file in ("dvc.yaml", "params.yaml", ".gitignore", ".dvcignore", ".dvc/config", ".dvc/.gitignore"):
        (folder / file).parent.mkdir(exist_ok=True)
        shutil.copy(ROOT / file, folder / file)
    params = yaml.safe_load((folder / "params.yaml").read_text(encoding="utf-8"))
    variants = {"fp32": {"precision": "fp32"}, "mixed": {"precision": "mixed"}}
    params |= {"images": ["host"], "variants": variants, "repeats": list(range(1, repeats + 1))}
    (folder / ".venv").symlink_to(sys.prefix)  # whose Python runs each stage
    (folder / "params.yaml").write_text(yaml.safe_dump(params, sort_keys=False), encoding="utf-8")
    for entry in ENTRIES:
        (folder / "stages" / f"{entry}.py").write_text(STAND_IN.format(notes=NOTES), encoding="utf-8")
    subprocess.run(["git", "init", "-q"], cwd=folder, check=True)


def repro(folder: Path, targets: list[str], **variables: str) -> float:
    """Run `dvc repro` there, and put dvc.lock together as `make repro` does; CPU seconds of all that."""
    path = os.pathsep.join((str(Path(sys.executable).parent), os.environ["PATH"]))
    before = os.times()
    command = [sys.executable, "-m", "dvc", "repro", *targets]
    environment = {**os.environ, "PATH": path, "PYTHONDONTWRITEBYTECODE": "1", **variables}
    done = subprocess.run(command, cwd=folder, env=environment, capture_output=True, text=True)
    if done.returncode:
        raise FaceoffError(f"dvc repro failed with {done.returncode}: {done.stderr.strip()[-500:]}")
    os.chdir(folder)
    dvc_files.mend()
    os.chdir(ROOT)
    after = os.times()
    return sum(after[:4]) - sum(before[:4])


def report(folder: Path, stages: int, span: int) -> None:
    """Print what a cell's stage cost, of the notes that each has left, from one to the next."""
    own, in_all = list[float](), list[float]()
    lines = [line.split() for line in (folder / NOTES).read_text(encoding="utf-8").splitlines()]
    for now, then in itertools.pairwise(lines):
        if all(each[0].startswith(("train@", "evaluate@")) for each in (now, then)):
            ticks = [int(after) - int(before) for before, after in zip(now[1:], then[1:], strict=True)]
            own.append(sum(ticks[:2]) / TICKS_PER_SECOND)
            in_all.append(sum(ticks) / TICKS_PER_SECOND)
    print(f"{stages} stages of cells; CPU seconds a stage, mean over {span}")
    print(f"{'':22}{'first':>8}{'last':>8}{'last over first':>18}")
    for name, seconds in (("DVC", own), ("with what it starts", in_all)):
        first, last = (sum(part) / span for part in (seconds[:span], seconds[-span:]))
        print(f"{name:22}{first:8.3f}{last:8.3f}{last / first:18.2f}")


if __name__ == "__main__":
    run_entry(main)
