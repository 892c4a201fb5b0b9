"""The benchmark of verdicts says where they are not as they should be."""

import numpy

from benchmarks import verdict_quality
from benchmarks.verdict_quality import FaceOff, Look


def groups(wrong):
    """20 groups of 10 face-offs; of each, so many are called slower."""
    said = [FaceOff(*3 * [Look(3, "slower" if n < wrong else "equivalent", "slower")], ("slower",)) for n in range(10)]
    return 20 * [said]


def test_false_alarms_and_lack_of_power_fail(capsys):
    assert len(verdict_quality.report(groups(1), 0.0, 1.0, 1)) == 4  # each of three ways, and all metrics
    assert verdict_quality.report(groups(8), 0.0, 1.05, 1) == ["slower at the repeats asked for in 80.0% only"]
    assert verdict_quality.report(groups(9), 0.0, 1.05, 1) == []
    assert "slower in the end: 90.0% [90.0%, 90.0%]; by unpaired means: 100.0%" in capsys.readouterr().out


def test_neighbours_stay_neighbours_and_one_rival_is_slower():
    runs = numpy.repeat(numpy.arange(1.0, 101.0)[:, None], len(verdict_quality.METRICS), axis=1)
    drawn = verdict_quality.draw(runs, 0.0, 1.05, 1, numpy.random.default_rng(1))
    baseline, rival = drawn[:, 0, 0], drawn[:, 1, 0] / 1.05
    assert {*numpy.abs(rival - baseline).round()} == {1.0}
    assert {*numpy.sign(rival - baseline)} == {-1.0, 1.0}
    rates = drawn[:, 1, verdict_quality.NAMES.index("samples_per_second")]
    assert numpy.allclose(rates * 1.05, rival)


def test_the_repeats_that_settle_it_are_told_beside_those_that_were_named(capsys):
    noise = numpy.random.default_rng(1).normal(0, 0.02, (200, len(verdict_quality.METRICS)))
    verdict_quality.report_plans(10 * numpy.exp(noise), 0.02, 1.05, 4, 1)
    lines = capsys.readouterr().out.splitlines()
    assert lines[0].startswith("  of ") and "verdicts that 3 repeats leave open: named, in all, " in lines[0]
    assert verdict_quality.alike([4, 4, 4, 4], [2, 8, 1, 9]) == 0.5


def test_repeats_needed_are_the_first_that_settle_it_and_never_more_than_there_are():
    values = numpy.full((verdict_quality.MAX_REPEATS, 2, len(verdict_quality.METRICS)), 10.0)
    values[::2, 1] = 20.0
    values[1::2, 1] = 5.0  # as far apart as can be, for ever
    assert verdict_quality.repeats_needed(values, 3, 0.02) == verdict_quality.MAX_REPEATS
    values[:, 1] = 11.0
    assert verdict_quality.repeats_needed(values, 3, 0.02) == 4
