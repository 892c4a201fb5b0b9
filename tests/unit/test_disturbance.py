"""A disturbed stage of a cell is measured once more, on real commands, beside a machine whose load the test sets."""

import contextlib
import dataclasses
import hashlib
import os
import subprocess
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from stages import codec, records
from stages.contract import Events
from stages.harness.cells.attempt import CellStage
from stages.harness.environments.launch import Outcome, Show, Work
from stages.harness.params import schema
from stages.harness.params.schema import LimitParams
from stages.harness.process.watchdog import Watch, watched
from stages.records import Conditions, GpuState, Load
from stages.workload.supervisor import disturbance, observation, progress
from stages.workload.supervisor.command import Ended
from stages.workload.supervisor.disturbance import Measured
from stages.workload.supervisor.progress import Taken
from stages.workload.supervisor.recorder import Recorded
from stages.workload.supervisor.sampling import Sampled, Until
from tests import attempts
from tests.environments import unknown
from tests.supervised import CELL, EVENTS, PYTHONS, Checkout

TICKS = 6400  # a second, as 64 CPUs have them: what the job itself takes is next to nothing
OTHERS = "other processes took {}% of the CPUs' time"

ENTRY = """import functools, pathlib
from stages.errors import run_entry
from stages.workload import supervisor
from stages.workload.probes import load
load.Meter = functools.partial(load.Meter, pathlib.Path({machine!r}))
supervisor.disturbance.LOOK_SECONDS = 0.3
run_entry(lambda: supervisor.main({stage!r}))
"""
# Each run has its own share of others while it runs, and leaves what tells which run it was.
JOB = (
    EVENTS
    + """
machine, shares = {machine!r}, {shares!r}
def others(share):
    open(machine + "/new", "w").write(str(share))
    os.rename(machine + "/new", machine + "/others")
run = len(os.listdir(machine + "/runs"))
os.mkdir(machine + "/runs/%d" % run)
others(shares[run])
output = os.environ["FACEOFF_OUTPUT"]
state = os.environ.get("FACEOFF_STATE", output)
tell(fact="found", value=" ".join(os.listdir(output) + os.listdir(state)))
for path in (output, state):
    open(path + "/of_run_%d" % run, "w").write("")
{also}
time.sleep(1.5)  # beside which a slow start of Python changes the share little
tell(span="epoch", seconds=run + 0.5, step_seconds=[0.1 * (run + 1)])
others({after})
"""
)


class Machine(Checkout):
    """A checkout on a machine with a /proc/stat of its own, which counts on while the test runs."""

    def __init__(self, folder: Path, python: str, **job: Any) -> None:
        super().__init__(folder, python, **job)
        self.machine = folder / "machine"
        for each in ("proc", "runs"):
            (self.machine / each).mkdir(parents=True)
        (self.machine / "others").write_text("0")

    def entry(self, stage: str) -> list[str]:
        return ["-c", ENTRY.format(machine=str(self.machine), stage=stage)]

    def job_of(self, *shares: float, after: float = 0.0, also: str = "") -> tuple[str, ...]:
        return self.script(JOB.format(machine=str(self.machine), shares=shares, after=after, also=also))

    @property
    def runs(self) -> int:
        return len(list((self.machine / "runs").iterdir()))

    @contextlib.contextmanager
    def counting(self) -> Iterator[None]:
        over = threading.Event()

        def count() -> None:
            busy = idle = 0.0
            before = time.monotonic()
            while True:
                now = time.monotonic()
                share = float((self.machine / "others").read_text())
                busy, idle, before = busy + (now - before) * share, idle + (now - before) * (1 - share), now
                new = self.machine / "proc/new"
                new.write_text(f"cpu {busy * TICKS:.0f} 0 0 {1 + idle * TICKS:.0f} 0 0 0 0 0 0\n")
                new.rename(self.machine / "proc/stat")
                if over.wait(0.02):
                    return

        thread = threading.Thread(target=count, daemon=True)
        thread.start()
        try:
            yield
        finally:
            over.set()
            thread.join()


@pytest.fixture(params=PYTHONS[-1:], ids=["the oldest Python"])
def machine(request: pytest.FixtureRequest, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Machine]:
    monkeypatch.chdir(tmp_path)
    found = Machine(tmp_path, request.param)
    with found.counting():
        yield found


