"""How many more repeats would settle a verdict, by what the repeats so far tell of their noise."""

import bisect
import dataclasses
import math
from collections.abc import Sequence

import numpy
from scipy import stats

from stages.harness.statistics.estimates import Estimate, drift_freedom

PLANNED_POWER = 0.9  # that the repeats which are asked for settle it
EVEN_POWER = 0.5  # that those do which are named first: what a face-off that goes on takes in the median
QUANTILES = (0.1, 0.3, 0.5, 0.7, 0.9)  # each stands for a fifth of what the truth may be
MAX_REPEATS = 1000  # beyond it, no number of repeats is named


def more_repeats(found: Estimate, bound: float, p_differs: float, p_within: float) -> int | None:
    """Find the fewest repeats that settle a verdict at the next look, with PLANNED_POWER over all that may be true.

    The p-values are those that are needed for it then. None where MAX_REPEATS would not do. A few pairs that agree
    better than their two sides do may do so by chance: it is not counted on.
    """
    return _fewest(found, max(found.pair_error, found.unpaired_error), PLANNED_POWER, bound, p_differs, p_within)


def as_likely_as_not(found: Estimate, bound: float, p_differs: float, p_within: float) -> int | None:
    """Find the fewest repeats that do so with EVEN_POWER, by the mean of the two spreads and not by the larger."""
    spread = math.hypot(found.pair_error, found.unpaired_error) / math.sqrt(2)
    return _fewest(found, spread, EVEN_POWER, bound, p_differs, p_within)


def _fewest(
    found: Estimate, pair_error: float, wanted_power: float, bound: float, p_differs: float, p_within: float
) -> int | None:
    truths = _truths(found, pair_error)

    def power(repeats: int) -> float:
        return _settled([_after(truth, repeats) for truth in truths], bound, p_differs, p_within)

    wanted = range(found.pairs + 1, MAX_REPEATS + 1)
    place = bisect.bisect_left(wanted, True, key=lambda repeats: power(repeats) >= wanted_power)
    return rounded_up(wanted[place] - found.pairs) if place < len(wanted) else None


def rounded_up(repeats: int) -> int:
    """Round up to tens from 20 repeats on: a few pairs can't tell more exactly."""
    return repeats if repeats < 20 else 10 * math.ceil(repeats / 10)


def _truths(found: Estimate, pair_error: float) -> list[Estimate]:
    """List what may be true where this was found, each as likely.

    That is the spreads that a few pairs may come from, and with each the ratios. What is found of a few pairs is most
    often too small a spread or too large a ratio to plan by.
    """
    return [
        dataclasses.replace(scaled, log_ratio=found.log_ratio + scaled.error * stats.norm.ppf(of_ratio))
        for scaled in (_of_spread(found, pair_error, of_spread) for of_spread in QUANTILES)
        for of_ratio in QUANTILES
    ]


def _of_spread(found: Estimate, pair_error: float, quantile: float) -> Estimate:
    """Return the spread that the given share of all that may be true exceeds."""
    pairs, drift = (
        math.sqrt(freedom / stats.chi2.isf(quantile, freedom))
        for freedom in (found.pairs - 1, drift_freedom(found.blocks))
    )
    return dataclasses.replace(found, pair_error=pair_error * pairs, drift_error=found.drift_error * drift)


def _after(truth: Estimate, repeats: int) -> Estimate:
    """Say what is to be expected of so many repeats in all, where this is the truth and the block goes on."""
    *before, last = truth.blocks
    blocks = (*before, last + repeats - truth.pairs)
    gain = math.sqrt(_spread_of_moments(truth.blocks) / _spread_of_moments(blocks))
    return dataclasses.replace(truth, blocks=blocks, drift_error=truth.drift_error * gain)


def _spread_of_moments(blocks: Sequence[int]) -> float:
    """Sum of squared distances of evenly spaced repeats from their block's middle."""
    return sum(repeats * (repeats**2 - 1) / 12 for repeats in blocks)


def _settled(planned: Sequence[Estimate], bound: float, p_differs: float, p_within: float) -> float:
    """How likely either of the two p-values is reached, over these."""
    error = numpy.array([each.error for each in planned])
    freedom = numpy.array([each.freedom for each in planned])
    size = numpy.abs([each.log_ratio for each in planned]) / error
    differs = stats.t.sf(stats.t.isf(p_differs / 2, freedom) - size, freedom)
    within = stats.t.cdf(bound / error - size - stats.t.isf(p_within, freedom), freedom)
    return float(numpy.maximum(differs, within).mean())
