"""The supervisor on real processes: a checkout of a test's own, in which a script runs as a cell's command."""

import os
import shutil
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from stages import codec, records
from stages.records import Belongs, Cell, Container, Job, Result, Task, Variant
from tests import results
from tests.project import ROOT

# Where there is any: what runs inside images must do with it.
LEGACY = sorted(str(path) for path in Path.home().glob(".pyenv/versions/3.7.*/bin/python"))
PYTHONS = [sys.executable, *LEGACY[:1]]
CELL = Cell("host", "plain", 1)
JOB = "mine"
# Begins of scripts.
EVENTS = """import json, os, sys, time
def tell(**line):
    open(os.environ["FACEOFF_EVENTS"], "a").write(json.dumps(line) + "\\n")
"""
SPAN = 'tell(span="epoch", seconds=0.5, samples=10, values={"loss": 0.25})\n'


class Checkout:
    """Has stages/, and a job `mine` with one script."""

    def __init__(self, folder: Path, python: str = sys.executable, **job: Any) -> None:
        self.root, self.python = folder, python
        plain: dict[str, Any] = {"name": JOB, "train": "as the test says", "evaluate": None, "files": {}}
        plain |= {"total": records.WALL, "metrics": {}, "resumes": False, "dry_run": False, "observe": False}
        self.job = Job(**{**plain, "section_json": '{"size": 3}', "seed": 42, **job})
        self.variant = Variant({"rate": 0.5}, {"MINE": "of the variant"})
        (folder / "jobs" / JOB).mkdir(parents=True)
        (folder / "data").mkdir(exist_ok=True)
        (folder / "stages").symlink_to(ROOT / "stages")

    def task(self, stage: str, command: Sequence[str], **changes: Any) -> Task:
        """What the host tells the supervisor; `changes` of Belongs, session_ends_at, gpu_uuids, remeasure and ranks."""
        session_ends_at, ranks = changes.pop("session_ends_at", None), changes.pop("ranks", 1)
        gpu_uuids, remeasure = changes.pop("gpu_uuids", ()), changes.pop("remeasure", 0)
        plain: dict[str, Any] = dict.fromkeys(("job_sha256", "data_sha256", "machine_sha256"), "a" * 64)
        plain |= {"image_sha256": None, "facts_sha256": None, "code_sha256": None, "variant": self.variant}
        belongs = Belongs(**{**plain, "container": Container("auto", "1g", None, None, None), **changes})
        return Task(
            CELL, stage, tuple(command), self.job, belongs, gpu_uuids, session_ends_at, True, remeasure, None, ranks
        )

    def script(self, text: str, name: str = "job.py") -> tuple[str, ...]:
        """The command that runs the text: Python, or bash by the name."""
        (self.root / "jobs" / JOB / name).write_text(text)
        return ("bash" if name.endswith(".sh") else "python", name)

    def entry(self, stage: str) -> list[str]:
        """What Python is told to run."""
        return ["-m", f"stages.{stage}"]

    def start(self, stage: str, command: Sequence[str], **changes: Any) -> "subprocess.Popen[str]":
        """The supervisor's process, all made ready as the host does."""
        path = CELL.task_path(stage)
        codec.write(self.root / path, self.task(stage, command, **changes))
        for each in (CELL.events_path, CELL.running_path):
            (self.root / each).write_text("")
        environment = {**os.environ, "PYTHONPATH": str(self.root), "PYTHONFAULTHANDLER": "1", "FACEOFF_STEPS": "9"}
        words = [self.python, *self.entry(stage), "--task", str(path)]
        pipes: dict[str, Any] = {"stdout": subprocess.PIPE, "stderr": subprocess.PIPE}
        return subprocess.Popen(words, cwd=self.root, env=environment, text=True, errors="replace", **pipes)

    def run(
        self, stage: str, command: Sequence[str], timeout: int = 60, **changes: Any
    ) -> "subprocess.CompletedProcess[str]":
        """Run a stage to its end."""
        with self.start(stage, command, **changes) as process:
            stdout, stderr = process.communicate(timeout=timeout)
        return subprocess.CompletedProcess(process.args, process.returncode, stdout, stderr)

    def result(self, stage: str = "train") -> Result:
        return codec.read(self.root / CELL.result_path(stage), Result)

    @property
    def reason(self) -> str:
        """What is left for the host."""
        return (self.root / CELL.running_path).read_text(encoding="utf-8").strip()

    def discard(self) -> None:
        shutil.rmtree(self.root / "models", ignore_errors=True)


def write_image_task(root: Path, task: Task | None = None, job: Job | None = None, **changes: Any) -> str:
    """What profile and preflight inside image host are told, with one cell or none; the path of its file."""
    plain: dict[str, Any] = {"image": "host", "job": job or results.JOB, "cells": (task,) if task else ()}
    plain |= {
        "shm_bytes": {},
        "gpus": "auto",
        "gpu_uuids": (),
        "measure": None,
        "measure_seconds": 0.0,
        "session_max_hours": None,
    }
    plain |= {"cells_left": {"plain": 6}, "in_container": False, "libraries": None}
    path = records.image_task_path("host")
    codec.write(root / path, records.ImageTask(**{**plain, **changes}))
    return str(path)
