"""Where the level of a metric changed for sure, over the runs of many commits. docs/statistics.md tells the rule.

The run is the unit, not the repeat: what one run differs in from the next as a whole (the heat of the day, what else
the machine held in memory) is not in the spread of its repeats, and it is in that of the runs.
"""

import dataclasses
import math
from collections.abc import Iterator, Mapping, Sequence

import numpy
from scipy import stats

from stages.harness.statistics.estimates import CONFIDENCE, LEVEL, RESOLUTION

LOOKS = 50  # over which false alarms stay below LEVEL: a history is looked at once more after each of its commits
MIN_SIDE = 3  # runs on either side of a shift: one that is unlike the others may be an accident
MIN_RUNS = 2 * MIN_SIDE
# Neighbours that are alike make a level of what is none. Their correlation, found in a few runs around levels that were
# fitted to them, is too small: by about so much, divided by the number of runs.
CORRELATION_LOST = 4.0
MOST_CORRELATION = 0.9
IN_ORDER = 0.02  # p-value of Mann and Whitney's test that is asked for beside the other


@dataclasses.dataclass(frozen=True)
class Shift:
    """A level that changed for sure between two runs of a history."""

    place: int  # of the first run of the new level, among those that were judged
    earliest: int  # it may as well be any from here
    latest: int  # to here
    log_ratio: float  # of the new level to the one before
    low: float  # ends of its confidence interval
    high: float
    p_value: float  # corrected for places, looks and series


@dataclasses.dataclass(frozen=True)
class _Split:
    """The best place to part a stretch of runs in two, and how far apart the two are."""

    place: int
    log_ratio: float
    error: float
    freedom: int
    weights: numpy.ndarray  # likelihood of each place from MIN_SIDE on, relative to the best one's

    @property
    def p_value(self) -> float:
        return 2 * float(stats.t.sf(abs(self.log_ratio) / self.error, self.freedom))


def shifts(logs: Sequence[float] | numpy.ndarray, series: int = 1) -> tuple[Shift, ...]:
    """Find every change for sure in the logarithms of a history's runs, the oldest first.

    The history is looked at after each of its runs, as whoever keeps one does, and what a look has shown stands: from
    there on, the runs since the last change are judged. `series`: how many are judged beside each other; false alarms
    are those of all of them together.
    """
    values = numpy.asarray(logs, dtype=float)
    found: dict[int, float] = {}  # place: p-value
    begin = 0
    for end in range(MIN_RUNS, len(values) + 1):
        part = values[begin:end]
        if len(part) < MIN_RUNS:
            continue
        split = _split(part)
        p_value = _corrected(split.p_value, len(part), end, series)
        if p_value < LEVEL and _is_of_most(part, split.place):
            begin += split.place
            found[begin] = p_value
    return tuple(_estimated(values, found))


def _estimated(values: numpy.ndarray, found: Mapping[int, float]) -> Iterator[Shift]:
    """Estimate each change among all runs since the one before it, up to the one after it."""
    begin, ends = 0, [*found, len(values)]
    for end, p_value in zip(ends[1:], found.values(), strict=True):
        shift = _shift(values[begin:end], begin, p_value)
        begin = shift.place
        yield shift


def _corrected(p_value: float, runs: int, look: int, series: int) -> float:
    """Correct the p-value of the best place of so many runs by Bonferroni: for the places, the looks and the series."""
    return min(1.0, p_value * (runs - MIN_RUNS + 1) * max(LOOKS, look) * series)


def _is_of_most(part: numpy.ndarray, place: int) -> bool:
    """Whether most runs of the two sides are apart, and not some of them far away: by their order alone."""
    return float(stats.mannwhitneyu(part[:place], part[place:]).pvalue) < IN_ORDER


def _split(part: numpy.ndarray) -> _Split:
    """Part the runs where Student's t of the two parts is largest."""
    runs = len(part)
    freedom = runs - 2
    centred = part - part.mean()
    before = numpy.arange(MIN_SIDE, runs - MIN_SIDE + 1)
    after = runs - before
    sums = numpy.cumsum(centred)[before - 1]
    within = numpy.square(centred).sum() - sums**2 / before - sums**2 / after
    variance = numpy.maximum(within / freedom, RESOLUTION**2)
    ratios, errors = -sums / after - sums / before, numpy.sqrt(variance * (1 / before + 1 / after))
    best = int(numpy.argmax(numpy.abs(ratios / errors)))
    place = int(before[best])
    # Of a place where levels and variance are chosen so that they suit it best.
    likelihood = -runs / 2 * numpy.log(variance / variance.min())
    levels = numpy.where(numpy.arange(runs) < place, centred[:place].mean(), centred[place:].mean())
    error = float(errors[best]) * _by_correlation(centred - levels)
    return _Split(place, float(ratios[best]), error, freedom, numpy.exp(likelihood))


def _by_correlation(rest: numpy.ndarray) -> float:
    """Return by how much an error grows where neighbours are alike."""
    squares = float(numpy.square(rest).sum())
    found = float((rest[1:] * rest[:-1]).sum()) / squares if squares else 0.0
    correlation = min(max(0.0, found + CORRELATION_LOST / len(rest)), MOST_CORRELATION)
    return math.sqrt((1 + correlation) / (1 - correlation))


def _shift(part: numpy.ndarray, begin: int, p_value: float) -> Shift:
    """Estimate the change among the runs since the one before it, up to the one after it."""
    split = _split(part)
    reach = float(stats.t.ppf((1 + CONFIDENCE) / 2, split.freedom)) * split.error
    order = numpy.argsort(-split.weights)
    shares = numpy.cumsum(split.weights[order]) / split.weights.sum()
    likely = begin + MIN_SIDE + order[: int(numpy.searchsorted(shares, CONFIDENCE)) + 1]
    return Shift(
        place=begin + split.place,
        earliest=int(likely.min()),
        latest=int(likely.max()),
        log_ratio=split.log_ratio,
        low=split.log_ratio - reach,
        high=split.log_ratio + reach,
        p_value=p_value,
    )
