"""How much of a step the GPU's kernels take, with a stand-in for the profiler: it gives back torch's own events.

No GPU and no CUPTI: what is shown is which steps are profiled, which events count and what they are divided by.
"""

import json
import types

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch.autograd import DeviceType
from torch.autograd.profiler_util import FunctionEvent

from jobs.dogs_cats import busy, ceilings, training
from jobs.dogs_cats.learners import Learner
from stages.contract import Ceilings, read_events
from stages.errors import FaceoffError
from tests.gpu_queue import Card

STEP_SECONDS = 0.02


def event(name, begin, end, device=DeviceType.CUDA, **more):
    return FunctionEvent(1, name, 7, begin, end, device_type=device, **more)


@pytest.fixture
def machine(monkeypatch):
    """A card, and a profiler of the kernels that each step launches between its start and its stop."""
    machine = types.SimpleNamespace(card=Card(), kernels=[], steps=0, log=[], given=None)

    class Profile:
        def __init__(self, activities):
            machine.given = activities

        def start(self):
            machine.log.append(("start", machine.steps, machine.card.synchronisations))

        def stop(self):
            machine.log.append(("stop", machine.steps, machine.card.synchronisations))

        def events(self):
            (_, first, _), (_, last, _) = machine.log
            period = 1e6 * STEP_SECONDS * 3  # a step is slower while it is profiled
            return [
                event(name, begin + step * period, end + step * period, *more)
                for step in range(first, last)
                for name, begin, end, *more in machine.kernels
            ]

    monkeypatch.setattr(torch.profiler, "profile", Profile)
    monkeypatch.setattr(torch.profiler, "supported_activities", lambda: {torch.profiler.ProfilerActivity.CUDA})
    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    monkeypatch.setattr(torch.cuda, "synchronize", machine.card.synchronises)

    def repeat_steps(goes_on):
        while goes_on():
            machine.steps += 1

    machine.repeat_steps = repeat_steps
    return machine


def test_kernels_of_all_streams_count_once_and_copies_calls_and_ranges_do_not(machine):
    machine.kernels = [
        ("void conv<4>(float*)", 0, 3000),
        ("void conv<4>(float*)", 2000, 5000),  # of another stream, for 1 ms beside the first
        ("void inner()", 2500, 2600),
        ("Memset (Device)", 7000, 8000),
        ("Memcpy HtoD (Pinned -> Device)", 8000, 18000),
        ("Memcpy DtoD (Device -> Device)", 18000, 18500),
        ("Optimizer.step#Adam.step", 0, 19000),
        ("cudaLaunchKernel", 0, 19000, DeviceType.CPU),
    ]
    assert busy.share(machine.repeat_steps, STEP_SECONDS) == pytest.approx((5.0 + 1.0 + 0.5) / 20)


def test_it_is_divided_by_the_step_that_was_not_profiled(machine):
    machine.kernels = [("void conv()", 0, 10_000)]
    assert busy.share(machine.repeat_steps, STEP_SECONDS) == pytest.approx(0.5)
    machine.log.clear()
    assert busy.share(machine.repeat_steps, 0.008) == 1.0  # and is never more than all


def test_whole_steps_after_the_warm_up_are_profiled_and_nothing_that_was_launched_before(machine):
    machine.kernels = [("void conv()", 0, 10_000)]
    busy.share(machine.repeat_steps, STEP_SECONDS)
    assert machine.log == [("start", busy.WARM_UP_STEPS, 1), ("stop", busy.WARM_UP_STEPS + busy.MOST_STEPS, 2)]
    assert machine.steps == busy.WARM_UP_STEPS + busy.MOST_STEPS
    assert machine.given == [torch.profiler.ProfilerActivity.CUDA]


def test_of_slow_steps_there_are_fewer_and_of_very_slow_ones_none(machine):
    machine.kernels = [("void conv()", 0, 10_000)]
    assert busy.share(machine.repeat_steps, 1.0) == pytest.approx(0.01)
    assert machine.steps == busy.WARM_UP_STEPS + 5
    with pytest.raises(FaceoffError, match="a step takes 12 s, 10 s at most"):
        busy.share(machine.repeat_steps, 12.0)


@given(st.lists(st.tuples(st.integers(0, 100), st.integers(0, 30))))
def test_the_union_is_what_counting_microseconds_gives(kernels):
    stretches = [(begin, begin + length) for begin, length in kernels]
    counted = {moment for begin, end in stretches for moment in range(begin, end)}
    assert busy.union_seconds(stretches) == pytest.approx(len(counted) / 1e6)


