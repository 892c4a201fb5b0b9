"""The same settings now and then: what became slower since a commit.

Two sessions, apart in time. Repeat 1 of today and repeat 1 of then have nothing in common, so nothing is paired:
Welch's test on the logarithms of the total times, by SciPy, with Holm's correction over the settings. What one session
differs in from the next as a whole (the heat of the day, what else the machine held in memory) is in the spread of
neither; the margin is there for it. Only the same machine, recipe and data are compared at all.
"""

import dataclasses
import math
from collections.abc import Mapping, Sequence

import numpy
from scipy import stats
from statsmodels.stats.multitest import multipletests

from stages.errors import FaceoffError
from stages.harness import comparable, verdicts, wording
from stages.harness.cells import Result
from stages.harness.figures import TOTAL, samples
from stages.harness.verdicts import CONFIDENCE, MIN_PAIRS, RESOLUTION
from stages.records import Machine, Profile, Recipe


@dataclasses.dataclass(frozen=True)
class Run:
    """All results of one commit, or of today, with what they are results of."""

    name: str  # in sentences: the revision
    machine: Machine
    dataset_sha256: str
    recipe: Recipe
    profiles: Mapping[str, Profile]  # by image, those that there are
    results: Sequence[Result]

    def settings(self) -> dict[str, list[Result]]:
        found: dict[str, list[Result]] = {}
        for result in self.results:
            found.setdefault(result.cell.setting, []).append(result)
        return found


@dataclasses.dataclass(frozen=True)
class Change:
    """The total time of a setting now, as a ratio to what it was then."""

    setting: str
    verdict: str  # of records.VERDICTS
    words: str
    ratio: float | None  # geometric

    def is_regression(self, margin: float) -> bool:
        """Slower for sure, and by more than the margin."""
        return self.verdict == "slower" and self.ratio is not None and self.ratio > 1 + margin


def check_same(now: Run, then: Run) -> None:
    """Raise a FaceoffError where the two can't be compared: the one line says what is not the same."""
    if now.machine != then.machine:
        here, there = (each.hardware.cpu.model or "a CPU of unknown model" for each in (now.machine, then.machine))
        which = f"{there}; here {here}" if here != there else f"{there}, as here, but not this one, or changed since"
        raise _refused(then, f"were measured on another machine ({which}); measure that commit here")
    for field in dataclasses.fields(Recipe):
        is_now, was = getattr(now.recipe, field.name), getattr(then.recipe, field.name)
        if is_now != was:
            raise _refused(then, f"are of recipe.{field.name} {was}, not {is_now}; measure both with one recipe")
    if now.dataset_sha256 != then.dataset_sha256:
        raise _refused(then, "are of another data set; measure both on one")


def _refused(then: Run, problem: str) -> FaceoffError:
    return FaceoffError(f"refused: the results in {then.name} {problem}", exit_code=2)


def changes(now: Run, then: Run, margin: float) -> tuple[Change, ...]:
    """Of every setting of `now` that `then` has too."""
    before = then.settings()
    both = {name: (group, before[name]) for name, group in now.settings().items() if name in before}
    if not both:
        known = ", ".join(before)
        raise FaceoffError(f"no setting of now is in {then.name}, which has {known}; nothing to compare", exit_code=2)
    obstacles = {name: _obstacle(now, then, *groups) for name, groups in both.items()}
    tests = {name: _Welch.of(*groups) for name, groups in both.items() if obstacles[name] is None}
    p_values = multipletests([each.p_value for each in tests.values()], method="holm")[1] if tests else ()
    corrected = dict(zip(tests, map(float, p_values), strict=True))
    return tuple(
        _judged(name, tests[name], corrected[name], then.name, margin)
        if name in tests
        else Change(name, "cannot say", f"cannot say: {obstacles[name]}", None)
        for name in both
    )


def _obstacle(now: Run, then: Run, group: Sequence[Result], before: Sequence[Result]) -> str | None:
    image = group[0].cell.image
    found = comparable.obstacle(group, before, now.profiles.get(image), then.profiles.get(image), then.name)
    counts = [len(samples(each, TOTAL)) for each in (group, before)]
    if found is None and min(counts) < MIN_PAIRS:
        return f"{counts[0]} against {wording.count(counts[1], 'repeat')}, {MIN_PAIRS} of each are the least"
    return found


@dataclasses.dataclass(frozen=True)
class _Welch:
    """Welch's test on logarithms, as SciPy does it."""

    log_ratio: float
    interval: tuple[float, float]
    p_value: float
    repeats: tuple[int, int]

    @staticmethod
    def of(group: Sequence[Result], before: Sequence[Result]) -> "_Welch":
        now, then = (numpy.log([*samples(each, TOTAL).values()]) for each in (group, before))
        log_ratio = float(now.mean() - then.mean())
        repeats = len(now), len(then)
        if max(now.std(), then.std()) < RESOLUTION:  # for which SciPy has no interval
            return _Welch(log_ratio, (log_ratio, log_ratio), float(abs(log_ratio) < RESOLUTION), repeats)
        test = stats.ttest_ind(now, then, equal_var=False)
        interval = test.confidence_interval(CONFIDENCE)
        return _Welch(log_ratio, (float(interval.low), float(interval.high)), float(test.pvalue), repeats)


def _judged(setting: str, test: _Welch, p_value: float, then: str, margin: float) -> Change:
    verdict = verdicts.verdict(test.log_ratio, test.interval, p_value, TOTAL, margin)
    ratio, low, high = (math.exp(each) for each in (test.log_ratio, *test.interval))
    sureness = (
        f"{wording.confidence(CONFIDENCE)} interval {wording.factor(low)} to {wording.factor(high)}, "
        f"{test.repeats[0]} against {wording.count(test.repeats[1], 'repeat')}"
    )
    return Change(setting, verdict, f"{verdict}: {wording.factor(ratio)} times the time in {then} ({sureness})", ratio)
