"""A cell whose training is a command of a test's own: a project without photos or torch, in which it is attempted."""

import json
import subprocess
from contextlib import chdir
from pathlib import Path
from typing import Any

import yaml

from stages import codec, records
from stages.records import Cell, TrainResult
from tests import results
from tests.project import make_project, run_stage


def make(folder: Path, image: str = "host", **overrides: Any) -> Path:
    """A project with one cell, of `image`; the image itself is not made."""
    root = make_project(folder, ["host"], **overrides)
    if image != "host":
        text = (root / "params.yaml").read_text().replace("- host", f"- {image}")
        text = text.replace("image: host", f"image: {image}").replace("host/fp32", f"{image}/fp32")
        (root / "params.yaml").write_text(text)
    with chdir(root):
        results.write_dataset()
        codec.write(records.MACHINE_PATH, results.machine())
    return root


def attempt(root: Path, script: str, cell: Cell, **environment: str) -> subprocess.CompletedProcess[str]:
    """Run the Python script as the cell's training."""
    return run_stage(root, *arguments(script, cell), **environment)


def arguments(script: str, cell: Cell) -> tuple[str, ...]:
    return ("inside", cell.image, "--result", str(cell.train_path), "--", "python", "-c", script)


def failed(root: Path, cell: Cell) -> str:
    """Why the cell's result says that it failed."""
    result = codec.read(root / cell.train_path, TrainResult)
    assert (result.status, result.cell, result.epochs) == ("failed", cell, ())
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
