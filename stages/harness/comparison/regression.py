"""The same settings now and then: what became slower since a commit.

Two blocks, apart in time, so nothing is paired: Welch's test on the logarithms of every timed metric, with Holm's
correction; docs/statistics.md tells the method. Only the same machine, job and data are compared at all.
"""

import dataclasses
import json
import math
from collections.abc import Collection, Iterator, Mapping, Sequence
from typing import Any, Literal

import numpy
from scipy import stats
from statsmodels.stats.multitest import multipletests
from statsmodels.stats.power import TTestIndPower

from stages.errors import FaceoffError
from stages.harness import formatting
from stages.harness.comparison import confounders, sentences, under_load
from stages.harness.comparison.by_steps import CALLED
from stages.harness.results.metrics import (
    BEYOND,
    TOTAL,
    UNDISTURBED,
    compared_samples,
    confirmable,
    declared,
    samples,
    timed,
)
from stages.harness.results.read import CellResult
from stages.harness.statistics import predictions, verdicts
from stages.harness.statistics.estimates import CONFIDENCE, LEVEL, MIN_PAIRS, RESOLUTION
from stages.harness.statistics.planning import MAX_REPEATS, PLANNED_POWER, rounded_up
from stages.records import Job, Machine, Metric, Profile

COMMON = ("name", "train", "evaluate", "total", "metrics", "seed")  # of Job, what both have to be results of


@dataclasses.dataclass(frozen=True)
class Run:
    """All results of one commit, or of today, with what they are results of."""

    name: str  # in sentences: the revision
    machine: Machine
    data_sha256: str
    job: Job
    profiles: Mapping[str, Profile]  # by image, those that there are
    results: Sequence[CellResult]

    def settings(self) -> dict[str, list[CellResult]]:
        """Group the results by setting."""
        found: dict[str, list[CellResult]] = {}
        for result in self.results:
            found.setdefault(result.cell.setting, []).append(result)
        return found


@dataclasses.dataclass(frozen=True)
class Change:
    """A metric of a setting now, as a ratio to what it was then."""

    setting: str
    metric: str
    verdict: str  # of records.VERDICTS
    words: str
    is_regression: bool


def check_same(now: Run, then: Run) -> None:
    """Raise a FaceoffError where the two can't be compared: the one line says what is not the same."""
    if now.machine != then.machine:
        which = _other_machine(now.machine, then.machine)
        raise _refused(then, f"were measured on another machine ({which}); measure that commit here")
    for field in COMMON:
        is_now, was = getattr(now.job, field), getattr(then.job, field)
        if field == "metrics" and is_now != was:
            name = next(each for each in (*is_now, *was) if is_now.get(each) != was.get(each))
            field, was, is_now = f"metric {name}", _words(was.get(name)), _words(is_now.get(name))
        if is_now != was:
            raise _refused(then, f"are of another job: {field} was {was}, and is {is_now}; measure both with one job")
    for file in sorted({*now.job.files, *then.job.files}):
        if now.job.files.get(file) != then.job.files.get(file):
            raise _refused(then, f"are of another {now.job.directory / file}; measure both with one job")
    sections = [dict(_flat(now.job.name, json.loads(each.job.section_json))) for each in (now, then)]
    for key in dict.fromkeys((*sections[0], *sections[1])):
        is_now, was = (each.get(key, "left out") for each in sections)
        if is_now != was:
            raise _refused(then, f"are of {key} {was}, not {is_now}; measure both with one")
    if now.data_sha256 != then.data_sha256:
        raise _refused(then, "are of other data; measure both on the same")


def _other_machine(now: Machine, then: Machine) -> str:
    """Return 'Xeon; here EPYC', or of machines with one processor what else is not the same."""
    here, there = (each.hardware.cpu.model or "a CPU of unknown model" for each in (now, then))
    if here != there:
        return f"{there}; here {here}"
    if now.machine_id != then.machine_id:
        return f"{there}, as here, but not this one"
    are, were = (dict(_flat("machine", dataclasses.asdict(each))) for each in (now, then))
    changed = [key for key in dict.fromkeys((*were, *are)) if were.get(key) != are.get(key)]
    key = next((key for key in changed if ".absent" not in key), changed[0])
    was, value = ("not known" if each.get(key) is None else each[key] for each in (were, are))
    words = "" if isinstance(was, tuple) or isinstance(value, tuple) else f": {was}, now {value}"
    return f"this one, and changed since: {key.removeprefix('machine.')}{words}"


def _words(metric: Metric | None) -> str:
    """Return 'points, higher is better, timed', or 'left out'."""
    if metric is None:
        return "left out"
    return f"{metric.unit}, {metric.better} is better" + (", timed" if metric.timed else "")


