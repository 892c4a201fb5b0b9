"""Changes for sure in histories whose truth is known. How often the rule is wrong: benchmarks/history_quality.py."""

import numpy
import pytest

from stages.harness.statistics import shifts

SPREAD = 0.02


def history(*levels, seed=0):
    """Logarithms of runs around levels: (how many, ratio)."""
    noise = numpy.random.default_rng(seed)
    return numpy.concatenate([numpy.log(ratio) + noise.normal(0, SPREAD, runs) for runs, ratio in levels])


def test_a_change_is_found_where_it_is_with_its_size():
    [found] = shifts.shifts(history((15, 1.0), (8, 1.1)))
    assert found.place == 15
    assert found.earliest <= 15 <= found.latest
    assert found.low < numpy.log(1.1) < found.high
    assert found.low < found.log_ratio < found.high and found.p_value < 0.05


def test_two_changes_are_two():
    found = shifts.shifts(history((12, 1.0), (10, 1.2), (12, 1.05)))
    assert [each.place for each in found] == [12, 22]
    assert found[0].log_ratio > 0 > found[1].log_ratio


def test_the_size_of_a_change_is_that_of_its_neighbours_alone():
    first, second = shifts.shifts(history((12, 1.0), (10, 1.2), (12, 2.4)))
    assert numpy.exp(first.log_ratio) == pytest.approx(1.2, rel=0.05)
    assert numpy.exp(second.log_ratio) == pytest.approx(2.0, rel=0.05)


def test_equal_runs_are_seldom_a_change():
    called = sum(bool(shifts.shifts(history((50, 1.0), seed=seed))) for seed in range(100))
    assert called <= 5


def test_one_run_that_is_unlike_the_others_is_no_change_at_the_end_or_amid_them():
    for after in (0, 1, 10):
        found = [shifts.shifts(history((20, 1.0), (1, 3.0), (after, 1.0), seed=seed)) for seed in range(20)]
        assert not any(each.latest >= 18 for its in found for each in its)


def test_a_large_change_is_called_after_three_runs():
    assert [each.place for each in shifts.shifts(history((20, 1.0), (shifts.MIN_SIDE, 3.0)))] == [20]


@pytest.mark.parametrize("runs", range(shifts.MIN_RUNS))
def test_too_few_runs_say_nothing(runs):
    assert shifts.shifts(numpy.linspace(0, 100, runs)) == ()


def test_runs_that_agree_to_the_last_digit_are_no_change_and_a_jump_between_them_is():
    assert shifts.shifts(numpy.zeros(20)) == ()
    [found] = shifts.shifts([0.0] * 6 + [0.1] * 6)
    assert found.place == 6


def test_runs_each_like_the_one_before_are_less_sure():
    """The same two levels, once with independent noise and once with noise that goes on."""
    noise = numpy.random.default_rng(5).normal(0, SPREAD, 24)
    slow = numpy.convolve(noise, [0.6, 0.5, 0.4, 0.3], mode="same")
    slow *= noise.std() / slow.std()
    step = numpy.repeat([0.0, 0.06], 12)
    sure, less = shifts.shifts(step + noise), shifts.shifts(step + slow)
    assert sure and (not less or less[0].p_value > sure[0].p_value)


def test_more_lines_beside_it_need_more():
    runs = history((15, 1.0), (4, 1.09))
    assert shifts.shifts(runs) and not shifts.shifts(runs, series=10_000)
