"""A cell whose training is a script of a test's own: a project without data or torch, in which it is attempted."""

import json
import subprocess
from contextlib import chdir
from pathlib import Path
from typing import Any

import yaml

from stages import codec, records
from stages.harness.params import jobs
from stages.records import Cell, Result
from tests import results
from tests.project import TINY, make_project, run_stage, write_job


def make(folder: Path, image: str = "host", **overrides: Any) -> Path:
    """A project with one cell, of `image`; the image itself is not made."""
    root = make_project(folder, [image], **{"repeats": [1], **overrides})
    with chdir(root):
        results.write_run()
    is_run(root, "")
    return root


def is_run(root: Path, script: str, evaluate: str | None = None) -> None:
    """Have the project's job be these Python scripts."""
    job = "train: python train.py\n" + ("evaluate: python evaluate.py\n" if evaluate is not None else "")
    write_job(root, TINY, {"job.yaml": job, "train.py": script, "evaluate.py": evaluate or ""})
    codec.write(root / records.JOB_PATH, jobs.record(TINY, jobs.load(TINY, root), None, 42, root))


def attempt(
    root: Path, script: str, cell: Cell, stage: str = "train", **environment: str
) -> subprocess.CompletedProcess[str]:
    """Run the script as the cell's training, or as what evaluates it."""
    is_run(root, *(("", script) if stage == "evaluate" else (script,)))
    return run_stage(root, *arguments(cell, stage), **environment)


def arguments(cell: Cell, stage: str = "train") -> tuple[str, ...]:
    return ("inside", cell.image, "--result", str(cell.result_path(stage)))


def failed(root: Path, cell: Cell, stage: str = "train") -> str:
    """Why the cell's result says that it failed."""
    result = codec.read(root / cell.result_path(stage), Result)
    assert (result.status, result.cell, result.spans) == ("failed", cell, ())
    assert result.reason is not None and "\n" not in result.reason
    assert not (root / cell.running_path).exists()
    return result.reason


def told(done: subprocess.CompletedProcess[str]) -> list[str]:
    """Its lines on stderr that are faceoff's. torch ends what a crashing worker says with a null character."""
    lines = done.stderr.replace("\0", "").splitlines()
    return [line for line in lines if line.startswith("faceoff: ")]


def params_with(root: Path, **changes: Any) -> None:
    """Top-level keys of params.yaml, changed."""
    path = root / "params.yaml"
    path.write_text(yaml.safe_dump(yaml.safe_load(path.read_text()) | json.loads(json.dumps(changes))))
