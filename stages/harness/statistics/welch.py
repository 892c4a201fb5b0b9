"""Two groups that are not paired: Welch's test on logarithms, as SciPy does it, and what would settle it."""

import dataclasses
import math
from collections.abc import Sequence
from typing import Literal

import numpy
from scipy import stats
from statsmodels.stats.power import TTestIndPower

from stages.harness.statistics.estimates import CONFIDENCE, LEVEL, MIN_PAIRS, RESOLUTION
from stages.harness.statistics.planning import MAX_REPEATS, PLANNED_POWER, rounded_up


@dataclasses.dataclass(frozen=True)
class Welch:
    """The log ratio of the first group to the second, and how sure it is. The p-values are not corrected."""

    log_ratio: float
    interval: tuple[float, float]
    spread: float  # standard deviation within either group, in the mean of their variances
    p_differs: float
    p_below: float  # of not being below the margin, of a ratio of less than 1
    p_above: float  # likewise above it
    p_within: float  # of not being within the margin: the larger of two one-sided tests
    sizes: tuple[int, int]

    def more_of_each(self, margin: float, comparisons: int) -> int | None:
        """Plan how many of each group would settle it, were this the truth; None where MAX_REPEATS would not do."""
        sizes = numpy.arange(MIN_PAIRS, MAX_REPEATS + 1)
        size, room = (each / self.spread for each in (abs(self.log_ratio), math.log1p(margin) - abs(self.log_ratio)))
        differs = TTestIndPower().power(size, sizes, LEVEL / comparisons)
        within = TTestIndPower().power(room, sizes, LEVEL / 2, alternative="larger")
        enough = sizes[numpy.maximum(differs, within) >= PLANNED_POWER]
        return rounded_up(int(enough[0])) if len(enough) else None


def welch(these: Sequence[float], those: Sequence[float], margin: float) -> Welch:
    """Test two groups of at least MIN_PAIRS values each, all above 0."""
    logs, others = (spread_out(numpy.log(each)) for each in (these, those))
    bound = math.log1p(margin)

    def p_value(shift: float, alternative: Literal["two-sided", "less", "greater"]) -> float:
        return float(stats.ttest_ind(logs - shift, others, equal_var=False, alternative=alternative).pvalue)

    interval = stats.ttest_ind(logs, others, equal_var=False).confidence_interval(CONFIDENCE)
    return Welch(
        log_ratio=float(logs.mean() - others.mean()),
        interval=(float(interval.low), float(interval.high)),
        spread=math.sqrt((logs.var(ddof=1) + others.var(ddof=1)) / 2),
        p_differs=p_value(0.0, "two-sided"),
        p_below=p_value(-bound, "less"),
        p_above=p_value(bound, "greater"),
        p_within=max(p_value(bound, "less"), p_value(-bound, "greater")),
        sizes=(len(these), len(those)),
    )


def spread_out(logs: numpy.ndarray) -> numpy.ndarray:
    """Tell apart what agrees to the last digit: SciPy has no interval for it."""
    return logs if logs.std() > RESOLUTION else logs + numpy.linspace(-RESOLUTION, RESOLUTION, len(logs))
