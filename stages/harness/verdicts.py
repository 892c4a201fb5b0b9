"""How sure a ratio is: from paired times to an interval, a p-value, a verdict, and what would settle it.

The method, on logarithms, so that ratios are differences:

- Pairs: both settings once per repeat, so each repeat gives one ratio; their mean is the geometric mean of the ratios.
- Drift: within a repeat the settings run in a fixed order, so a steady drift shifts every ratio alike, and no amount of
  repeats averages it out. Its slope is seen from repeat to repeat, in the mean of each pair over the order of the runs.
  What it makes of the ratio is taken out, and the slope's own uncertainty widens the interval. Always: a drift that is
  too small to be significant is not too small to shift a ratio.
- Interval: t, with the degrees of freedom of Welch and Satterthwaite for the two sources of uncertainty.
- p-values: Holm's correction over the settings that are compared with the baseline by the same figure. They are doubled
  with every look (compare.looks): who looks again after each repeat until something shows will see something. A half of
  the level is for the first look, a quarter for the second, and so on; all of them together never exceed it.
- Verdict: 'equivalent' where the interval lies within the margin; else 'faster' or 'slower' where the p-value is below
  LEVEL; else 'inconclusive'. With fewer than MIN_PAIRS pairs it cannot be said.
"""

import bisect
import dataclasses
import math
from collections.abc import Mapping, Sequence

import numpy
from scipy import stats
from statsmodels.regression.linear_model import OLS
from statsmodels.stats.multitest import multipletests
from statsmodels.tools import add_constant

from stages.harness.wording import count
from stages.records import Ratio

CONFIDENCE = 0.95  # of the intervals
LEVEL = 1 - CONFIDENCE  # of p-values, corrected
MIN_PAIRS = 3  # two spreads of one pair each tell next to nothing: t is 12.7 with 1 degree of freedom, 4.3 with 2
PLANNED_POWER = 0.9  # that the repeats which are asked for settle it
QUANTILES = (0.1, 0.3, 0.5, 0.7, 0.9)  # each stands for a fifth of what the truth may be
MAX_REPEATS = 1000  # beyond it, no number of repeats is named
RESOLUTION = 1e-9  # of a logarithm: what agrees more closely than clocks tell is not infinitely sure
HIGHER_IS_FASTER = ("train_images_per_second",)


@dataclasses.dataclass(frozen=True)
class Pair:
    """One figure of the same repeat of a setting and of the baseline, and when each ran: its place among all runs."""

    value: float
    reference: float
    place: float
    reference_place: float


@dataclasses.dataclass(frozen=True)
class Estimate:
    """A log ratio with the drift taken out, and what its uncertainty is made of."""

    pairs: int
    log_ratio: float
    pair_error: float  # standard deviation of one pair's log ratio
    drift_error: float  # of what drift makes of the log ratio, from the slope's standard error
    slope: float  # of log values, per run

    @property
    def error(self) -> float:
        """Standard error of `log_ratio`."""
        return max(math.hypot(self.pair_error / math.sqrt(self.pairs), self.drift_error), RESOLUTION)

    @property
    def freedom(self) -> float:
        """Degrees of freedom, by Welch and Satterthwaite."""
        parts = (self.pair_error**2 / self.pairs, self.pairs - 1), (self.drift_error**2, self.pairs - 2)
        weights = sum(variance**2 / freedom for variance, freedom in parts)
        return sum(variance for variance, _ in parts) ** 2 / weights if weights else float(self.pairs - 1)

    @property
    def p_value(self) -> float:
        """That there is no difference."""
        return float(2 * stats.t.sf(abs(self.log_ratio) / self.error, self.freedom))

    def interval(self) -> tuple[float, float]:
        low, high = stats.t.interval(CONFIDENCE, self.freedom, self.log_ratio, self.error)
        return float(low), float(high)

    def truths(self) -> "list[Estimate]":
        """What may be true where this was found, each as likely: the spreads that a few pairs may come from, and with
        each the ratios. What is found of a few pairs is most often too small a spread or too large a ratio to plan by.
        """
        return [
            dataclasses.replace(scaled, log_ratio=self.log_ratio + scaled.error * stats.norm.ppf(of_ratio))
            for scaled in (self._of_spread(of_spread) for of_spread in QUANTILES)
            for of_ratio in QUANTILES
        ]

    def _of_spread(self, quantile: float) -> "Estimate":
        pairs, slope = (
            math.sqrt(freedom / stats.chi2.isf(quantile, freedom)) for freedom in (self.pairs - 1, self.pairs - 2)
        )
        return dataclasses.replace(self, pair_error=self.pair_error * pairs, drift_error=self.drift_error * slope)

    def after(self, repeats: int) -> "Estimate":
        """What is to be expected of so many repeats in all, where this is the truth."""
        slope_gain = math.sqrt(_spread_of_places(self.pairs) / _spread_of_places(repeats))
        return dataclasses.replace(self, pairs=repeats, drift_error=self.drift_error * slope_gain)


def _spread_of_places(repeats: int) -> float:
    """Sum of squared distances of evenly spaced repeats from their middle."""
    return repeats * (repeats**2 - 1) / 12


