"""How far a run is, from what DVC prints."""

import os
import re
import signal
import subprocess
import sys
import time

import pytest
from rich.cells import cell_len
from rich.console import Console

from stages.harness.pipeline import lines, repro, screen
from stages.harness.pipeline.lines import Lines, Reader
from stages.harness.pipeline.progress import Earlier, Spans, Tracker, duration
from stages.records import Cell
from tests.project import ROOT

CELLS = [Cell(image, "fp32", repeat) for repeat in (1, 2) for image in ("a", "b")]


class Clock:
    now = 0.0

    def __call__(self):
        return self.now


def told(tracker, clock, *said_to_it):
    """What the tracker says after each line; 'SECONDS' lets time pass."""
    said = []
    for line in said_to_it:
        if line.isdigit():
            clock.now += int(line)
        elif tracker.hear(line) and tracker.words:
            said.append(tracker.words + tracker.time_left())
    return said


def runs(name):
    return f"Running stage '{name}':"


def keeps(name):
    return f"Stage '{name}' didn't change, skipping"


def test_each_cell_is_told_with_what_is_left_once_one_has_ended():
    clock = Clock()
    said = told(
        Tracker(CELLS, (), clock=clock), clock,
        runs("machine"), "7", runs("train@1-a-fp32"), "10", runs("train@1-b-fp32"), "30",
        runs("train@2-a-fp32"), "epoch 1", "12", runs("train@2-b-fp32"), "30", runs("evaluate@1-a-fp32"),
    )  # fmt: skip
    assert said == [
        "a look at the machine",
        "training, cell 1 of 4: a/fp32, repeat 1",
        "training, cell 2 of 4: b/fp32, repeat 1, about 30 s left",
        "training, cell 3 of 4: a/fp32, repeat 2, about 40 s left",
        "training, cell 4 of 4: b/fp32, repeat 2, about 30 s left",
        "evaluation, cell 1 of 4: a/fp32, repeat 1",
    ]


def test_evaluations_are_in_the_time_left_once_one_was_seen():
    clock = Clock()
    said = told(
        Tracker(CELLS, (), clock=clock), clock,
        runs("train@1-a-fp32"), "10", runs("evaluate@1-a-fp32"), "4", runs("train@1-b-fp32"), "20",
        runs("evaluate@1-b-fp32"), "6", runs("train@2-a-fp32"),
    )  # fmt: skip
    assert said[1].endswith("about 30 s left")  # 3 trainings; nothing is known of an evaluation
    assert said[2].endswith("about 42 s left")  # with 3 evaluations
    assert said[4].endswith("about 40 s left")  # a training and an evaluation of a, and of b


def test_the_bar_goes_over_every_stage_of_the_pipeline():
    names = ["machine", "job", "download", "image@a", "image@b", "profile@a", "profile@b"]
    names += ["setting@a-fp32", "setting@b-fp32"]
    names += [f"{kind}@{repeat}-{image}-fp32" for kind in ("train", "evaluate") for repeat in (1, 2) for image in "ab"]
    tracker, done = Tracker(CELLS, (), clock=Clock()), []
    for index, name in enumerate([*names, "compare", "scorecard"]):
        tracker.hear(keeps(name) if index % 3 else runs(name))
        done.append(tracker.done)
    assert done == [index + bool(index % 3) for index in range(tracker.total)]
    begun = [runs(name) for name in ("image@b", "profile@b", "setting@b-fp32", "compare")]
    assert told(Tracker(CELLS, (), clock=Clock()), Clock(), *begun) == [
        "making image b", "profile of image b", "comparison",
    ]  # fmt: skip


def test_cells_that_are_kept_take_no_time():
    clock = Clock()
    said = told(
        Tracker(CELLS, CELLS[:1], clock=clock), clock,
        keeps("train@1-a-fp32"), runs("train@1-b-fp32"), "20", runs("train@2-a-fp32"),
    )  # fmt: skip
    assert said[-1] == "training, cell 3 of 4: a/fp32, repeat 2, about 40 s left"


def test_of_cells_with_results_only_settings_that_were_measured_again_are_expected():
    clock = Clock()
    said = keeps("train@1-a-fp32"), runs("train@1-b-fp32"), "20", runs("train@2-b-fp32")
    assert told(Tracker(CELLS, CELLS, clock=clock), clock, *said)[-1].endswith("about 20 s left")


