"""The same settings now and then: what became slower since a commit.

Two sessions, apart in time. Repeat 1 of today and repeat 1 of then have nothing in common, so nothing is paired:
Welch's test on the logarithms of every timed figure, by SciPy, with Holm's correction over the settings of a figure.
What one session differs in from the next as a whole (the heat of the day, what else the machine held in memory) is in
the spread of neither; the margin is there for it. A regression is what is slower by more than the margin for sure: that
it is not is tested in itself, with Holm's correction over all figures of all settings. Only the same machine, recipe
and data are compared at all.
"""

import dataclasses
import math
from collections.abc import Mapping, Sequence
from typing import Literal

import numpy
from scipy import stats
from statsmodels.stats.multitest import multipletests
from statsmodels.stats.power import TTestIndPower

from stages.errors import FaceoffError
from stages.harness import formatting
from stages.harness.comparison import comparable, sentences
from stages.harness.results.metrics import TIMED, TOTAL, samples
from stages.harness.results.read import Result
from stages.harness.statistics import accuracy, verdicts
from stages.harness.statistics.estimates import CONFIDENCE, LEVEL, MIN_PAIRS, RESOLUTION
from stages.harness.statistics.planning import MAX_REPEATS, PLANNED_POWER, rounded_up
from stages.harness.statistics.verdicts import HIGHER_IS_FASTER
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
    """A figure of a setting now, as a ratio to what it was then."""

    setting: str
    figure: str
    verdict: str  # of records.VERDICTS
    words: str
    is_regression: bool


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
    """Of every timed figure of every setting of `now` that `then` has too, a setting after the other."""
    both = _both(now, then)
    obstacles = {name: _obstacle(now, then, *groups) for name, groups in both.items()}
    tests = {}
    for name, (group, before) in both.items():
        for figure in TIMED if obstacles[name] is None else ():
            test = _Welch.of(group, before, figure, margin)
            if test:
                tests[name, figure] = test
    differs: dict[tuple[str, str], float] = {}
    for figure in TIMED:
        differs |= _holm({key: test.p_differs for key, test in tests.items() if key[1] == figure})
    beyond = _holm({key: test.p_beyond for key, test in tests.items()})
    told = {
        key: _judged(key, test, differs[key], beyond[key] < LEVEL, then.name, margin, len(both))
        for key, test in tests.items()
    }
    untold = {
        (name, TOTAL): Change(name, TOTAL, "cannot say", f"cannot say: {obstacle}", False)
        for name, obstacle in obstacles.items()
        if obstacle
    }
    found = told | untold
    return tuple(found[name, figure] for name in both for figure in TIMED if (name, figure) in found)


def accuracies(now: Run, then: Run) -> dict[str, str]:
    """Setting: what became of its accuracy, by its predictions of the same photos."""
    found = accuracy.compare(_both(now, then))
    return {name: sentences.told(each, f"in {then.name}").removeprefix("; ") for name, each in found.items()}


def gone(now: Run, then: Run) -> tuple[str, ...]:
    """Settings of then that there are no more."""
    return tuple(name for name in then.settings() if name not in now.settings())


def _both(now: Run, then: Run) -> dict[str, tuple[list[Result], list[Result]]]:
    before = then.settings()
    both = {name: (group, before[name]) for name, group in now.settings().items() if name in before}
    if not both:
        known = ", ".join(before)
        raise FaceoffError(f"no setting of now is in {then.name}, which has {known}; nothing to compare", exit_code=2)
    return both


def _holm(p_values: Mapping[tuple[str, str], float]) -> dict[tuple[str, str], float]:
    corrected = multipletests([*p_values.values()], method="holm")[1] if p_values else ()
    return dict(zip(p_values, map(float, corrected), strict=True))


def _obstacle(now: Run, then: Run, group: Sequence[Result], before: Sequence[Result]) -> str | None:
    image = group[0].cell.image
    found = comparable.obstacle(group, before, now.profiles.get(image), then.profiles.get(image), then.name)
    counts = [len(samples(each, TOTAL)) for each in (group, before)]
    if found is None and min(counts) < MIN_PAIRS:
        return f"{counts[0]} against {formatting.count(counts[1], 'repeat')}, {MIN_PAIRS} of each are the least"
    return found


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

    @staticmethod
    def of(group: Sequence[Result], before: Sequence[Result], figure: str, margin: float) -> "_Welch | None":
        """None where a figure is missing, or 0."""
        found = [[*samples(each, figure).values()] for each in (group, before)]
        if min(map(len, found)) < MIN_PAIRS or min(map(min, found)) <= 0:
            return None
        now, then = (_spread_out(numpy.log(each)) for each in found)
        bound, slower = math.log1p(margin), -1 if figure in HIGHER_IS_FASTER else 1

        def p_value(shift: float, alternative: Literal["two-sided", "less", "greater"]) -> float:
            return float(stats.ttest_ind(now - shift, then, equal_var=False, alternative=alternative).pvalue)

        interval = stats.ttest_ind(now, then, equal_var=False).confidence_interval(CONFIDENCE)
        return _Welch(
            log_ratio=float(now.mean() - then.mean()),
            interval=(float(interval.low), float(interval.high)),
            spread=math.hypot(now.std(ddof=1), then.std(ddof=1)) / math.sqrt(2),
            p_differs=p_value(0.0, "two-sided"),
            p_within=max(p_value(bound, "less"), p_value(-bound, "greater")),
            p_beyond=p_value(slower * bound, "greater" if slower > 0 else "less"),
            repeats=(len(now), len(then)),
        )


def _spread_out(logs: numpy.ndarray) -> numpy.ndarray:
    """For times that agree to the last digit SciPy has no interval."""
    return logs if logs.std() > RESOLUTION else logs + numpy.linspace(-RESOLUTION, RESOLUTION, len(logs))


def _judged(
    key: tuple[str, str], test: _Welch, p_differs: float, is_regression: bool, then: str, margin: float, settings: int
) -> Change:
    setting, figure = key
    said = verdicts.verdict(test.log_ratio, p_differs, 2 * test.p_within, figure)
    ratio, low, high = (formatting.factor(math.exp(each)) for each in (test.log_ratio, *test.interval))
    sureness = (
        f"{formatting.confidence(CONFIDENCE)} interval {low} to {high}, "
        f"{test.repeats[0]} against {formatting.count(test.repeats[1], 'repeat')}"
    )
    what = "rate" if figure in HIGHER_IS_FASTER else "time"
    end = {"inconclusive": f"; {_what_would_settle(test, margin, settings)}"}.get(said, "")
    if is_regression:
        end = f"; by more than the margin of {100 * margin:g}%"
    words = f"{said}: {ratio} times the {what} in {then} ({sureness}){end}"
    return Change(setting, figure, said, words, is_regression)


def _what_would_settle(test: _Welch, margin: float, settings: int) -> str:
    """By statsmodels' power of the t-test, where the ratio and the spread are what was found."""
    repeats = numpy.arange(MIN_PAIRS, MAX_REPEATS + 1)
    size, room = (each / test.spread for each in (abs(test.log_ratio), math.log1p(margin) - abs(test.log_ratio)))
    differs = TTestIndPower().power(size, repeats, LEVEL / settings)
    within = TTestIndPower().power(room, repeats, LEVEL / 2, alternative="larger")
    enough = repeats[numpy.maximum(differs, within) >= PLANNED_POWER]
    if not len(enough):
        return f"more than {MAX_REPEATS} repeats of each would be needed"
    return f"about {rounded_up(int(enough[0]))} repeats of each would settle it"