def _flat(name: str, section: Any) -> Iterator[tuple[str, Any]]:
    """Yield the values of a section with the path of their keys: 'toy.model.size', 96."""
    if isinstance(section, dict) and section:
        for key, value in section.items():
            yield from _flat(f"{name}.{key}", value)
    else:
        yield name, section


def _refused(then: Run, problem: str) -> FaceoffError:
    return FaceoffError(f"refused: the results in {then.name} {problem}", exit_code=2)


def changes(now: Run, then: Run, margin: float) -> tuple[Change, ...]:
    """Judge every timed metric of every setting of `now` that `then` has too, a setting after the other."""
    both = _both(now, then)
    metrics = timed(declared(now.job, now.results))
    confounded = {name: _confounder(now, then, *groups) for name, groups in both.items()}
    tests = {}
    for name, (group, before) in both.items():
        for metric, its in metrics.items() if confounded[name] is None else ():
            here, there = ([*compared_samples(each, metric, now.job).values()] for each in (group, before))
            test = _welch(here, there, its, margin)
            if test:
                tests[name, metric] = test
    differs: dict[tuple[str, str], float] = {}
    for metric in metrics:
        differs |= _holm({key: test.p_differs for key, test in tests.items() if key[1] == metric})
    beyond = _holm({key: test.p_beyond for key, test in tests.items()})
    judged = {
        key: _judged(key, test, differs[key], beyond[key] < LEVEL, then.name, margin, len(both))
        for key, test in tests.items()
    }
    for name, (group, before) in both.items():
        load = under_load.LoadBeside(
            under_load.side(now.name, group, now.profiles), under_load.side(then.name, before, then.profiles)
        )
        confirmed_by_steps = confirmable(group, now.job) & confirmable(before, now.job)
        of_setting = {metric: each for (setting, metric), each in judged.items() if setting == name}
        intervals = {metric: tests[name, metric].interval for metric in of_setting}
        judged |= {(name, each.metric): each for each in _weighed(of_setting, intervals, load, confirmed_by_steps)}
    unknown = {
        (name, TOTAL): Change(name, TOTAL, "cannot say", f"cannot say: {reason}", False)
        for name, reason in confounded.items()
        if reason
    }
    said = judged | unknown
    return tuple(said[name, metric] for name in both for metric in metrics if (name, metric) in said)


def predicted(now: Run, then: Run) -> dict[str, str]:
    """Say for each setting what became of its predictions of the same items."""
    found = predictions.compare(_both(now, then))
    return {name: sentences.of_predictions(each, f"in {then.name}").removeprefix("; ") for name, each in found.items()}


def gone(now: Run, then: Run) -> tuple[str, ...]:
    """List settings of then that there are no more."""
    return tuple(name for name in then.settings() if name not in now.settings())


def _both(now: Run, then: Run) -> dict[str, tuple[list[CellResult], list[CellResult]]]:
    before = then.settings()
    both = {name: (group, before[name]) for name, group in now.settings().items() if name in before}
    if not both:
        known = ", ".join(before)
        raise FaceoffError(f"no setting of now is in {then.name}, which has {known}; nothing to compare", exit_code=2)
    return both


def _holm(p_values: Mapping[tuple[str, str], float]) -> dict[tuple[str, str], float]:
    corrected = multipletests([*p_values.values()], method="holm")[1] if p_values else ()
    return dict(zip(p_values, map(float, corrected), strict=True))


def _confounder(now: Run, then: Run, group: Sequence[CellResult], before: Sequence[CellResult]) -> str | None:
    image = group[0].cell.image
    found = confounders.confounder(group, before, now.profiles.get(image), then.profiles.get(image), then.name)
    counts = [len(samples(each, TOTAL, now.job)) for each in (group, before)]
    if found is None and min(counts) < MIN_PAIRS:
        return f"{counts[0]} against {formatting.count(counts[1], 'repeat')}, {MIN_PAIRS} of each are the least"
    return found


def _weighed(
    judged: Mapping[str, Change],
    intervals: Mapping[str, tuple[float, float]],  # by metric, of the log of the ratio
    load: under_load.LoadBeside,
    confirmable: Collection[str],
) -> Iterator[Change]:
    """Take back what load could have made of a setting, as of a face-off: see under_load."""
    loaded = [each for each in (load.here, load.there) if each.could_have_made(each.disturbed)]
    words = " and ".join(f"{each.words(each.disturbed, 'repeat')} ({each.name})" for each in loaded)
    unlike, steps = load.unlike(), judged.get(UNDISTURBED)
    for metric, change in judged.items():
        low, high = map(math.exp, intervals[metric])
        why: str | None = None
        if loaded and change.verdict in CALLED:
            is_large = metric in (TOTAL, UNDISTURBED) and load.is_too_small_for(low, high)
            why = None if is_large else _unconfirmed(change, steps, unlike, confirmable)
        yield (
            change
            if why is None
            else dataclasses.replace(
                change,
                verdict="cannot say",
                words=f"cannot say: load could have made it: {words}, {why}; as measured, {change.words}",
                is_regression=False,
            )
        )