def run(machine: Machine, stage: str, command: tuple[str, ...], remeasure: int = 1) -> str:
    done = machine.run(stage, command, remeasure=remeasure)
    assert done.returncode == 0, done.stderr
    return done.stdout


def left(folder: Path) -> list[str]:
    return sorted(each.name for each in folder.iterdir())


def test_a_training_that_was_disturbed_is_measured_once_more_from_nothing(machine: Machine) -> None:
    began = time.monotonic()
    said = run(machine, "train", machine.job_of(0.5, 0.0))
    found = machine.result()
    (first,) = found.discarded
    assert machine.runs == 2 and [span.seconds for span in first.spans] == [0.5]
    assert first.load.others_share is not None and first.load.others_share > 0.2
    assert first.disturbed_by == (OTHERS.format(f"{first.load.others_share:.0%}"[:-1]),)
    assert f"host/plain, repeat 1: train: {first.disturbed_by[0]}: measured once more\n" in said
    assert [span.seconds for span in found.spans] == [1.5] and found.facts["found"] == ""
    assert found.attempts[0].load.others_share == pytest.approx(0, abs=0.02) and found.warnings == ()
    assert found.started_at >= first.started_at and found.command_seconds is not None
    both = time.monotonic() - began
    assert found.command_seconds < found.wall_seconds < both - first.command_seconds  # it ends when it did
    assert left(CELL.output_dir) == left(CELL.state_dir) == ["of_run_1"]
    assert CELL.steps_path.read_text().splitlines()[1:] == ["epoch,200000"]
    assert not CELL.aside_dir.exists()


def test_the_less_disturbed_counts_and_not_the_faster_or_the_later(machine: Machine) -> None:
    run(machine, "train", machine.job_of(0.4, 0.9))
    found = machine.result()
    (second,) = found.discarded
    assert [span.seconds for span in found.spans] == [0.5] and [span.seconds for span in second.spans] == [1.5]
    assert left(CELL.output_dir) == ["of_run_0"]
    assert CELL.steps_path.read_text().splitlines()[1:] == ["epoch,100000"]
    assert len(found.attempts) == 1 and len(found.conditions) == 2


def test_it_is_repeated_until_nothing_disturbs_it_and_not_more_often_than_is_asked_for(machine: Machine) -> None:
    run(machine, "train", machine.job_of(0.9, 0.4, 0.7, 0.0), remeasure=2)
    found = machine.result()
    assert machine.runs == 3 and [span.seconds for span in found.spans] == [1.5]
    assert [run.spans[0].seconds for run in found.discarded] == [0.5, 2.5]


@pytest.mark.parametrize(("after", "remeasure"), [(0.6, 1), (0.0, 0)], ids=["it goes on", "turned off"])
def test_what_is_not_repeated(machine: Machine, after: float, remeasure: int) -> None:
    run(machine, "train", machine.job_of(0.5, 0.0, after=after), remeasure)
    found = machine.result()
    assert machine.runs == 1 and found.discarded == ()
    why = "train: disturbed, and not measured once more: what disturbed it goes on"
    assert (why in found.warnings) == bool(remeasure)
    assert found.warnings[0].startswith("in training: other processes took ")


def test_a_repetition_that_fails_leaves_the_first(machine: Machine) -> None:
    run(machine, "train", machine.job_of(0.5, 0.0, also="if run: sys.exit(3)"))
    found = machine.result()
    assert [span.seconds for span in found.spans] == [0.5] and found.discarded == ()
    assert left(CELL.output_dir) == ["of_run_0"]
    assert "measured once more in vain: the command ended with exit code 3; its own words are above" in str(
        found.warnings
    )


def test_an_evaluation_likewise(machine: Machine) -> None:
    machine.job = dataclasses.replace(machine.job, evaluate="as the test says")
    run(machine, "train", machine.job_of(0.0))
    also = (
        'open(os.environ["FACEOFF_OUTPUT"] + "/predictions.csv", "w").write("item,label,predicted\\na,b,%d\\n" % run)'
    )
    run(machine, "evaluate", machine.job_of(0.0, 0.4, 0.9, also=also))
    found = machine.result("evaluate")
    assert machine.runs == 3 and [span.seconds for span in found.spans] == [1.5]
    assert [span.seconds for span in found.discarded[0].spans] == [2.5]
    assert CELL.predictions_path.read_text().splitlines()[1:] == ["a,b,1"]
    assert not CELL.evaluation_dir.exists() and not CELL.aside_dir.exists()


