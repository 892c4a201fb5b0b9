"""A small project of a test's own: this checkout's stages and images, its own params, job and results."""

import contextlib
import importlib
import io
import os
import re
import shutil
import subprocess
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any
from unittest import mock

import yaml

from stages.errors import FaceoffError

ROOT = Path(__file__).resolve().parent.parent
# What the project itself brings, below the folder of that name: a user adds others, and tests leave those alone.
[_JOBS] = re.findall(r"^JOBS := (.+)$", (ROOT / "Makefile").read_text(encoding="utf-8"), re.MULTILINE)
JOBS = tuple(_JOBS.split())
IMAGES = (
    *("cpu", "cuda-9.2", "cuda-10.0", "cuda-12.6", "cuda-13.0", "kaggle", "colab"),
    *("torch-2.13", "torch-2.14", "xla", "host", "notebook"),
)
PRESETS = ("article", "ci", "colab", "gpu", "kaggle", "smoke", "venvs")
SHIPPED = {"jobs": JOBS, "docker": IMAGES, "presets": tuple(f"{each}.yaml" for each in PRESETS)}
TINY = "tiny"  # the job of a project that names no other: five lines of bash
TINY_FILES = {
    "job.yaml": "train: bash train.sh\ntotal: [work]\nmetrics:\n  score: {unit: points, better: higher}\n",
    "train.sh": """sleep 0.1
echo '{"span": "work", "seconds": 0.1}' >> "$FACEOFF_EVENTS"
echo '{"metric": "score", "value": 3.5}' >> "$FACEOFF_EVENTS"
echo a model > "$FACEOFF_OUTPUT/model"
""",
}
# Of a project, whatever this checkout's own says; on the CPU, whatever this machine has.
PARAMS: dict[str, Any] = {
    "job": TINY,
    "variants": {"plain": {}},
    "repeats": [1, 2, 3],
    "seed": 42,
    "env": {"OMP_WAIT_POLICY": "passive"},
    "container": {"gpus": "none", "shm_size": "1g", "memory": None, "cpus": None, "cpuset": None, "base_images": {}},
    "on_failure": "stop",
    "limits": {"stall_minutes": 10, "cell_minutes": None},
    "profile": {"measure_seconds": 0},
    "provider": dict.fromkeys(("name", "source", "cpus", "memory", "gpu", "gpus", "gpu_memory", "disk")),
    "session": {"max_hours": None},
    "compare": {"margin": 0.02, "looks": [], "remeasure": 0},
}
# The article's job on a few drawn photos, with the smallest network.
DOGS_CATS: dict[str, Any] = {
    "dataset": {"source": "synthetic", "folder": None, "train_photos": 64, "valid_photos": 16, "seed": 42},
    "recipe": {
        "arch": "resnet18",
        "pretrained": False,
        "size": 32,
        "frozen_epochs": 1,
        "unfrozen_epochs": 1,
        "frozen_learning_rate": 3.0e-3,
        "unfrozen_learning_rates": [1.0e-5, 3.0e-4],
        "pct_start": 0.05,
        "workers": 1,
        "channels_last": False,
    },
}


def make_project(folder: Path, images: list[str], **overrides: Any) -> Path:
    """A folder in which stages run as in a checkout. `overrides` are laid over PARAMS, sections key by key."""
    params = {**PARAMS, "image": images[0], "images": images, "dogs_cats": DOGS_CATS}
    for key, value in overrides.items():
        merged = isinstance(value, dict) and isinstance(params.get(key), dict) and key != "variants"
        params[key] = {**params[key], **value} if merged else value
    baseline = {"baseline": f"{images[0]}/{next(iter(params['variants']))}"}
    params["compare"] = {**baseline, **params["compare"]}
    copy_shipped(folder, "stages", "docker", "jobs")
    # This checkout's .venv, which a project in another folder does not have.
    (folder / "docker/host/image.yaml").write_text(f"python: {sys.executable}\n", encoding="utf-8")
    write_job(folder, TINY, TINY_FILES)
    (folder / "params.yaml").write_text(yaml.safe_dump(params, sort_keys=False), encoding="utf-8")
    return folder


def copy_shipped(folder: Path, *parts: str) -> None:
    """Copy these folders of the checkout, without what its user added; stages/ compiled as conftest.py has left it."""
    for part in parts:
        shutil.copytree(ROOT / part, folder / part, ignore=_not_shipped)


def _not_shipped(folder: str, names: list[str]) -> set[str]:
    path = Path(folder)
    shipped = SHIPPED.get(path.name) if path.parent == ROOT else None
    added = (each for each in names if shipped is not None and each not in shipped)
    caches = set() if path.is_relative_to(ROOT / "stages") else {"__pycache__"}
    return caches | {each for each in added if path.name == "presets" or (path / each).is_dir()}


def link_venv(folder: Path) -> None:
    """Give the folder the .venv of this very Python, by which dvc.yaml runs each stage."""
    (folder / ".venv").symlink_to(Path(sys.executable).parent.parent)


def write_job(folder: Path, name: str, files: Mapping[str, str]) -> None:
    """A job of the project, made of these files."""
    for file, text in files.items():
        path = folder / "jobs" / name / file
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text, encoding="utf-8")


def run_stage(folder: Path, *arguments: str, **environment: str) -> subprocess.CompletedProcess[str]:
    """`python -m stages.<arguments>` in the folder, its output captured."""
    command = [sys.executable, "-m", f"stages.{arguments[0]}", *arguments[1:]]
    return subprocess.run(command, cwd=folder, env={**os.environ, **environment}, capture_output=True, text=True)


def run_stage_here(folder: Path, *arguments: str) -> subprocess.CompletedProcess[str]:
    """Like `run_stage`, in this process, which has imported by then what takes each new one seconds."""
    said, complained = io.StringIO(), io.StringIO()
    with contextlib.ExitStack() as held:
        held.enter_context(contextlib.chdir(folder))
        held.enter_context(contextlib.redirect_stdout(said))
        held.enter_context(contextlib.redirect_stderr(complained))
        held.enter_context(mock.patch.object(sys, "argv", list(arguments)))
        held.enter_context(mock.patch.dict(os.environ))  # of which modules set some as they are imported
        try:
            code = importlib.import_module(f"stages.{arguments[0]}").main()
        except FaceoffError as error:
            code = error.exit_code
            print(f"faceoff: {error}", file=sys.stderr)
    return subprocess.CompletedProcess(arguments, code, said.getvalue(), complained.getvalue())


def stage(folder: Path, *arguments: str) -> str:
    """Like `run_stage`, for a stage that must end well; what it printed."""
    done = run_stage(folder, *arguments)
    assert done.returncode == 0, f"{arguments}: {done.stdout}{done.stderr}"
    return done.stdout


def cell_stage(folder: Path, name: str, image: str, variant: str = "plain", repeat: int = 1) -> str:
    """Run train or evaluate of one cell inside its image, as dvc.yaml does."""
    return stage(folder, "inside", image, "--result", f"metrics/{image}/{variant}/{name}-{repeat}.json")
