"""Which of compare.thresholds a run broke since a commit, and whether that is for sure.

Welch's test as in regression.py, on logarithms where the threshold is in percent and on the values where it is in the
metric's own unit; p-values by Holm over all thresholds of all settings.
"""

import dataclasses
import math
from collections.abc import Iterator, Mapping, Sequence

import numpy
from scipy import stats

from stages.errors import FaceoffError
from stages.harness import formatting
from stages.harness.comparison import regression
from stages.harness.comparison.regression import Run
from stages.harness.params import thresholds
from stages.harness.params.thresholds import Threshold
from stages.harness.results.metrics import TOTAL, compared_samples, declared
from stages.harness.statistics.estimates import CONFIDENCE, LEVEL, MIN_PAIRS
from stages.harness.statistics.welch import spread_out
from stages.records import Change, Limit, Metric


@dataclasses.dataclass(frozen=True)
class _Tested:
    """A metric's change, in the unit of its threshold, and how sure it is that this is too much."""

    change: float
    interval: tuple[float, float]
    is_worse: bool  # than the threshold, in the mean
    p_value: float  # of being no worse; not corrected


def judge(now: Run, then: Run, wanted: Mapping[str, str], changes: Sequence[Change]) -> tuple[Limit, ...]:
    """Judge every threshold in every setting. `changes`: what regression.changes says of the same runs.

    Raises FaceoffError for a threshold of no metric, or one that does not fit its metric.
    """
    metrics = declared(now.job, now.results)
    for name in wanted:
        if name not in metrics:
            known = ", ".join(metrics)
            raise FaceoffError(f"params.yaml: compare.thresholds: no metric {name!r:.80}; known are {known}")
    tested: dict[tuple[str, str], _Tested] = {}
    reasons: dict[tuple[str, str], str] = {}
    for setting, (group, before) in regression.in_both(now, then).items():
        confounder = regression.confounder(now, then, group, before)
        for name, text in wanted.items():
            threshold, most = thresholds.allowed(text, name, metrics[name])
            here, there = ([*compared_samples(each, name, now.job).values()] for each in (group, before))
            reason = confounder or _too_little(here, there, threshold)
            if reason:
                reasons[setting, name] = reason
            else:
                tested[setting, name] = _test(here, there, metrics[name], threshold, most)
    corrected = regression.holm({key: each.p_value for key, each in tested.items()})
    doubted = {(each.setting, each.metric): each.words for each in changes if each.verdict == "cannot say"}
    return tuple(
        _limit(
            key,
            wanted[key[1]],
            metrics[key[1]],
            tested.get(key),
            corrected.get(key),
            reasons.get(key, doubted.get(key)),
        )
        for key in _keys(tested, reasons, wanted)
    )


def _keys(
    tested: Mapping[tuple[str, str], _Tested], reasons: Mapping[tuple[str, str], str], wanted: Mapping[str, str]
) -> Iterator[tuple[str, str]]:
    for setting in dict.fromkeys(setting for setting, _ in (*tested, *reasons)):
        yield from ((setting, name) for name in wanted)


def _too_little(here: Sequence[float], there: Sequence[float], threshold: Threshold) -> str | None:
    """Say why nothing can be tested; None where it can."""
    if min(len(here), len(there)) < MIN_PAIRS:
        counts = f"{len(here)} against {formatting.count(len(there), 'repeat')}"
        return f"{counts} that have the metric, {MIN_PAIRS} of each are the least"
    if threshold.is_relative and min(*here, *there) <= 0:
        return "a value is not above 0, so that a change in % says nothing"
    return None


def _test(here: Sequence[float], there: Sequence[float], metric: Metric, threshold: Threshold, most: float) -> _Tested:
    """Test whether the metric is worse than it was by more than `most`."""
    worse = 1 if metric.better == "lower" else -1
    if threshold.is_relative:
        scale, bound = 1.0, math.log1p(most) if worse > 0 else math.log(max(1 - most, 1e-9))
        now, then = (spread_out(numpy.log(each)) for each in (here, there))
    else:
        scale = max(float(numpy.abs([*here, *there]).max()), 1e-300)
        bound = worse * most / scale
        now, then = (spread_out(numpy.array(each) / scale) for each in (here, there))
    change = float(now.mean() - then.mean())
    interval = stats.ttest_ind(now, then, equal_var=False).confidence_interval(CONFIDENCE)
    beyond = stats.ttest_ind(now - bound, then, equal_var=False, alternative="greater" if worse > 0 else "less")
    found = change, float(interval.low), float(interval.high)
    change_as_said, low, high = map(math.expm1, found) if threshold.is_relative else (each * scale for each in found)
    return _Tested(change_as_said, (low, high), worse * change > worse * bound, float(beyond.pvalue))


def _limit(
    key: tuple[str, str], text: str, metric: Metric, found: _Tested | None, p_value: float | None, doubt: str | None
) -> Limit:
    """Put a threshold in words: a doubt of load takes a broken one back."""
    setting, name = key
    if found is None:
        return Limit(setting, name, text, "cannot say", None, None, None, None, f"cannot say: {doubt}")
    status = "broken" if found.is_worse else "kept"
    if found.is_worse and doubt:
        status = "cannot say"
    elif found.is_worse and p_value is not None and p_value < LEVEL:
        status = "broken for sure"
    ends = found.interval
    written, low, high = (_change(each, text, metric) for each in (found.change, *ends))
    sureness = f"{formatting.confidence(CONFIDENCE)} interval {low} to {high}"
    end = ", which may be chance" if status == "broken" else ""
    words = f"{status}: {written} ({sureness}), {text} allowed{end}"
    if status == "cannot say":
        return Limit(setting, name, text, status, None, None, None, None, doubt or words)
    return Limit(setting, name, text, status, found.change, *ends, p_value, words)


def _change(number: float, text: str, metric: Metric) -> str:
    """Write a change: '+5.2%', '-0.61 points', '+1.2e+06 bytes'."""
    if text.strip().endswith(thresholds.PERCENT):
        return f"{round(100 * number, 1) + 0.0:+.1f}%"  # no -0.0
    if metric.unit == "share":
        return f"{round(100 * number, 2) + 0.0:+.2f} points"
    return f"{number:+.3g} {metric.unit}"


def exit_code(limits: Sequence[Limit]) -> int:
    """Return 1 where one is broken for sure, 2 where one can't be told, 3 where one is broken and it may be chance."""
    statuses = {each.status for each in limits}
    codes = {"broken for sure": 1, "cannot say": 2, "broken": 3}
    return next((code for status, code in codes.items() if status in statuses), 0)


def conclusion(limits: Sequence[Limit], revision: str) -> str:
    """Say in a sentence which broke, for sure or not, and which can't be told."""
    parts = []
    for status, words in (
        ("broken for sure", "Broken for sure"),
        ("broken", "Broken, which may be chance"),
        ("cannot say", "Not to be told"),
    ):
        names = [f"{each.setting} ({each.metric})" for each in limits if each.status == status]
        parts += [f"{words}: {', '.join(names)}."] if names else []
    return " ".join(parts) or f"No threshold is broken since {revision}."


def unsettled(changes: Sequence[Change]) -> list[str]:
    """Name the settings whose total can't be told."""
    return [each.setting for each in changes if each.verdict == "cannot say" and each.metric == TOTAL]
