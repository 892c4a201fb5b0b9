"""How much of compute is waiting for the host to launch work, told by the lag of events; on a stand-in for the GPU."""

import json

import pytest
import torch

from jobs.dogs_cats import split
from stages.codec import decode
from stages.contract import Split
from tests.gpu_queue import Card

STEPS, KERNELS = 40, 90
SLOW, QUICK = 100e-6, 10e-6  # of a kernel, to launch or to compute


@pytest.fixture
def put_in(monkeypatch):
    """Make a card what torch and the clock show."""

    def put_in(drift=0.0):
        card = Card(drift)
        monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
        monkeypatch.setattr(torch.cuda, "Event", card.Event)
        monkeypatch.setattr(split.time, "perf_counter", lambda: card.host)
        return card

    return put_in


def train(card, host, device, waits_for=(), loader=0.0, steps=STEPS):
    """A training's split. `waits_for`: parts of a step after whose mark the loop waits for the device."""
    splitter = split.Splitter()
    began = card.synchronises()
    splitter.begin()
    for _ in range(steps):
        card.waits(loader)
        splitter.copies()
        splitter.computes()
        for part in ("forward", "backward", "optimiser"):
            card.launches(KERNELS // 3, host, device)
            splitter.computed() if part == "optimiser" else splitter.passes()
            if part in waits_for:
                card.synchronises()
        splitter.asks()
    ended = card.synchronises()
    synchronisations = card.synchronisations
    splitter.end()
    steps_done, found = splitter.split(ended - began)
    assert steps_done == steps and card.synchronisations == synchronisations
    assert 0.0 <= found.launch_seconds <= found.compute_seconds
    return found


WAITS = [(), ("optimiser",), ("forward",), ("backward",), ("backward", "optimiser")]  # .item() of the loss, of a scale


class TestKinds:
    @pytest.mark.parametrize("waits_for", WAITS)
    def test_where_launching_takes_longer_all_of_compute_waits_for_it(self, put_in, waits_for):
        found = train(put_in(), host=SLOW, device=QUICK, waits_for=waits_for)
        assert found.compute_seconds == pytest.approx(STEPS * KERNELS * SLOW, rel=0.05)
        assert found.launch_seconds == pytest.approx(found.compute_seconds)

    @pytest.mark.parametrize("waits_for", WAITS)
    def test_where_computing_takes_longer_next_to_nothing_does(self, put_in, waits_for):
        """However often the loop waits: what is launched after that finds an empty queue."""
        found = train(put_in(), host=QUICK, device=SLOW, waits_for=waits_for)
        assert found.compute_seconds == pytest.approx(STEPS * KERNELS * SLOW, rel=0.05)
        assert found.launch_seconds <= 0.05 * found.compute_seconds

    def test_a_device_that_is_busy_for_most_of_a_step_waits_for_its_launches_all_the_same(self, put_in):
        found = train(put_in(), host=60e-6, device=50e-6)
        assert found.launch_seconds == pytest.approx(found.compute_seconds)

    def test_of_a_step_that_is_both_the_part_that_is_launched_too_slowly(self, put_in):
        """Forward and backward queue more than they launch; the optimiser, launched slowly, lets it run dry."""
        card = put_in()
        splitter = split.Splitter()
        began = card.synchronises()
        splitter.begin()
        for _ in range(STEPS):
            splitter.copies()
            splitter.computes()
            card.launches(30, QUICK, SLOW)
            splitter.passes()
            card.launches(30, QUICK, SLOW)
            splitter.passes()
            card.synchronises()  # a loss scale is looked at
            card.launches(30, SLOW, QUICK)
            splitter.computed()
            splitter.asks()
        ended = card.synchronises()
        splitter.end()
        found = splitter.split(ended - began)[1]
        assert found.launch_seconds / found.compute_seconds == pytest.approx(1 / 3, abs=0.02)

    def test_waiting_for_the_loader_is_no_launching(self, put_in):
        found = train(put_in(), host=QUICK, device=2 * QUICK, loader=0.02)
        assert found.wait_seconds == pytest.approx(STEPS * 0.02, rel=0.1)
        assert found.launch_seconds <= 0.05 * found.compute_seconds


class TestClocks:
    """The device's goes faster or slower than the host's, by more in a minute than a step takes."""

    @pytest.mark.parametrize("drift", [5e-4, -5e-4])
    @pytest.mark.parametrize(("host", "device", "share"), [(SLOW, QUICK, 1.0), (QUICK, SLOW, 0.0)])
    def test_their_drift_changes_nothing(self, put_in, drift, host, device, share):
        found = train(put_in(drift), host, device, waits_for=("optimiser",), steps=1000)
        assert 1000 * KERNELS * SLOW * abs(drift) > 4 * split.MOST_LAG_SHARE * KERNELS * SLOW
        assert found.launch_seconds / found.compute_seconds == pytest.approx(share, abs=0.05)

    @pytest.mark.parametrize("interrupted", ["first", "last"])
    @pytest.mark.parametrize(("host", "device", "share"), [(SLOW, QUICK, 1.0), (QUICK, SLOW, 0.0)])
    def test_a_host_that_is_interrupted_amid_the_first_mark_or_the_last_is_seen(
        self, put_in, monkeypatch, interrupted, host, device, share
    ):
        """It has read its clock, and the event is recorded by as much later as half a step takes."""
        card, record, count = put_in(), split.event, []

        def late():
            count.append(1)
            if len(count) == (1 if interrupted == "first" else 2 + 5 * STEPS):
                card.waits(0.0045)
            return record()

        monkeypatch.setattr(split, "event", late)
        found = train(card, host, device, waits_for=("optimiser",))
        assert len(count) == 2 + 5 * STEPS + 1
        assert found.launch_seconds / found.compute_seconds == pytest.approx(share, abs=0.05)


class TestCpu:
    def test_there_is_none_and_nothing_is_marked_within_compute(self):
        splitter = split.Splitter()
        splitter.begin()
        splitter.copies()
        splitter.computes()
        splitter.passes()
        splitter.computed()
        splitter.end()
        assert len(splitter._marks) == 5
        found = splitter.split(1.0)[1]
        assert found.launch_seconds is None
        assert decode(Split, json.loads(json.dumps(vars(found))), "split") == found
