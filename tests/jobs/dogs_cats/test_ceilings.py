"""What each side of a step reaches alone, on a clock of the test's own."""

import dataclasses
import types
from pathlib import Path

import pytest

from jobs.dogs_cats import ceilings, parameters
from jobs.dogs_cats.learners import Learner
from jobs.dogs_cats.photos import Input
from tests.project import DOGS_CATS


class Clock:
    def __init__(self):
        self.now = 100.0

    def passes(self, seconds):
        self.now += seconds


class Timed(Learner):
    """A loader and a network that take so long for each batch; how many they did."""

    def __init__(self, clock, batch_seconds=(), first_step_seconds=0.0, step_seconds=0.0, end_seconds=0.0):
        self.clock, self.batch_seconds, self.end_seconds = clock, batch_seconds, end_seconds
        self.first_step_seconds, self.step_seconds = first_step_seconds, step_seconds
        self.batches = self.steps = 0

    def fetch_batches(self):
        for seconds in self.batch_seconds:
            self.clock.passes(seconds)
            self.batches += 1
            yield 16
        self.clock.passes(self.end_seconds)

    def repeat_steps(self, goes_on):
        while goes_on():
            self.clock.passes(self.step_seconds if self.steps else self.first_step_seconds)
            self.steps += 1


@pytest.fixture
def clock(monkeypatch):
    clock = Clock()
    monkeypatch.setattr(ceilings, "time", types.SimpleNamespace(perf_counter=lambda: clock.now))
    monkeypatch.setattr(ceilings, "synchronised_clock", lambda: clock.now)
    return clock


def taken(batches, workers=2):
    recipe = dataclasses.replace(parameters.section(DOGS_CATS).recipe, workers=workers)
    photos = [Path(f"{index}.jpg") for index in range(16 * batches + 1)]
    return Input(recipe, "fp32", 16, 1, photos, [16 * batches], ["cats", "dogs"], None, Path())


NEVER = 1e9


class TestLoader:
    def test_neither_the_start_of_its_workers_nor_their_end_counts(self, clock):
        learner = Timed(clock, [9.0, 0.1, *[0.1] * 8], end_seconds=7.0)
        assert ceilings.loader_samples_per_second(learner, taken(10), NEVER) == pytest.approx(160.0)

    @pytest.mark.parametrize("seconds", [0.01, 0.5])
    def test_it_is_counted_for_a_second_and_for_some_batches(self, clock, seconds):
        learner = Timed(clock, [seconds] * 1000)
        assert ceilings.loader_samples_per_second(learner, taken(1000), NEVER) == pytest.approx(16 / seconds)
        assert learner.batches - 2 == pytest.approx(max(ceilings.LEAST_STEPS, ceilings.SECONDS / seconds), abs=1)

    def test_of_a_single_batch(self, clock):
        assert ceilings.loader_samples_per_second(Timed(clock, [0.1]), taken(1), NEVER) == pytest.approx(160.0)


class TestCompute:
    def test_the_warm_up_does_not_count(self, clock):
        learner = Timed(clock, first_step_seconds=30.0, step_seconds=0.05)
        assert ceilings.compute_samples_per_second(learner, taken(10), NEVER) == pytest.approx(320.0)
        wanted = max(ceilings.LEAST_STEPS, ceilings.SECONDS / 0.05)
        assert learner.steps - ceilings.WARM_UP_STEPS == pytest.approx(wanted, abs=1)


class TestCap:
    """Of a loaded machine: a chance is better than a minute of it, and nothing is better than a wrong number."""

    @pytest.mark.parametrize("seconds", [0.2, 0.6, 1.4, 60.0])
    def test_no_batch_and_no_step_begins_after_it(self, clock, seconds):
        learner = Timed(clock, [seconds] * 1000, first_step_seconds=seconds, step_seconds=seconds)
        began = clock.now
        ceilings.measure(learner, taken(1000))
        assert clock.now - began <= ceilings.CAP_SECONDS + seconds

    def test_what_was_counted_until_then_is_what_there_is(self, clock):
        learner = Timed(clock, [0.9] * 1000, first_step_seconds=0.5, step_seconds=0.5)
        found = ceilings.measure(learner, taken(1000))
        assert found.loader_samples_per_second == pytest.approx(16 / 0.9)
        assert found.compute_samples_per_second == pytest.approx(16 / 0.5)
        assert learner.batches - 2 < ceilings.LEAST_STEPS

    @pytest.mark.parametrize(("batch", "step"), [(60.0, 0.1), (0.1, 60.0)])
    def test_where_nothing_was_counted_there_is_none(self, clock, batch, step):
        learner = Timed(clock, [batch] * 1000, first_step_seconds=step, step_seconds=step)
        assert ceilings.measure(learner, taken(1000)) is None
