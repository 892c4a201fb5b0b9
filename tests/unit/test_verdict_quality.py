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