def test_those_that_will_be_measured_again_are_expected_from_the_first_cell_on():
    """What the reasons know shows when machine, job and settings are noted: not before the first cell."""
    asked, clock = [], Clock()
    tracker = Tracker(CELLS, CELLS, clock=clock, again=lambda: asked.append(1) or CELLS)
    assert told(tracker, clock, runs("machine")) and not asked
    assert told(tracker, clock, runs("train@1-a-fp32"), "20", runs("train@1-b-fp32"))[-1].endswith("about 1:00 left")
    assert asked == [1]


def test_of_a_job_without_an_evaluation_none_is_told_or_counted():
    tracker = Tracker(CELLS, (), clock=Clock(), evaluates=False)
    of_job_alone = Tracker(CELLS, (), clock=Clock()).total - len(CELLS)
    assert told(tracker, Clock(), runs("train@1-a-fp32")) == ["training, cell 1 of 4: a/fp32, repeat 1"]
    assert told(tracker, Clock(), runs("evaluate@1-a-fp32"), keeps("evaluate@1-b-fp32")) == []
    assert (tracker.place, tracker.words) == (f"2 of {of_job_alone}", "")


def test_what_a_cell_took_in_an_earlier_run_tells_the_time_left_and_it_runs_down():
    clock = Clock()
    tracker = Tracker(
        CELLS, (), {("train", "a/fp32"): Earlier(100.0, 3), ("evaluate", "a/fp32"): Earlier(10.0, 1)}, clock
    )
    assert told(tracker, clock, runs("train@1-a-fp32")) == ["training, cell 1 of 4: a/fp32, repeat 1, about 7:20 left"]
    clock.now += 40
    assert (tracker.elapsed, tracker.time_left(), tracker.expected_spans()) == (40.0, ", about 6:40 left", 3)
    clock.now += 600  # it takes longer than ever: what is left is the others'
    assert tracker.time_left() == ", about 5:40 left"
    assert told(tracker, clock, runs("evaluate@1-a-fp32"))[0].endswith("about 32:40 left")


@pytest.mark.parametrize(
    ("seconds", "said"), [(0.4, "0 s"), (59.6, "1:00"), (3599.6, "1 h 00 min"), (7500, "2 h 05 min")]
)
def test_a_duration_is_read_at_a_glance(seconds, said):
    assert duration(seconds) == said


