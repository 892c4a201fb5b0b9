"""The mean over sessions, with Student's interval where they are enough."""

import math
import statistics
from collections.abc import Sequence

from scipy import stats

from stages.harness.statistics.estimates import CONFIDENCE, MIN_PAIRS


def interval(values: Sequence[float], logarithmic: bool) -> tuple[float, float | None, float | None]:
    """Return the mean and the ends of its interval, None with fewer than MIN_PAIRS values.

    `logarithmic`: the geometric mean, where all are above 0.
    """
    if logarithmic and min(values) > 0:
        middle, low, high = interval([math.log(each) for each in values], logarithmic=False)
        return math.exp(middle), _exp(low), _exp(high)
    middle = statistics.fmean(values)
    if len(values) < MIN_PAIRS:
        return middle, None, None
    reach = (
        statistics.stdev(values) / math.sqrt(len(values)) * float(stats.t.ppf((1 + CONFIDENCE) / 2, len(values) - 1))
    )
    return middle, middle - reach, middle + reach


def _exp(logarithm: float | None) -> float | None:
    return None if logarithm is None else math.exp(logarithm)
