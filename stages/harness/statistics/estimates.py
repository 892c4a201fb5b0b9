"""A ratio from paired times, and how sure it is. docs/statistics.md tells the method."""

import dataclasses
import math
from collections.abc import Collection, Sequence

import numpy
from scipy import stats
from statsmodels.regression.linear_model import OLS

CONFIDENCE = 0.95  # of the intervals
LEVEL = 1 - CONFIDENCE  # of p-values, corrected
MIN_PAIRS = 3  # two spreads of one pair each tell next to nothing: t is 12.7 with 1 degree of freedom, 4.3 with 2
RESOLUTION = 1e-9  # of a logarithm: what agrees more closely than clocks tell is not infinitely sure


@dataclasses.dataclass(frozen=True)
class Pair:
    """One metric of the same repeat of a setting and of the baseline, when each was measured, and in which block."""

    value: float
    reference: float
    moment: float  # in any unit, from any begin
    reference_moment: float
    block: int | None = 0  # None: not in the same one, so that the two make no pair


@dataclasses.dataclass(frozen=True)
class Estimate:
    """A log ratio with the drift taken out, and what its uncertainty is made of."""

    blocks: tuple[int, ...]  # how many pairs each has
    log_ratio: float
    pair_error: float  # standard deviation of one pair's log ratio
    unpaired_error: float  # what it would be of two settings whose noise had nothing in common
    drift_error: float  # of what drift makes of the log ratio, from the slope's standard error
    slope: float  # of log values, per unit of moments

    @property
    def pairs(self) -> int:
        return sum(self.blocks)

    @property
    def error(self) -> float:
        """Standard error of `log_ratio`."""
        return max(math.hypot(self.pair_error / math.sqrt(self.pairs), self.drift_error), RESOLUTION)

    @property
    def freedom(self) -> float:
        """Degrees of freedom, by Welch and Satterthwaite."""
        parts = (self.pair_error**2 / self.pairs, self.pairs - 1), (self.drift_error**2, drift_freedom(self.blocks))
        weights = sum(variance**2 / freedom for variance, freedom in parts)
        return sum(variance for variance, _ in parts) ** 2 / weights if weights else float(self.pairs - 1)

    def interval(self) -> tuple[float, float]:
        low, high = stats.t.interval(CONFIDENCE, self.freedom, self.log_ratio, self.error)
        return float(low), float(high)

    def p_differs(self) -> float:
        """How likely so large a ratio, or so small a one, is without a difference."""
        return float(2 * stats.t.sf(abs(self.log_ratio) / self.error, self.freedom))

    def p_within(self, bound: float) -> float:
        """How likely a log ratio so far within -bound and bound is where the truth is not: two one-sided tests."""
        return float(stats.t.sf((bound - abs(self.log_ratio)) / self.error, self.freedom))


def drift_freedom(blocks: Sequence[int]) -> int:
    """Degrees of freedom of the slope of a drift, beside a level for each block of so many pairs."""
    return sum(blocks) - len(blocks) - 1


def missing_pairs(pairs: Collection[Pair]) -> int:
    """How many more are needed, in one more block, before anything can be estimated; 0 where they are enough."""
    blocks = [pair.block for pair in pairs]
    freedom = drift_freedom([blocks.count(each) for each in {*blocks}])
    if freedom >= 1 and len(pairs) >= MIN_PAIRS:
        return 0
    return max(MIN_PAIRS - len(pairs), 2 - freedom if len({*blocks}) > 1 else 0)


def estimate(pairs: Sequence[Pair]) -> Estimate:
    """Estimate the log ratio from pairs, of which enough are there, with the drift taken out."""
    logs = numpy.log([[pair.value, pair.reference] for pair in pairs])
    moments = numpy.array([[pair.moment, pair.reference_moment] for pair in pairs])
    names, places = numpy.unique([pair.block for pair in pairs], return_inverse=True)
    levels = places[:, None] == numpy.arange(len(names))
    drift = OLS(logs.mean(axis=1), numpy.column_stack([levels, moments.mean(axis=1)])).fit()
    slope, slope_error = drift.params[-1], drift.bse[-1]
    apart = moments[:, 0] - moments[:, 1]
    differences = logs[:, 0] - logs[:, 1] - slope * apart
    pair_error = float(differences.std(ddof=1))
    return Estimate(
        blocks=tuple(map(int, levels.sum(axis=0))),
        log_ratio=float(differences.mean()),
        pair_error=pair_error,
        unpaired_error=math.sqrt(pair_error**2 / 2 + 2 * drift.mse_resid),
        drift_error=float(abs(apart.mean()) * slope_error),
        slope=float(slope),
    )
