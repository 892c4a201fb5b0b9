"""Where the level of a metric changed for sure, over the runs of many commits. docs/statistics.md tells the rule.

The run is the unit, not the repeat: what one run differs in from the next as a whole (the heat of the day, what else
the machine held in memory) is not in the spread of its repeats, and it is in that of the runs.
"""

import dataclasses
import math
from collections.abc import Sequence

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
    places: numpy.ndarray  # that were looked at
    weights: numpy.ndarray  # likelihood of each, relative to the best one's

    @property
    def p_value(self) -> float:
        return 2 * float(stats.t.sf(abs(self.log_ratio) / self.error, self.freedom))

    @property
    def likely(self) -> tuple[int, int]:
        """The first and the last of the places that together have the likelihood of CONFIDENCE."""
        order = numpy.argsort(-self.weights)
        shares = numpy.cumsum(self.weights[order]) / self.weights.sum()
        places = self.places[order[: int(numpy.searchsorted(shares, CONFIDENCE)) + 1]]
        return int(places.min()), int(places.max())


def shifts(logs: Sequence[float] | numpy.ndarray, series: int = 1) -> tuple[Shift, ...]:
    """Find every change for sure in the logarithms of a history's runs, the oldest first.

    The history is looked at after each of its runs, as whoever keeps one does, and what a look has shown stands: from
    there on, the runs since the last change are judged. `series`: how many are judged beside each other; false alarms
    are those of all of them together.
    """
    values = numpy.asarray(logs, dtype=float)
    found: dict[int, float] = {}  # place, as the look saw it that showed it first: p-value
    begin = 0
    for end in range(MIN_RUNS, len(values) + 1):
        if end - begin >= MIN_RUNS:
            split = _split(values[begin:end])
            p_value = _corrected(split.p_value, end - begin, end, series)
            if p_value < LEVEL and _is_of_most(values[begin:end], split.place):
                begin += split.place
                found[begin] = p_value
    ends = [0, *found, len(values)]
    return tuple(
        _shift(values[before:after], before, place, found[place])
        for before, place, after in zip(ends, ends[1:], ends[2:], strict=False)
    )


def _corrected(p_value: float, runs: int, look: int, series: int) -> float:
    """Correct the p-value of the best place of so many runs by Bonferroni: for the places, the looks and the series."""
    return min(1.0, p_value * (runs - MIN_RUNS + 1) * max(LOOKS, look) * series)


def _is_of_most(part: numpy.ndarray, place: int) -> bool:
    """Whether most runs of the two sides are apart, and not some of them far away: by their order alone."""
    return float(stats.mannwhitneyu(part[:place], part[place:]).pvalue) < IN_ORDER


def _split(part: numpy.ndarray, lowest: int = MIN_SIDE, highest: int | None = None) -> _Split:
    """Part the runs where Student's t of the two parts is largest, from the lowest place to the highest."""
    runs = len(part)
    centred = part - part.mean()
    before = numpy.arange(lowest, (runs - MIN_SIDE if highest is None else highest) + 1)
    after = runs - before
    sums = numpy.cumsum(centred)[before - 1]
    within = numpy.square(centred).sum() - sums**2 / before - sums**2 / after
    variance = numpy.maximum(within / (runs - 2), RESOLUTION**2)
    ratios = -sums / after - sums / before
    best = int(numpy.argmax(numpy.abs(ratios) / numpy.sqrt(variance * (1 / before + 1 / after))))
    place = int(before[best])
    # The likelihood of each place, with the levels and the variance that suit it best.
    weights = numpy.exp(-runs / 2 * numpy.log(variance / variance.min()))
    return _Split(place, *_difference(part[:place], part[place:]), runs - 2, before, weights)


def _difference(old: numpy.ndarray, new: numpy.ndarray) -> tuple[float, float]:
    """Return how far apart two levels are, and the standard error of that."""
    rest = numpy.concatenate([old - old.mean(), new - new.mean()])
    squares = float(numpy.square(rest).sum())
    deviation = max(math.sqrt(squares / (len(rest) - 2)), RESOLUTION)
    alike = float((rest[1:] * rest[:-1]).sum()) / squares if squares else 0.0
    correlation = min(max(0.0, alike + CORRELATION_LOST / len(rest)), MOST_CORRELATION)
    widened = math.sqrt((1 / len(old) + 1 / len(new)) * (1 + correlation) / (1 - correlation))
    return float(new.mean() - old.mean()), deviation * widened


def _shift(part: numpy.ndarray, begin: int, called: int, p_value: float) -> Shift:
    """Estimate a change among all runs since the one before it, up to the one after it.

    Its place is known the better, the more runs come after it; it stays near the one where it was seen first.
    """
    lowest, highest = max(called - begin - MIN_SIDE + 1, MIN_SIDE), called - begin + MIN_SIDE - 1
    split = _split(part, lowest, min(highest, len(part) - MIN_SIDE))
    earliest, latest = split.likely
    reach = float(stats.t.ppf((1 + CONFIDENCE) / 2, split.freedom)) * split.error
    return Shift(
        place=begin + split.place,
        earliest=begin + earliest,
        latest=begin + latest,
        log_ratio=split.log_ratio,
        low=split.log_ratio - reach,
        high=split.log_ratio + reach,
        p_value=p_value,
    )