@pytest.mark.parametrize("resumes", [True, False])
def test_killed_amid_the_repetition_the_next_run_mixes_nothing(machine: Machine, resumes: bool) -> None:
    """It goes on from the repetition's state, or begins anew; the first run is among the discarded."""
    machine.job = dataclasses.replace(machine.job, resumes=resumes)
    also = """
if run == 2 and "of_run_1" in os.listdir(state):
    tell(resumed_after_spans=1)
if run == 1:
    tell(span="epoch", seconds=9)
    progress = os.environ["FACEOFF_EVENTS"].replace("events.jsonl", "progress.json")
    while '"seconds": 9.0' not in open(progress).read():
        time.sleep(0.1)
    os.kill(os.getppid(), 9)
    time.sleep(9)
"""
    command = machine.job_of(0.5, 0.0, 0.0, also=also)
    done = machine.run("train", command, remeasure=1)
    assert done.returncode == -9 and machine.runs == 2 and not CELL.result_path("train").exists()
    run(machine, "train", command)
    found = machine.result()
    assert [span.seconds for span in found.spans] == ([9, 2.5] if resumes else [2.5])
    assert [run.spans[0].seconds for run in found.discarded] == [0.5]
    assert len(found.attempts) == 1 + resumes and machine.runs == 3
    assert left(CELL.output_dir) == ["of_run_2"] and not CELL.aside_dir.exists()


class Killing:
    """An environment whose supervisor is a machine's, and is killed when it is overdue."""

    isolated = False

    def __init__(self, machine: Machine) -> None:
        self.machine = machine

    def make(self, before: records.Image | None, show: Show) -> records.Image:
        raise NotImplementedError

    def run(self, work: Work, watch: Watch | None = None) -> Outcome:
        entry = self.machine.entry(work.command[2].removeprefix("stages."))
        words = [self.machine.python, *entry, *work.command[3:]]
        environment = {**os.environ, "PYTHONPATH": str(Path.cwd())}
        with subprocess.Popen(words, env=environment) as process, watched(watch, process.kill) as broken:
            code = process.wait()
            return Outcome(code if code >= 0 else 128 - code, False, broken(), isolated=False)


@pytest.mark.parametrize("stage", ["train", "evaluate"])
def test_a_repetition_that_is_killed_for_a_limit_leaves_the_first(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str], stage: str
) -> None:
    machine = Machine(tmp_path / "machine", PYTHONS[0])
    limits = {"stall_minutes": 0.15, "cell_minutes": None}
    compare = {"margin": 0.02, "looks": [], "remeasure": 1}
    root = attempts.make(tmp_path / "project", limits=limits, compare=compare)
    monkeypatch.chdir(root)
    also = "if run: time.sleep(60)\n"
    also += 'open(output + "/predictions.csv", "w").write("item,label,predicted\\na,b,1\\n")\n'
    script = JOB.format(machine=str(machine.machine), shares=(0.5, 0.0), after=0.0, also=also)
    attempts.is_run(root, *((script,) if stage == "train" else ("", script)))
    if stage == "evaluate":
        assert CellStage(CELL, "train", schema.load()).attempt(Killing(machine)) == 0
    with machine.counting():
        assert CellStage(CELL, stage, schema.load()).attempt(Killing(machine)) == 0
    found = codec.read(CELL.result_path(stage), records.Result)
    assert machine.runs == 2 and [span.seconds for span in found.spans] == [0.5] and found.status == "ok"
    why = "disturbed, and measured once more in vain: no event for 0.15 minutes (limits.stall_minutes)"
    assert (
        f"{stage}: {why}" in str(found.warnings) and f"faceoff: host/plain, repeat 1: {why}" in capfd.readouterr().err
    )
    if stage == "train":
        assert left(CELL.output_dir) == ["of_run_0", "predictions.csv"]
        kept, digest = CELL.steps_path.read_text(), found.steps and found.steps.sha256
    else:
        kept, digest = CELL.predictions_path.read_text(), found.predictions_sha256
    assert hashlib.sha256(kept.encode()).hexdigest() == digest and len(kept.splitlines()) == 2
    assert not CELL.aside_dir.exists()


# --------------------------------------------------------------------------------------------------------- the rule


