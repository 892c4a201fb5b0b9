"""The benchmark against other tools: verdicts from their times, no face-off run twice, a job as it is told."""

import dataclasses
import json
import os
import subprocess
import sys

import pytest

from benchmarks import against
from stages import contract
from stages.harness.params import schema

OUTCOME = against.Outcome("t-test", 0, 1, 61.0, "slower", 20, 1.048, against.STEPS, tuple(against.PRODUCTS.values()))


@pytest.mark.parametrize(
    ("factor", "verdict"), [(1.05, "slower"), (1.005, "not shown"), (0.95, "faster"), (1.0, "not shown")]
)
def test_a_ratio_is_shown_where_its_interval_leaves_out_1(factor, verdict):
    plain = [3.0, 3.06, 2.95, 3.02, 2.97, 3.04]
    found = against.of_interval(plain, [factor * each for each in reversed(plain)], trainings=12)
    assert (found.verdict, found.trainings) == (verdict, 12)
    assert found.ratio == pytest.approx(factor)


def test_a_face_off_that_is_there_is_read_again_and_one_of_another_training_is_not(tmp_path):
    path = tmp_path / "out.jsonl"
    assert against.read(path) == []
    lines = [OUTCOME, dataclasses.replace(OUTCOME, steps=1), dataclasses.replace(OUTCOME, busy=1, verdict="not shown")]
    path.write_text("".join(json.dumps(dataclasses.asdict(each)) + "\n" for each in lines), encoding="utf-8")
    quiet, loaded = against.read(path)
    assert quiet == OUTCOME and against.is_same(quiet, "t-test", 0, 1)
    assert not against.is_same(loaded, "t-test", 0, 1)
    assert [*against.table([quiet, loaded])][2:] == [
        "| nothing | t-test | 1 | 1 | 61 | 61 | 20 | 1.048 |",
        "| 1 busy | t-test | 1 | 0 | 61 | 61 | 20 | 1.048 |",
    ]


def test_every_tool_begins_now_and_then():
    assert {against.turned([*against.TOOLS], number)[0] for number in range(1, 11)} == set(against.TOOLS)


def test_the_project_is_taken_and_its_training_tells_the_times_of_its_steps(tmp_path):
    against.lay_out(tmp_path)
    params = schema.load(tmp_path)
    assert (params.job, [*params.variants], params.compare.baseline) == ("mine", ["plain", "slowed"], "host/plain")
    events = tmp_path / "events.jsonl"
    command = [sys.executable, str(tmp_path / "train.py"), "2", "5"]
    environment = {**os.environ, "FACEOFF_EVENTS": str(events), "OMP_NUM_THREADS": "1"}
    done = subprocess.run(command, env=environment, capture_output=True, text=True, check=True)
    [span] = contract.read_events(events).spans
    assert (span.name, span.steps, len(span.step_seconds)) == ("train", 5, 5)
    assert span.seconds == float(done.stdout)