def estimate(pairs: Sequence[Pair]) -> Estimate:
    """For MIN_PAIRS pairs or more."""
    logs = numpy.log([[pair.value, pair.reference] for pair in pairs])
    places = numpy.array([[pair.place, pair.reference_place] for pair in pairs])
    drift = OLS(logs.mean(axis=1), add_constant(places.mean(axis=1))).fit()
    slope, slope_error = drift.params[1], drift.bse[1]
    apart = places[:, 0] - places[:, 1]
    differences = logs[:, 0] - logs[:, 1] - slope * apart
    return Estimate(
        pairs=len(pairs),
        log_ratio=float(differences.mean()),
        pair_error=float(differences.std(ddof=1)),
        drift_error=float(abs(apart.mean()) * slope_error),
        slope=float(slope),
    )


def ratios(pairs: Mapping[str, Mapping[str, Pair]], figure: str, margin: float, looks: int) -> dict[str, Ratio]:
    """Setting: its ratio to the baseline, from its pairs by repeat. All settings that are compared by this figure."""
    whole = {setting: each for setting, each in pairs.items() if each}
    estimates = {name: estimate([*each.values()]) for name, each in whole.items() if len(each) >= MIN_PAIRS}
    corrected = dict(zip(estimates, _corrected([each.p_value for each in estimates.values()], looks), strict=True))
    return {
        setting: _ratio(each, estimates[setting], corrected[setting], figure, margin, looks, len(estimates))
        if setting in estimates
        else _too_few(each)
        for setting, each in whole.items()
    }


def _corrected(p_values: Sequence[float], looks: int) -> list[float]:
    """For the number of comparisons, by Holm, and for the number of looks."""
    if not p_values:
        return []
    return [min(1.0, float(each) * 2**looks) for each in multipletests(p_values, method="holm")[1]]


def _too_few(pairs: Mapping[str, Pair]) -> Ratio:
    logs = [math.log(pair.value / pair.reference) for pair in pairs.values()]
    few = f"{count(len(pairs), 'pair')} of repeats {'is' if len(pairs) == 1 else 'are'} too few"
    return Ratio(
        pairs=_quotients(pairs),
        mean=math.exp(sum(logs) / len(logs)),
        low=None,
        high=None,
        p_value=None,
        verdict="cannot say",
        reason=f"{few}, {MIN_PAIRS} the least",
        more_repeats=MIN_PAIRS - len(pairs),
    )


def _ratio(
    pairs: Mapping[str, Pair], found: Estimate, p_value: float, figure: str, margin: float, looks: int, comparisons: int
) -> Ratio:
    low, high = found.interval()
    bound = math.log1p(margin)
    said = verdict(found.log_ratio, (low, high), p_value, figure, margin)
    more = more_repeats(found, bound, looks, comparisons) if said == "inconclusive" else None
    return Ratio(
        pairs=_quotients(pairs),
        mean=math.exp(found.log_ratio),
        low=math.exp(low),
        high=math.exp(high),
        p_value=p_value,
        verdict=said,
        reason=_what_would_settle(more) if said == "inconclusive" else None,
        more_repeats=more,
    )


def verdict(log_ratio: float, interval: tuple[float, float], p_value: float, figure: str, margin: float) -> str:
    """The rule. `interval` is of the log ratio, `p_value` corrected."""
    bound = math.log1p(margin)
    if -bound <= interval[0] and interval[1] <= bound:
        return "equivalent"
    if p_value >= LEVEL:
        return "inconclusive"
    return "faster" if (log_ratio < 0) != (figure in HIGHER_IS_FASTER) else "slower"


def _what_would_settle(more: int | None) -> str:
    if more is None:
        return f"more than {MAX_REPEATS} repeats would be needed"
    return f"about {count(more, 'more repeat')} would settle it"


def _quotients(pairs: Mapping[str, Pair]) -> dict[str, float]:
    return {repeat: pair.value / pair.reference for repeat, pair in pairs.items()}


def more_repeats(found: Estimate, bound: float, looks: int, comparisons: int) -> int | None:
    """The fewest that settle it at the next look, with PLANNED_POWER over all that may be true where this was found.

    None where MAX_REPEATS would not do.
    """
    level = LEVEL / 2 ** (looks + 1) / comparisons
    truths = found.truths()

    def power(repeats: int) -> float:
        return _settled([truth.after(repeats) for truth in truths], bound, level)

    wanted = range(found.pairs + 1, MAX_REPEATS + 1)
    place = bisect.bisect_left(wanted, True, key=lambda repeats: power(repeats) >= PLANNED_POWER)
    return wanted[place] - found.pairs if place < len(wanted) else None


def _settled(planned: Sequence[Estimate], bound: float, level: float) -> float:
    """How likely either of the two is, over these: a p-value below `level`, or an interval within the margin."""
    error = numpy.array([each.error for each in planned])
    freedom = numpy.array([each.freedom for each in planned])
    size = numpy.abs([each.log_ratio for each in planned]) / error
    differs = stats.t.sf(stats.t.isf(level / 2, freedom) - size, freedom)
    within = stats.t.cdf(bound / error - size - stats.t.isf(LEVEL / 2, freedom), freedom)
    return float(numpy.maximum(differs, within).mean())