def test_torchs_own_profiler_is_driven_and_read_this_way():
    """The real one, of what a CPU does, since there is no GPU here."""
    profiled = busy.Profiled(torch.profiler.profile(activities=[torch.profiler.ProfilerActivity.CPU]), steps=2)
    while profiled.goes_on():
        torch.ones(8).sum()
    [*sums] = [each for each in profiled.profiler.events() if each.name == "aten::sum"]
    assert len(sums) == 2 and all(each.time_range.start < each.time_range.end for each in sums)
    assert list(busy._kernels(profiled.profiler.events())) == []


class TestNotKnown:
    """A training goes on without it, and its log says why."""

    @pytest.fixture
    def learner(self, machine):
        learner = Learner()
        learner.repeat_steps = machine.repeat_steps
        return learner

    def share(self, learner):
        return ceilings.device_busy_share(learner, types.SimpleNamespace(batch_size=16), Ceilings(400.0, 800.0))

    def test_where_all_is_well_it_is_of_the_ceilings_own_step(self, machine, learner, capsys):
        machine.kernels = [("void conv()", 0, 5_000)]
        assert self.share(learner) == pytest.approx(0.25)  # of 16 / 800 s
        assert capsys.readouterr().out == ""

    def test_where_the_profiler_sees_nothing(self, learner, capsys):
        assert self.share(learner) is None
        assert "not known: the profiler showed no kernel: another one" in capsys.readouterr().out

    def test_where_torch_has_no_profiler_of_kernels(self, monkeypatch, learner, capsys):
        monkeypatch.setattr(torch.profiler, "supported_activities", lambda: {torch.profiler.ProfilerActivity.CPU})
        assert self.share(learner) is None and "was built without" in capsys.readouterr().out
        monkeypatch.delattr(torch, "profiler")
        assert self.share(learner) is None and "1.8.1 brought it" in capsys.readouterr().out

    def test_where_a_profiled_step_fails(self, machine, learner, capsys):
        def fails(goes_on):
            raise RuntimeError("CUPTI_ERROR_INSUFFICIENT_PRIVILEGES\nsecond line")

        learner.repeat_steps = fails
        assert self.share(learner) is None
        assert capsys.readouterr().out.endswith("not known: RuntimeError: CUPTI_ERROR_INSUFFICIENT_PRIVILEGES\n")

    def test_without_a_gpu_no_step_is_made(self, monkeypatch, machine, learner, capsys):
        monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
        assert self.share(learner) is None and machine.steps == 0
        assert capsys.readouterr().out == ""


def test_the_profiler_comes_last_and_what_was_told_before_stays_if_it_crashes(monkeypatch, tmp_path):
    """Evaluation is a command, thus a process, of its own."""
    log, events = [], tmp_path / "events.jsonl"
    choice = types.SimpleNamespace(precision="fp32", batch_size=16)
    cell = {"section": {}, "seed": 1, "ceilings": True}
    learner = types.SimpleNamespace(
        version="2",
        unsupported=lambda _: None,
        import_fastai=lambda: None,
        prepare=lambda _: None,
        network=torch.nn.ReLU(),
    )
    made = types.SimpleNamespace(
        leave_unless_it_fits=lambda: None,
        run=lambda *_: log.append("trained"),
        progress=types.SimpleNamespace(peak_gpu_memory_bytes=None),
    )

    def told():
        return [json.loads(line) for line in events.read_text().splitlines()]

    def share(*_):
        log.append("profiled")
        assert told()[-1]["ceilings"] == {**vars(Ceilings(400.0, 800.0))}
        return 0.25

    monkeypatch.setenv("FACEOFF_EVENTS", str(events))
    monkeypatch.setenv("FACEOFF_OUTPUT", str(tmp_path))
    monkeypatch.setenv("FACEOFF_DATA", str(tmp_path))
    monkeypatch.setenv("FACEOFF_STATE", str(tmp_path))
    monkeypatch.setattr(training.seam, "cell", lambda: cell)
    monkeypatch.setattr(training.parameters, "choice", lambda *_: choice)
    monkeypatch.setattr(training.photos, "load", lambda *_: choice)
    monkeypatch.setattr(training.learners, "find", lambda: learner)
    monkeypatch.setattr(training.checkpoint, "load", lambda _: (None, {}))
    monkeypatch.setattr(training, "Training", lambda *_: made)
    monkeypatch.setattr(training, "say_facts", lambda *_: None)
    monkeypatch.setattr(training, "save", lambda *_: log.append("saved"))
    monkeypatch.setattr(ceilings, "measure", lambda *_: log.append("ceilings") or Ceilings(400.0, 800.0))
    monkeypatch.setattr(ceilings, "device_busy_share", share)
    assert training.main(["--precision", "fp32", "--batch-size", "16"]) == 0
    assert log == ["trained", "saved", "ceilings", "profiled"]
    assert read_events(events).ceilings == Ceilings(400.0, 800.0, 0.25)
