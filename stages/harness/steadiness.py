"""What of the times themselves casts doubt on them: drift, an odd first repeat, outliers, a loaded machine.

All of it is named beside the verdict, and nothing is dropped for it: who drops what does not suit finds what he likes.
That goes for a cell that was trained in several sittings too: each of its epochs ran whole in one of them, and neither
the pauses nor what was trained twice is counted; so its times count like any others, and the sittings are named.
A share below LEAST is never named, however sure it is: it is half of the default margin.
"""

import math
import statistics
from collections.abc import Iterable, Mapping, Sequence

from scipy import stats
from statsmodels.regression.linear_model import OLS
from statsmodels.tools import add_constant

from stages.harness.cells import Result
from stages.harness.figures import TOTAL, run_order, samples
from stages.records import Cell

LEAST = 0.01
DRIFT_LEVEL = 0.05  # of the trend's p-value; one trend is looked at in a run
FIRST_CONFIDENCE = 0.99  # of where one more repeat is expected, from the others
# Of an outlier: robust standard deviations from the median (Iglewicz and Hoaglin's rule), and a share of it, since of
# three samples two are often close by chance.
OUTLIER_DEVIATIONS, OUTLIER_SHARE = 3.5, 0.05


def of_run(results: Sequence[Result]) -> tuple[str, ...]:
    """What concerns all settings alike."""
    repeats = _repeats(results)
    if len(repeats) < 3:
        return ()
    return tuple(doubt for doubt in (_drift(repeats), _first_repeat(repeats)) if doubt)


def of_setting(results: Sequence[Result]) -> tuple[str, ...]:
    return (*_outliers(samples(results, TOTAL)), *_load(results))


def _repeats(results: Sequence[Result]) -> list[tuple[float, float]]:
    """(place, log total) per repeat in the order of the runs, as distances to each setting's own mean, averaged."""
    places = run_order(results)
    by_setting: dict[str, list[Cell]] = {}
    totals = samples(results, TOTAL)
    for cell in totals:
        by_setting.setdefault(cell.setting, []).append(cell)
    by_repeat: dict[int, list[tuple[float, float]]] = {}
    for cells in by_setting.values():
        middle = statistics.fmean(math.log(totals[cell]) for cell in cells)
        place = statistics.fmean(places[cell] for cell in cells)
        for cell in cells:
            by_repeat.setdefault(cell.repeat, []).append((places[cell] - place, math.log(totals[cell]) - middle))
    by_column = [tuple(zip(*each, strict=True)) for each in by_repeat.values()]
    return sorted((statistics.fmean(some_places), statistics.fmean(logs)) for some_places, logs in by_column)


def _drift(repeats: Sequence[tuple[float, float]]) -> str | None:
    """A trend over the order of the runs."""
    places, logs = zip(*repeats, strict=True)
    trend = OLS(logs, add_constant(places)).fit()
    change = math.expm1(trend.params[1] * (places[-1] - places[0]))
    if abs(change) < LEAST or not trend.pvalues[1] < DRIFT_LEVEL:
        return None
    way = "longer" if change > 0 else "shorter"
    return f"drift: from the first repeat to the last, runs took {abs(change):.1%} {way}; ratios are corrected for it"


def _first_repeat(repeats: Sequence[tuple[float, float]]) -> str | None:
    first, *others = (log for _, log in repeats)
    middle, spread = statistics.fmean(others), statistics.stdev(others)
    reach = stats.t.ppf((1 + FIRST_CONFIDENCE) / 2, len(others) - 1) * spread * math.sqrt(1 + 1 / len(others))
    change = math.expm1(first - middle)
    if abs(first - middle) <= reach or abs(change) < LEAST:
        return None
    way = "longer" if change > 0 else "shorter"
    return f"warm-up: the first repeat took {abs(change):.1%} {way} than the others; it counts as they do"


def _outliers(totals: Mapping[Cell, float]) -> Iterable[str]:
    logs = [math.log(value) for value in totals.values()]
    if len(logs) < 3:
        return
    median = statistics.median(logs)
    deviation = float(stats.median_abs_deviation(logs, scale="normal"))
    for cell, log in zip(totals, logs, strict=True):
        change = math.expm1(log - median)
        if abs(log - median) > OUTLIER_DEVIATIONS * deviation and abs(change) > OUTLIER_SHARE:
            way = "longer" if change > 0 else "shorter"
            yield f"outlier: repeat {cell.repeat} took {abs(change):.1%} {way} than its median; it counts all the same"


def _load(results: Sequence[Result]) -> Iterable[str]:
    """What the cells themselves say of the machine, each doubt once with the repeats that say it."""
    told: dict[str, list[str]] = {}
    for result in results:
        for warning in result.train.warnings if result.train else ():
            told.setdefault(warning, []).append(str(result.cell.repeat))
    for warning, repeats in told.items():
        yield f"{'repeat' if len(repeats) == 1 else 'repeats'} {', '.join(repeats)}: {warning}"