def test_spans_are_counted_as_a_cell_tells_them(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    cell, other, spans = CELLS[0], CELLS[1], Spans()
    for each in (cell, other):
        each.events_path.parent.mkdir(parents=True)
    assert spans.words("train", cell, 2) == ""  # there is no file yet
    cell.events_path.write_text(
        '{"span": "head", "seconds": 1}\n{"fact": "device", "value": "cpu"}\nno JSON\n{"span": "bo'
    )
    assert spans.words("train", cell, 2) == "1 of 2 spans (head)"
    with cell.events_path.open("a") as file:
        file.write('dy", "seconds": 1}\n')
    assert spans.words("train", cell, None) == "2 spans (body)"
    os.utime(cell.events_path, (1, 1))
    assert spans.words("evaluate", cell, None) == ""  # the file is the training's yet
    cell.events_path.write_text('{"span": "predict", "seconds": 1, "samples": 1000, "steps": 1000, "values": {}}\n' * 3)
    assert spans.words("evaluate", cell, None) == "3 spans (predict)"  # of a file that was longer before
    other.events_path.write_text('{"resumed_after_spans": 1}\n')
    assert spans.words("train", other, None) == "1 of 2 spans (by an earlier attempt)"
    other.events_path.write_text('{"span": "head"}\n')  # run once more
    assert spans.words("train", other, None) == "1 of 2 spans (head)"


def test_of_dvcs_own_lines_none_is_shown_and_of_warnings_each_once():
    seen = set()
    chosen, others = Lines(seen), Lines(seen)
    said = """\
Running stage 'train@1-a-fp32':
> exec .venv/bin/python -m stages.inside a --result metrics/a/fp32/train-1.json
/usr/lib/a/numpy.py:12: UserWarning: slow
  old = new
epoch 1

epoch 2
/usr/lib/b/numpy.py:34: UserWarning: slow
  old = new
  not code of it

Stage 'train@2-a-fp32' didn't change, skipping
WARNING: 'data/weights' is empty.
ERROR: failed to reproduce 'train@1-b-fp32': failed to run: exec .venv/bin/python, exited with 7
To track the changes with git, run:

\tgit add dvc.lock

To enable auto staging, run:

\tdvc config core.autostage true
Use `dvc push` to send your updates to remote storage.
the end""".splitlines()
    shown = [each for line in said for each in chosen.shown(line)]
    assert shown == ["/usr/lib/a/numpy.py:12: UserWarning: slow", "  old = new", "epoch 1", "", "epoch 2", "the end"]
    assert chosen.failed == {"train@1-b-fp32": 7}
    assert others.shown("12:00:01 UserWarning: slow") == []  # of another stream
    for line in ("[W1128 01:02:03.4 NNPACK.cpp:61] no NNPACK", "[W1128 01:02:04.5 NNPACK.cpp:61] no NNPACK"):
        assert bool(others.shown(line)) == ("03.4" in line)


def test_lines_that_are_written_over_are_told_from_those_that_stay(tmp_path, monkeypatch):
    """Also where they come in pieces."""
    pieces = iter((b"one\r\ntw", b"o\n 10%|#", b"\r\x1b[2K 20%|##\r", b"\n done", b" \xff"))
    monkeypatch.setattr(lines.os, "read", lambda *_: next(pieces, b""))
    with (tmp_path / "stream").open("wb") as stream:
        found = list(Reader(stream))
    over = ["10%|#", "20%|##"]
    stay = ["one", "two", "20%|##", " done \ufffd"]
    assert [text for text, is_passing in found if is_passing] == over
    assert [text for text, is_passing in found if not is_passing] == stay


def test_a_terminal_has_two_lines_below_all_others(monkeypatch, tmp_path, capsys):
    """And an end that leaves nothing of them."""

    def run(command, show, errors, hear):
        for line in LINES:
            hear(line, line.startswith("50"))
            show(line)
        time.sleep(1.0)  # in which it is drawn
        return 0

    monkeypatch.setattr(repro, "_run", run)
    monkeypatch.setattr(screen, "PAUSE_SECONDS", 0.02)
    monkeypatch.chdir(tmp_path)
    (tmp_path / "jobs/mine").mkdir(parents=True)
    (tmp_path / "jobs/mine/job.yaml").write_text("train: echo\nevaluate: echo\n")
    events = CELLS[1].events_path
    events.parent.mkdir(parents=True)
    events.write_text('{"span": "head", "seconds": 1}\n')
    monkeypatch.setattr(sys.stdout, "isatty", lambda: True)
    console = Console(force_terminal=True, width=80)
    assert repro.repro(Wanted(), console) == 0
    shown = capsys.readouterr().out
    assert "frozen epoch 1: [4.1 s]\n" in shown
    assert re.search(r"\x1b\[Jtraining, cell 2 of 4: b/fp32, repeat 1: \d s, 1 span \(head\)\n", shown)
    assert re.search(r"━{25}\x1b\[0m stage 2 of 19, about 0 s left\r\x1b\[1A", shown) and shown.endswith("\x1b[J")
    assert all(cell_len(re.sub(r"\x1b\[\d*\w", "", line)) < 80 for line in shown.splitlines())


LINES = [runs("train@1-a-fp32"), "frozen epoch 1: [4.1 s]", "50%|##", runs("train@1-b-fp32")]


class Wanted:
    job = "mine"

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
repro._run(["sh", "-c", "$0 inner.py $1; true", sys.executable, sys.argv[1]], print, None, lambda *_: None)
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
repro._run(["true"], print, None, lambda *_: None)
"""


def test_a_signal_that_comes_when_all_has_ended_is_no_traceback(tmp_path):
    command = [sys.executable, "-c", ENDS_AT_ONCE]
    done = subprocess.run(command, cwd=tmp_path, env={**os.environ, "PYTHONPATH": str(ROOT)}, capture_output=True)
    assert (done.returncode, done.stderr) == (143, b"faceoff: SIGTERM: stopping\n")


def test_stages_leave_their_compiled_code_to_the_next(monkeypatch):
    monkeypatch.delenv("PYTHONDONTWRITEBYTECODE", raising=False)
    command, shown = [sys.executable, "-c", "import sys; print(sys.dont_write_bytecode)"], []
    repro._run(command, shown.append, None, lambda *_: None)
    assert "".join(shown).strip() == "False"