def measured(others: float | None = 0.0, cards: tuple[dict[str, Any], ...] = (), **changes: Any) -> Measured:
    """A run with this load, cards in these states before it or `cards_after`, and so many throttles of the CPU."""
    known = {"seconds": 10.0, "others_share": others, "steal_share": 0.0, "throttled_seconds": 9.0}
    moments = []
    for count, here in ((3, cards), (3 + changes.pop("throttles", 0), changes.pop("cards_after", ()))):
        states = tuple(unknown(GpuState, {"uuid": "GPU-1", **each}) for each in here)
        plain = {"at": "2026-11-27T10:00:00+00:00", "gpus": (), "gpus_reason": "none", "cpu_throttle_count": count}
        moment = unknown(Conditions, plain)
        moments.append(dataclasses.replace(moment, gpus=states, gpus_reason=None if states else "none"))
    recorded = Recorded(
        ended=Ended(0, 10.0, 1, None, False),
        events=changes.pop("events", Events()),
        problem=None,
        load=unknown(Load, known),
        conditions=(moments[0], moments[1]),
        shm_bytes=None,
        visible=None,
        gpu_uuids=(),
        card_warnings=(),
        taken=Taken(Sampled((), None, None, "none", "none", ()), Until(unknown(Load, known), None), ()),
    )
    counted = changes.pop("counted", progress.NOTHING)
    return Measured(recorded, counted, observation.Seen(), "2026-11-27T10:00:00+00:00", 11.0)


@pytest.mark.parametrize(
    ("run", "expected"),
    [
        (measured(), ()),  # though a CPU quota held it back: it will again
        (measured(0.1), ()),
        (measured(None), ()),
        (measured(0.41), (OTHERS.format(41),)),
        (measured(throttles=2), ("heat held the CPU back 2 times",)),
        (measured(cards=({"temperature_celsius": 90},)), ("GPU-1: it is 90 °C hot",)),
        (measured(cards_after=({"temperature_celsius": 90},)), ()),  # by the run itself
        (measured(cards_after=({"throttle_reasons": ("x",)},)), ("GPU-1: its clocks are held down (x)",)),
        (measured(cards=({"other_processes": ("pid 7",)},)), ("GPU-1: other processes are on it (pid 7)",)),
        (measured(cards=({"busy_share": 0.9, "other_processes": ()},)), ()),  # maybe by the job itself
    ],
)
def test_what_is_a_disturbance(run: Measured, expected: tuple[str, ...]) -> None:
    assert disturbance.found(run.recorded) == expected


def test_a_run_that_nothing_disturbed_counts_before_one_with_less_load_but_a_hot_card() -> None:
    hot, loaded = measured(0.01, cards=({"temperature_celsius": 90},)), measured(0.09)
    assert disturbance._degree(loaded.recorded) < disturbance._degree(hot.recorded)


@pytest.mark.parametrize(
    ("card", "why"),
    [
        ({"temperature_celsius": 90}, disturbance.HOT),
        ({"other_processes": ("pid 7",), "temperature_celsius": 90}, disturbance.GOES_ON),
        ({}, None),
    ],
)
def test_a_card_that_the_run_itself_made_hot_is_no_disturbance_that_goes_on(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, card: dict[str, Any], why: str | None
) -> None:
    after = measured(cards_after=(card,)).recorded.conditions[1]
    monkeypatch.setattr(disturbance, "LOOK_SECONDS", 0)
    monkeypatch.setattr("stages.workload.probes.load.passing", lambda _: ())
    monkeypatch.setattr("stages.workload.probes.conditions.look", lambda *_, **__: after)
    assert disturbance._why_not(Checkout(tmp_path).task("train", ("true",)), measured(0.5)) == why


def test_when_a_disturbed_run_is_left_as_it_is(tmp_path: Path) -> None:
    task = Checkout(tmp_path).task("train", ("true",), session_ends_at=time.time() + 15)
    assert disturbance._why_not(task, measured(0.5)) == disturbance.SESSION_ENDS
    several = progress.NOTHING._replace(attempts=(progress.Attempt(0, 1.0, measured().recorded.load),))
    assert disturbance._why_not(task, measured(0.5, counted=several)) == disturbance.SEVERAL


def test_each_run_is_held_to_the_limits_by_itself(tmp_path: Path) -> None:
    ended = threading.Event()
    with watched(Watch(None, LimitParams(None, 2 / 60), tmp_path), ended.set) as broken:
        for index in range(15):
            (tmp_path / str(index)).touch()
            time.sleep(0.2)
        assert broken() is None
        assert ended.wait(20) and broken() == "cell_minutes"
