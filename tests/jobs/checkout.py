"""A checkout of its own in which the real pipeline runs: DVC, stages, and the jobs that are there."""

import os
import shutil
import subprocess
import sys
from collections.abc import Mapping
from pathlib import Path
from types import MappingProxyType
from typing import Any

from stages import codec, records
from stages.records import Comparison, Result, SettingResult
from tests.project import ROOT, link_venv, make_project

FILES = ("dvc.yaml", ".gitignore", ".dvcignore", ".dvc/config", ".dvc/.gitignore", ".dvc/plots")


def make(folder: Path, images: list[str], image_files: Mapping[str, str] = MappingProxyType({}), **params: Any) -> Path:
    """A project as make_project makes it, under git and DVC, with images of its own: name, text of image.yaml."""
    make_project(folder, images, **params)
    for name, text in image_files.items():
        (folder / "docker" / name).mkdir()
        (folder / "docker" / name / "image.yaml").write_text(text)
    for name in FILES:
        (folder / name).parent.mkdir(exist_ok=True)
        copy = shutil.copytree if (ROOT / name).is_dir() else shutil.copy
        copy(ROOT / name, folder / name)
    link_venv(folder)
    run(folder, "git", "init", "-q")
    return folder


def run(folder: Path, *command: str, code: int = 0) -> str:
    """What a command printed that must end with `code`, errors among it; .venv comes first on its PATH."""
    environment = {
        **os.environ,
        "PATH": f"{Path(sys.executable).parent}:{os.environ['PATH']}",
        "HOME": str(folder.parent),
    }
    done = subprocess.run(
        command, cwd=folder, env=environment, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True
    )
    assert done.returncode == code, f"{command}: {done.returncode}\n{done.stdout}"
    return done.stdout


def repro(folder: Path, code: int = 0) -> str:
    """Run the face-off as `make repro` does; what was printed."""
    run(folder, "python", "-m", "stages.params")
    return run(folder, "python", "-m", "stages.repro", code=code)


def comparison(folder: Path) -> Comparison:
    return codec.read(folder / records.COMPARISON_PATH, Comparison)


def settings(folder: Path) -> dict[str, SettingResult]:
    return {each.setting: each for each in comparison(folder).settings}


def result(folder: Path, stage: str, image: str, variant: str, repeat: int = 1) -> Result:
    return codec.read(folder / records.Cell(image, variant, repeat).result_path(stage), Result)


def preflight(folder: Path, image: str | None = None) -> dict[str, records.Check]:
    path = records.PREFLIGHT_PATH if image is None else records.preflight_path(image)
    return {check.name: check for check in codec.read(folder / path, records.Preflight).checks}


def profile(folder: Path, image: str) -> records.Profile:
    return codec.read(folder / records.profile_path(image), records.Profile)
