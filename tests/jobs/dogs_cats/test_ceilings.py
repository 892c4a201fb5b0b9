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
    return Input(recipe, "fp32", 16, 1, photos, [16 * batches], ["cats", "dogs"], None)


class TestLoader:
    def test_neither_the_start_of_its_workers_nor_their_end_counts(self, clock):
        learner = Timed(clock, [9.0, 0.1, *[0.1] * 8], end_seconds=7.0)
        assert ceilings.loader_samples_per_second(learner, taken(10)) == pytest.approx(160.0)

    def test_it_takes_no_longer_than_it_may(self, clock):
        learner = Timed(clock, [0.5] * 1000)
        assert ceilings.loader_samples_per_second(learner, taken(1000)) == pytest.approx(32.0)
        assert learner.batches * 0.5 <= ceilings.SECONDS + 3 * 0.5

    @pytest.mark.parametrize(("seconds", "counted"), [(1.0, ceilings.LEAST_STEPS), (60.0, 1)])
    def test_slow_batches_are_counted_a_few_times_all_the_same_but_not_for_minutes(self, clock, seconds, counted):
        learner = Timed(clock, [seconds] * 1000)
        assert ceilings.loader_samples_per_second(learner, taken(1000)) == pytest.approx(16 / seconds)
        assert learner.batches == counted + 2

    def test_of_a_single_batch(self, clock):
        assert ceilings.loader_samples_per_second(Timed(clock, [0.1]), taken(1)) == pytest.approx(160.0)


class TestCompute:
    def test_the_warm_up_does_not_count(self, clock):
        learner = Timed(clock, first_step_seconds=30.0, step_seconds=0.2)
        assert ceilings.compute_samples_per_second(learner, taken(10)) == pytest.approx(80.0)
        assert learner.steps - ceilings.WARM_UP_STEPS == pytest.approx(ceilings.SECONDS / 0.2, abs=1)

    @pytest.mark.parametrize(("seconds", "counted"), [(1.0, ceilings.LEAST_STEPS), (60.0, 1)])
    def test_slow_steps_are_done_a_few_times_all_the_same_but_not_for_minutes(self, clock, seconds, counted):
        learner = Timed(clock, first_step_seconds=seconds, step_seconds=seconds)
        assert ceilings.compute_samples_per_second(learner, taken(10)) == pytest.approx(16 / seconds)
        assert learner.steps == counted + ceilings.WARM_UP_STEPS