def _unconfirmed(change: Change, steps: Change | None, unlike: str | None, confirmable: Collection[str]) -> str | None:
    """Say why steps do not confirm it, or do not see through the load; None where they do both."""
    if change.metric == BEYOND:
        return under_load.ITS_TAIL
    if change.metric not in confirmable or steps is None:
        return f"and there are no step times to see through it; {under_load.END}"
    if unlike is None and steps.verdict != change.verdict:
        return f"and its steps undisturbed do not say the same ({steps.verdict}); {under_load.END}"
    return unlike


@dataclasses.dataclass(frozen=True)
class _Welch:
    """Welch's test on logarithms, as SciPy does it."""

    log_ratio: float
    interval: tuple[float, float]
    spread: float  # standard deviation within now and within then, in the mean
    p_differs: float
    p_within: float  # of not being within the margin: the larger of two one-sided tests
    p_beyond: float  # of not being slower by more than the margin
    repeats: tuple[int, int]
    better: str  # of records.BETTER


def _welch(now: Sequence[float], before: Sequence[float], metric: Metric, margin: float) -> _Welch | None:
    """Test the samples; None where they are too few, or one is 0."""
    if min(map(len, (now, before))) < MIN_PAIRS or min((*now, *before)) <= 0:
        return None
    logs, then = (_spread_out(numpy.log(each)) for each in (now, before))
    bound, slower = math.log1p(margin), -1 if metric.better == "higher" else 1

    def p_value(shift: float, alternative: Literal["two-sided", "less", "greater"]) -> float:
        return float(stats.ttest_ind(logs - shift, then, equal_var=False, alternative=alternative).pvalue)

    interval = stats.ttest_ind(logs, then, equal_var=False).confidence_interval(CONFIDENCE)
    return _Welch(
        log_ratio=float(logs.mean() - then.mean()),
        interval=(float(interval.low), float(interval.high)),
        spread=math.hypot(logs.std(ddof=1), then.std(ddof=1)) / math.sqrt(2),
        p_differs=p_value(0.0, "two-sided"),
        p_within=max(p_value(bound, "less"), p_value(-bound, "greater")),
        p_beyond=p_value(slower * bound, "greater" if slower > 0 else "less"),
        repeats=(len(now), len(before)),
        better=metric.better,
    )


def _spread_out(logs: numpy.ndarray) -> numpy.ndarray:
    """Tell apart times that agree to the last digit: SciPy has no interval for them."""
    return logs if logs.std() > RESOLUTION else logs + numpy.linspace(-RESOLUTION, RESOLUTION, len(logs))


def _judged(
    key: tuple[str, str], test: _Welch, p_differs: float, is_regression: bool, then: str, margin: float, settings: int
) -> Change:
    setting, metric = key
    said = verdicts.verdict(test.log_ratio, p_differs, 2 * test.p_within, test.better)
    ratio, low, high = (formatting.factor(math.exp(each)) for each in (test.log_ratio, *test.interval))
    sureness = (
        f"{formatting.confidence(CONFIDENCE)} interval {low} to {high}, "
        f"{test.repeats[0]} against {formatting.count(test.repeats[1], 'repeat')}"
    )
    what = "rate" if test.better == "higher" else "time"
    end = {"inconclusive": f"; {_what_would_settle(test, margin, settings)}"}.get(said, "")
    if is_regression:
        end = f"; by more than the margin of {100 * margin:g}%"
    words = f"{said}: {ratio} times the {what} in {then} ({sureness}){end}"
    return Change(setting, metric, said, words, is_regression)


def _what_would_settle(test: _Welch, margin: float, settings: int) -> str:
    """Plan by statsmodels' power of the t-test, where the ratio and the spread are what was found."""
    repeats = numpy.arange(MIN_PAIRS, MAX_REPEATS + 1)
    size, room = (each / test.spread for each in (abs(test.log_ratio), math.log1p(margin) - abs(test.log_ratio)))
    differs = TTestIndPower().power(size, repeats, LEVEL / settings)
    within = TTestIndPower().power(room, repeats, LEVEL / 2, alternative="larger")
    enough = repeats[numpy.maximum(differs, within) >= PLANNED_POWER]
    if not len(enough):
        return f"more than {MAX_REPEATS} repeats of each would be needed"
    return f"about {rounded_up(int(enough[0]))} repeats of each would settle it"
