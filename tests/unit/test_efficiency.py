"""benchmarks/efficiency: how the parts of a run's wall time are told apart."""

import argparse
import dataclasses
import subprocess
import sys
import time
from pathlib import Path

import pytest

from benchmarks import efficiency
from benchmarks.innermost import Command, Kind, Looker
from stages.contract import Span
from stages.harness.params import schema
from stages.records import Cell
from tests import results

STAGE = """
import subprocess, sys
subprocess.run([sys.executable, "-c", sys.argv[-1]], cwd="jobs/mine")
"""
WORKS = """
import json, time
time.sleep(0.6)
for event in ({"fact": "device", "value": "cpu"}, {"span": "frozen", "seconds": 0.1}):
    open("../../models/host/plain/1.events.jsonl", "a").write(json.dumps(event) + "\\n")
    time.sleep(0.6)
"""


@pytest.fixture
def root(tmp_path: Path) -> Path:
    for folder in ("stages", "jobs/mine", "models/host/plain"):
        (tmp_path / folder).mkdir(parents=True)
    (tmp_path / "stages/inside.py").write_text(STAGE)
    return tmp_path


def looked(root: Path, *words: str) -> Looker:
    looker = Looker(root)
    with subprocess.Popen([sys.executable, "-m", "stages.inside", *words], cwd=root) as process:
        while process.poll() is None:
            looker.look()
            time.sleep(0.01)
    looker.look()
    return looker


def test_the_innermost_process_has_the_time(root: Path) -> None:
    looker = looked(root, "host", "import time; time.sleep(0.5)")
    whole = sum(looker.seconds.values())
    assert set(looker.seconds) == {Kind("inside"), Kind("inside", "command")}
    assert looker.seconds[Kind("inside", "command")] > whole / 3


def test_processes_elsewhere_are_not_the_runs(root: Path, tmp_path_factory: pytest.TempPathFactory) -> None:
    elsewhere = tmp_path_factory.mktemp("elsewhere")
    with subprocess.Popen([sys.executable, "-c", "input()", "-m", "stages.train"], cwd=elsewhere, stdin=-1) as other:
        looker = looked(root, "host", "pass")
        other.kill()
    assert {each.entry for each in looker.seconds} == {"inside"}


def test_events_of_a_cells_command_are_noted_when_they_come(root: Path) -> None:
    cell = Cell("host", "plain", 1)
    assert str(cell.events_path) in WORKS
    (root / "stages/inside.py").write_text(STAGE.replace("sys.argv[-1]", repr(WORKS)))
    command = looked(root, "host", "--result", str(cell.result_path("train"))).commands[cell, "train"]
    moments = [at for at, _ in command.events]
    assert [sorted(event) for _, event in command.events] == [["fact", "value"], ["seconds", "span"]]
    assert command.began < moments[0] < moments[1] < command.ended


def test_a_cells_command_is_divided_by_its_spans_and_events() -> None:
    command = Command(100.0)
    command.ended = 120.0
    document = {"ceilings": {}}
    command.events = [(104.0, {"fact": "device"}), (110.0, {"span": "frozen"}), (117.0, document), (119.0, {})]
    result = dataclasses.replace(
        results.trained(Cell("host", "fp32-bs16", 1)), spans=(Span("frozen", 5.5), Span("extra", 1.0))
    )
    job = dataclasses.replace(results.JOB, total=("frozen",))
    found = efficiency.of_command(command, result, job, 3.0)
    assert found == {
        efficiency.IMPORTED: 3.0,
        efficiency.PREPARED: 1.0,
        efficiency.MEASURED: 5.5,
        efficiency.SPANS: 1.0,
        efficiency.CEILINGS: 7.0,
        efficiency.ENDED: 1.0,
        efficiency.BETWEEN: 1.5,
    }
    assert sum(found.values()) == pytest.approx(20.0)
    wall = dataclasses.replace(results.JOB, total=("wall",))
    assert efficiency.of_command(command, result, wall, 3.0) == {efficiency.MEASURED: 20.0}


def test_it_runs_what_its_options_say(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    changes = [efficiency.assignment(each) for each in ("dogs_cats.recipe.size=32", "repeats=[1, 2]")]
    efficiency.make(tmp_path / "project", "cuda-10.0", "ci", changes)
    monkeypatch.chdir(tmp_path / "project")
    wanted = schema.load()
    assert (wanted.images, wanted.repeats, wanted.compare.baseline) == (("cuda-10.0",), (1, 2), "cuda-10.0/fp32-bs16")
    assert (wanted.section["recipe"]["size"], wanted.section["dataset"]["train_photos"]) == (32, 64)
    with pytest.raises(argparse.ArgumentTypeError, match="size: expected KEY=VALUE"):
        efficiency.assignment("size")
