"""A small project of a test's own: this checkout's stages and images, its own params, photos and results."""

import os
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

import yaml

ROOT = Path(__file__).resolve().parent.parent


def make_project(folder: Path, images: list[str], **overrides: Any) -> Path:
    """A folder in which stages run as in a checkout. `overrides` are laid over params.yaml, sections key by key."""
    for part in ("stages", "docker"):
        shutil.copytree(ROOT / part, folder / part, ignore=shutil.ignore_patterns("__pycache__"))
    params = yaml.safe_load((ROOT / "params.yaml").read_text(encoding="utf-8"))
    params |= {"image": images[0], "images": images}
    params["profile"]["measure_seconds"] = 0
    params["compare"]["baseline"] = f"{images[0]}/fp32-bs16"
    for key, value in overrides.items():
        params[key] = params[key] | value if isinstance(value, dict) else value
    (folder / "params.yaml").write_text(yaml.safe_dump(params, sort_keys=False), encoding="utf-8")
    return folder


def run_stage(folder: Path, *arguments: str, **environment: str) -> subprocess.CompletedProcess[str]:
    """`python -m stages.<arguments>` in the folder, its output captured."""
    command = [sys.executable, "-m", f"stages.{arguments[0]}", *arguments[1:]]
    return subprocess.run(command, cwd=folder, env={**os.environ, **environment}, capture_output=True, text=True)


def stage(folder: Path, *arguments: str) -> str:
    """Like `run_stage`, for a stage that must end well; what it printed."""
    done = run_stage(folder, *arguments)
    assert done.returncode == 0, f"{arguments}: {done.stdout}{done.stderr}"
    return done.stdout


def cell_stage(folder: Path, name: str, image: str, precision: str, batch_size: int = 16, repeat: int = 1) -> str:
    """Run train or evaluate of one cell inside its image, as dvc.yaml does."""
    place = ["--image", image, "--precision", precision, "--batch-size", str(batch_size), "--repeat", str(repeat)]
    return stage(folder, "inside", image, "--", "python", "-m", f"stages.{name}", *place)
