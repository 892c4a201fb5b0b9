"""Warnings of what casts doubt on the times: drift, an odd first repeat, outliers, a loaded machine.

They stand beside the verdict, and nothing is dropped for them: who drops what does not suit finds what he likes. So
with a cell of several attempts, too: neither the pauses nor what ran twice is counted, so its times count like others.
A share below LEAST is never named, however sure it is: it is half of the default margin.
"""

import dataclasses
import math
import re
import statistics
from collections.abc import Iterable, Mapping, Sequence

import numpy
from scipy import stats
from statsmodels.regression.linear_model import OLS

from stages.harness.results.metrics import TOTAL, blocks, moments, samples
from stages.harness.results.read import CellResult
from stages.records import BEGAN_ANEW, Cell, Job, Load, Result

LEAST = 0.01
DRIFT_LEVEL = 0.05  # of the trend's p-value; one trend is looked at in a run
FIRST_LEVEL = 0.01  # of the p-value of the first repeat being like the others
# Of an outlier: robust standard deviations from the median (Iglewicz and Hoaglin's rule), and a share of it, since of
# three samples two are often close by chance.
OUTLIER_DEVIATIONS, OUTLIER_SHARE = 3.5, 0.05
AMOUNT = re.compile(r"(?<![\w.,])\d+(?:\.\d+)?(?:%| s\b)")  # a share or seconds


@dataclasses.dataclass(frozen=True)
class Run:
    """The total time of one cell, and when it was measured."""

    cell: Cell
    moment: float
    block: int
    log: float


def of_run(results: Sequence[CellResult], job: Job) -> tuple[str, ...]:
    """Warn of what concerns all settings alike.

    It is seen in all of them together, each of which has a level of its own: three repeats of one setting tell next to
    nothing.
    """
    when, of_blocks, totals = moments(results, TOTAL), blocks(results), samples(results, TOTAL, job)
    runs = [Run(cell, when[cell], of_blocks[cell], math.log(value)) for cell, value in totals.items()]
    runs.sort(key=lambda run: run.moment)
    if not runs:
        return ()
    return tuple(warning for warning in (_drift(runs), _first_repeat(runs)) if warning)


def of_setting(results: Sequence[CellResult], job: Job) -> tuple[str, ...]:
    """Warn of its own outliers, and of what its cells say of the machine."""
    return (*_outliers(samples(results, TOTAL, job)), *_load(results))


def _drift(runs: Sequence[Run]) -> str | None:
    """Find a trend over time within the blocks."""
    trend = _effect(runs, [run.moment for run in runs])
    if trend is None:
        return None
    blocks_of_runs = [[run.moment for run in runs if run.block == each] for each in {run.block for run in runs}]
    change = math.expm1(trend.size * sum(max(moments) - min(moments) for moments in blocks_of_runs))
    if abs(change) < LEAST or not trend.p_value < DRIFT_LEVEL:
        return None
    way = "longer" if change > 0 else "shorter"
    return f"drift: from the first run to the last, they took {abs(change):.1%} {way}; ratios are corrected for it"


def _first_repeat(runs: Sequence[Run]) -> str | None:
    """Find out whether it is unlike the others of its block."""
    block = [run for run in runs if run.block == runs[0].block]
    first = _effect(block, [float(run.cell.repeat == runs[0].cell.repeat) for run in block])
    if first is None:
        return None
    change = math.expm1(first.size)
    if abs(change) < LEAST or not first.p_value < FIRST_LEVEL:
        return None
    way = "longer" if change > 0 else "shorter"
    return f"warm-up: the first repeat took {abs(change):.1%} {way} than the others; it counts as they do"


@dataclasses.dataclass(frozen=True)
class Effect:
    """What one thing makes of the times of all runs."""

    size: float  # in logarithms
    p_value: float


def _effect(runs: Sequence[Run], values: Sequence[float]) -> Effect | None:
    """Estimate what `values` make of the times, beside each setting's level in each block.

    None of less than three repeats, and where all values are one.
    """
    if len({run.cell.repeat for run in runs}) < 3 or len({*values}) < 2:
        return None
    groups = [(run.cell.setting, run.block) for run in runs]
    levels = [[float(group == each) for group in groups] for each in sorted({*groups})]
    fit = OLS([run.log for run in runs], numpy.column_stack([*levels, values])).fit()
    return Effect(float(fit.params[-1]), float(fit.pvalues[-1])) if fit.df_resid else None


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


def _load(results: Sequence[CellResult]) -> Iterable[str]:
    """Tell what the cells themselves say of the machine, each warning once with the repeats that say it.

    Those that differ in shares and seconds alone are one, with the least and the most: 'took 94% to 97% of ...'.
    """
    said: dict[str, dict[str, list[str]]] = {}  # by the warning without its amounts: repeats with what they say
    for result in results:
        once_more = [warning for stage in result.stages for warning in _measured_once_more(stage)]
        for warning in dict.fromkeys([*(each for stage in result.stages for each in stage.warnings), *once_more]):
            said.setdefault(AMOUNT.sub("#", warning), {}).setdefault(str(result.cell.repeat), []).append(warning)
    for of_repeats in said.values():
        words = _in_ranges([each for every in of_repeats.values() for each in every])
        yield f"{'repeat' if len(of_repeats) == 1 else 'repeats'} {', '.join(of_repeats)}: {words}"


def _in_ranges(warnings: Sequence[str]) -> str:
    """Make one of warnings that differ in their amounts alone."""
    found, *rest = AMOUNT.split(warnings[0])
    for amounts, words in zip(zip(*map(AMOUNT.findall, warnings), strict=True), rest, strict=True):
        ordered = sorted(amounts, key=lambda each: float(each.rstrip("% s")))
        least, most = ordered[0], ordered[-1]
        found += (least if least == most else f"{least} to {most}") + words
    return found


def _measured_once_more(stage: Result) -> Iterable[str]:
    """Tell what disturbed the runs that do not count, and what each took beside the one that does."""
    what = "training" if stage.stage == "train" else "evaluation"
    interrupted = len(stage.attempts) > 1 or any(note.startswith(BEGAN_ANEW) for note in stage.notes)
    for run in stage.discarded:
        times, is_later = [run.command_seconds, stage.command_seconds or 0.0], run.started_at <= stage.started_at
        then, now = times if is_later else reversed(times)
        if is_later and interrupted:  # then there was no choice: nothing was left of the earlier but its times
            counts = "the later counts, for the earlier was lost when the later was interrupted"
        else:
            counts = f"the {'later' if is_later else 'earlier'} counts"
            counts += ", as the less disturbed" if _taken(stage.attempts[-1].load) <= _taken(run.load) else ""
        yield f"{what} measured once more: {'; '.join(run.disturbed_by)}; {then:.1f} s then, {now:.1f} s now; {counts}"


def _taken(load: Load) -> float:
    """Return the share of the CPUs' time that others took."""
    return (load.others_share or 0.0) + (load.steal_share or 0.0)
