"""The article's job as a supervisor runs it: a folder for each of its variables, its events as they are read."""

import dataclasses
import json
import os
import signal
import subprocess
import sys
from pathlib import Path
from typing import Any

import yaml

from stages.contract import Events, read_events
from tests.project import DOGS_CATS, ROOT

METRICS = yaml.safe_load((ROOT / "jobs/dogs_cats/job.yaml").read_text(encoding="utf-8"))["metrics"]


@dataclasses.dataclass
class ByHand:
    """The job's commands, run in a folder of a test's own."""

    folder: Path
    section: dict[str, Any]
    parameters: dict[str, Any] = dataclasses.field(default_factory=lambda: {"precision": "fp32", "batch_size": 16})
    session_ends_at: float | None = None
    repeat: int = 1

    @property
    def data(self) -> Path:
        return self._made("data")

    @property
    def output(self) -> Path:
        return self._made(f"{self.repeat}")

    @property
    def state(self) -> Path:
        return self._made(f"{self.repeat}.state")

    @property
    def evaluation(self) -> Path:
        return self._made(f"{self.repeat}.evaluation")

    @property
    def events_path(self) -> Path:
        return self.folder / "events.jsonl"

    def _made(self, name: str) -> Path:
        (self.folder / name).mkdir(parents=True, exist_ok=True)
        return self.folder / name

    def environment(self, command: str, **more: Any) -> dict[str, str]:
        """What the job is told; `more` of the cell's document."""
        cell = {
            "job": "dogs_cats",
            "stage": command,
            "image": "host",
            "variant": "plain",
            "repeat": self.repeat,
            "seed": 42 + self.repeat,
            "parameters": self.parameters,
            "gpus": 1,
            "variants": [self.parameters],
            "section": self.section,
            "session_ends_at": self.session_ends_at,
            "ceilings": True,
            "usable_cpus": 2.0,
            **more,
        }
        return {
            "FACEOFF_EVENTS": str(self.events_path),
            "FACEOFF_DATA": str(self.data),
            "FACEOFF_OUTPUT": str(self.evaluation if command == "evaluate" else self.output),
            "FACEOFF_STATE": str(self.state),
            "FACEOFF_CELL": json.dumps(cell),
        }

    def command(self, command: str) -> list[str]:
        """As job.yaml has it."""
        given = [f"--{key.replace('_', '-')}={value}" for key, value in self.parameters.items()]
        words = [word for each in given for word in each.split("=", 1)]
        more = {"train": words, "evaluate": ["--model", str(self.output), *words]}
        return [sys.executable, "run.py", command, *more.get(command, [])]

    def start(self, command: str, variables: dict[str, str] | None = None, **more: Any) -> subprocess.Popen[str]:
        """The command under way, with an empty file of events."""
        self.events_path.unlink(missing_ok=True)
        threads = {"OMP_NUM_THREADS": "1"}  # threads wait for each other where others take the CPUs
        return subprocess.Popen(
            self.command(command),
            cwd=ROOT / "jobs/dogs_cats",
            env={**os.environ, **threads, **self.environment(command, **more), **(variables or {})},
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
            preexec_fn=lambda: signal.signal(signal.SIGINT, signal.SIG_DFL),  # what runs in the background ignores it
        )

    def run(self, command: str, variables: dict[str, str] | None = None, **more: Any) -> tuple[int, str, str]:
        """Its exit code, and what it printed."""
        process = self.start(command, variables, **more)
        printed, errors = process.communicate()
        return process.returncode, printed, errors

    def succeed(self, command: str, variables: dict[str, str] | None = None, **more: Any) -> Events:
        """What it told; it must end well."""
        code, printed, errors = self.run(command, variables, **more)
        assert code == 0, printed + errors
        return self.events()

    def fail(self, command: str, **more: Any) -> str:
        """The one line of its error, which it both tells and prints."""
        code, printed, errors = self.run(command, **more)
        assert code == 1 and "Traceback" not in errors, printed + errors
        line = self.events().error
        assert line is not None and f"faceoff: {line}\n" in errors
        return line

    def events(self) -> Events:
        return read_events(self.events_path, METRICS)


def by_hand(folder: Path, dataset: dict[str, Any] | None = None, **recipe: Any) -> ByHand:
    """The job in this folder, with few photos and a small network."""
    section = {
        "dataset": {**DOGS_CATS["dataset"], **(dataset or {})},
        "recipe": {**DOGS_CATS["recipe"], **recipe},
    }
    return ByHand(folder, section)
