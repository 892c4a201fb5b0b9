"""A git checkout of this project in a folder of a test's own, with params and a job of the test's."""

import shutil
import subprocess
from pathlib import Path
from typing import Any

from tests.project import ROOT, copy_shipped, link_venv, make_project

FILES = ("Makefile", "dvc.yaml", ".gitignore", ".dvcignore", ".dvc/config", ".dvc/.gitignore", "LICENSE")


def make_checkout(folder: Path, **params: Any) -> Path:
    """Make one that was just cloned and set up; of images it has `host`, which is this very Python."""
    make_project(folder, ["host"], **params)
    copy_shipped(folder, "reach", "presets", ".dvc/plots")
    for file in FILES:
        shutil.copy(ROOT / file, folder / file)
    link_venv(folder)
    commit(folder)
    return folder


def commit(folder: Path) -> None:
    """Commit all that is there; git knows no user here."""
    for command in ("init -q", "add --all", "-c user.name=t -c user.email=t@localhost commit -q --allow-empty -m t"):
        subprocess.run(["git", *command.split()], cwd=folder, check=True)
