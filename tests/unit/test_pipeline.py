"""How far a run is, from what DVC prints."""

import io
import os
import signal
import subprocess
import sys

import pytest
from rich.console import Console

from stages.harness.pipeline import repro
from stages.harness.pipeline.progress import Tracker
from stages.records import Cell
from tests.project import ROOT

CELLS = [Cell(image, "fp32", repeat) for repeat in (1, 2) for image in ("a", "b")]


class Clock:
    now = 0.0

    def __call__(self):
        return self.now


def told(tracker, clock, *lines):
    """What the tracker says after each line; 'SECONDS' lets time pass."""
    said = []
    for line in lines:
        if line.isdigit():
            clock.now += int(line)
        elif tracker.hear(line) and tracker.words:
            said.append(tracker.words)
    return said


def runs(name):
    return f"Running stage '{name}':"


def keeps(name):
    return f"Stage '{name}' didn't change, skipping"


def test_each_cell_is_told_with_what_is_left_once_one_has_ended():
    clock = Clock()
    said = told(
        Tracker(CELLS, (), clock), clock,
        runs("machine"), "7", runs("train@1-a-fp32"), "10", runs("train@1-b-fp32"), "30",
        runs("train@2-a-fp32"), "epoch 1", "12", runs("train@2-b-fp32"), "30", runs("evaluate@1-a-fp32"),
    )  # fmt: skip
    assert said == [
        "a look at the machine",
        "training, cell 1 of 4: a/fp32, repeat 1",
        "training, cell 2 of 4: b/fp32, repeat 1, about 30.0 s left",
        "training, cell 3 of 4: a/fp32, repeat 2, about 40.0 s left",
        "training, cell 4 of 4: b/fp32, repeat 2, about 30.0 s left",
        "evaluation, cell 1 of 4: a/fp32, repeat 1",
    ]


def test_evaluations_are_in_the_time_left_once_one_was_seen():
    clock = Clock()
    said = told(
        Tracker(CELLS, (), clock), clock,
        runs("train@1-a-fp32"), "10", runs("evaluate@1-a-fp32"), "4", runs("train@1-b-fp32"), "20",
        runs("evaluate@1-b-fp32"), "6", runs("train@2-a-fp32"),
    )  # fmt: skip
    assert said[1].endswith("about 30.0 s left")  # 3 trainings; nothing is known of an evaluation
    assert said[2].endswith("about 42.0 s left")  # with 3 evaluations
    assert said[4].endswith("about 40.0 s left")  # a training and an evaluation of a, and of b


def test_the_bar_goes_over_every_stage_of_the_pipeline():
    names = ["machine", "job", "download", "image@a", "image@b", "profile@a", "profile@b"]
    names += ["setting@a-fp32", "setting@b-fp32"]
    names += [f"{kind}@{repeat}-{image}-fp32" for kind in ("train", "evaluate") for repeat in (1, 2) for image in "ab"]
    tracker, done = Tracker(CELLS, (), Clock()), []
    for index, name in enumerate([*names, "compare", "scorecard"]):
        tracker.hear(keeps(name) if index % 3 else runs(name))
        done.append(tracker.done)
    assert done == [index + bool(index % 3) for index in range(tracker.total)]
    begun = [runs(name) for name in ("image@b", "profile@b", "setting@b-fp32", "compare")]
    assert told(Tracker(CELLS, (), Clock()), Clock(), *begun) == [
        "making image b", "profile of image b", "comparison",
    ]  # fmt: skip


def test_cells_that_are_kept_take_no_time():
    clock = Clock()
    said = told(
        Tracker(CELLS, CELLS[:1], clock), clock,
        keeps("train@1-a-fp32"), runs("train@1-b-fp32"), "20", runs("train@2-a-fp32"),
    )  # fmt: skip
    assert said[-1] == "training, cell 3 of 4: a/fp32, repeat 2, about 40.0 s left"


def test_of_cells_with_results_only_settings_that_were_measured_again_are_expected():
    clock = Clock()
    lines = keeps("train@1-a-fp32"), runs("train@1-b-fp32"), "20", runs("train@2-b-fp32")
    assert told(Tracker(CELLS, CELLS, clock), clock, *lines)[-1].endswith("about 20.0 s left")


def test_a_terminal_gets_a_bar_and_all_lines(monkeypatch, tmp_path):
    monkeypatch.setattr(repro, "_run", lambda command, show, errors: [show(each) for each in LINES] and 0)
    monkeypatch.chdir(tmp_path)
    console = Console(file=io.StringIO(), force_terminal=True, width=100)
    assert repro.repro(Wanted(), console) == 0
    shown = console.file.getvalue()
    assert "frozen epoch 1: [4.1 s]" in shown and "1/19" in shown and "cell 2 of 4: b/fp32" in shown


LINES = [runs("train@1-a-fp32"), "frozen epoch 1: [4.1 s]", runs("train@1-b-fp32")]


class Wanted:
    def cells(self):
        return CELLS


INNER = """
import signal, sys, time
def stop(*_):
    time.sleep(0.5)
    print("cleaned")
    sys.exit(3)
signal.signal(int(sys.argv[1]), stop)
print("up")
time.sleep(60)
"""
OUTER = """
import sys
from stages.harness.pipeline import repro
repro._run(["sh", "-c", "$0 inner.py $1; true", sys.executable, sys.argv[1]], print, None)
"""


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_a_signal_reaches_all_that_runs_and_its_end_is_waited_for(tmp_path, number):
    (tmp_path / "inner.py").write_text(INNER)
    process = subprocess.Popen(
        [sys.executable, "-c", OUTER, str(int(number))],
        cwd=tmp_path,
        stdout=subprocess.PIPE,
        text=True,
        env={**os.environ, "PYTHONUNBUFFERED": "1", "PYTHONPATH": str(ROOT)},
    )
    assert process.stdout.readline() == "up\n"
    process.send_signal(number)
    rest, _ = process.communicate(timeout=30)
    assert rest == "cleaned\n"
    assert process.returncode == 128 + number


ENDS_AT_ONCE = """
import os, signal, subprocess
from stages.harness.pipeline import repro
wait = subprocess.Popen.wait
def then_stop(process, timeout=None):
    subprocess.Popen.wait = wait
    code = wait(process, timeout)
    os.kill(os.getpid(), signal.SIGTERM)
    return code
subprocess.Popen.wait = then_stop
repro._run(["true"], print, None)
"""


def test_a_signal_that_comes_when_all_has_ended_is_no_traceback(tmp_path):
    command = [sys.executable, "-c", ENDS_AT_ONCE]
    done = subprocess.run(command, cwd=tmp_path, env={**os.environ, "PYTHONPATH": str(ROOT)}, capture_output=True)
    assert (done.returncode, done.stderr) == (143, b"faceoff: SIGTERM: stopping\n")
