"""Each setting's timed metrics over the commits that brought results, and where one of them changed for sure.

Only runs of the same machine, job and data are on one line; the rule is that of statistics/shifts.py.
"""

import dataclasses
import math
from collections.abc import Iterator, Mapping, Sequence

import numpy
from scipy import stats

from stages import records
from stages.errors import FaceoffError
from stages.harness import formatting
from stages.harness.comparison import confounders, regression, since, under_load
from stages.harness.comparison.regression import Run
from stages.harness.comparison.runs import read_run
from stages.harness.pipeline import revisions
from stages.harness.pipeline.revisions import Commit
from stages.harness.results.metrics import compared_samples, declared, timed
from stages.harness.results.read import CellResult
from stages.harness.statistics import shifts
from stages.harness.statistics.estimates import CONFIDENCE, RESOLUTION
from stages.records import Metric


@dataclasses.dataclass(frozen=True)
class Measured:
    """A commit and its run; without one, why it can't be read."""

    commit: Commit
    run: Run | None
    reason: str | None = None


@dataclasses.dataclass(frozen=True)
class Point:
    """A metric of a setting in one commit."""

    place: int  # of the commit
    samples: tuple[float, ...]
    mean: float  # geometric
    low: float | None  # ends of the interval by its repeats; None with one
    high: float | None
    group: int  # points of one group are of the same machine, job and data
    doubt: str | None  # why it is shown and not judged


@dataclasses.dataclass(frozen=True)
class Change:
    """A metric of a setting that changed for sure."""

    setting: str
    metric: str
    place: int  # of the first commit with the new level
    earliest: int  # it may as well be any commit from here
    latest: int  # to here
    verdict: str  # faster or slower
    ratio: float
    low: float
    high: float
    p_value: float
    differences: tuple[str, ...]  # what of the environment changed between these commits


@dataclasses.dataclass(frozen=True)
class Line:
    """A metric of a setting over all commits that measured it."""

    setting: str
    metric: str
    declared: Metric
    points: tuple[Point, ...]
    changes: tuple[Change, ...]


@dataclasses.dataclass(frozen=True)
class History:
    """All that the page shows."""

    measured: tuple[Measured, ...]
    borders: Mapping[int, str]  # place of a commit: what is not the same as in the one before, so not compared across
    lines: tuple[Line, ...]
    series: int  # lines that were long enough to be judged, in their groups


def read(most: int) -> tuple[Measured, ...]:
    """Read the runs of the commits that brought results, the oldest first."""
    return tuple(_read(commit) for commit in revisions.of_results(records.COMPARISON_PATH, most))


def _read(commit: Commit) -> Measured:
    try:
        with revisions.laid_out(commit.sha) as folder:
            return Measured(commit, dataclasses.replace(read_run(commit.sha, folder), name=commit.short))
    except FaceoffError as error:
        return Measured(commit, None, str(error).replace(commit.sha, commit.short))


def history(measured: Sequence[Measured]) -> History:
    """Put the runs on lines, and find what changed on each of them."""
    groups = _groups(measured)
    lines = [line for name, of_setting in groups.items() for line in _lines(name, of_setting)]
    parts = [(line, group, part) for line in lines for group, part in _judged(line.points).items()]
    judged = [line.metric in formatting.ENERGIES for line, _, part in parts if len(part) >= shifts.MIN_RUNS]
    found = []
    for line in lines:
        series = max(judged.count(line.metric in formatting.ENERGIES), 1)  # energy costs times no certainty
        changes = [
            change
            for its, _, part in parts
            if its is line
            for change in _changes(line, part, series, groups[line.setting])
        ]
        found.append(dataclasses.replace(line, changes=tuple(sorted(changes, key=lambda each: each.place))))
    return History(tuple(measured), _borders(measured), tuple(found), len(judged))


# ------------------------------------------------------------------------------------------------- what is compared


@dataclasses.dataclass(frozen=True)
class _Group:
    """The results of a setting that a commit measured, and of which group they are."""

    place: int
    run: Run
    results: tuple[CellResult, ...]
    number: int
    border: str | None  # what began a group of the setting's alone


def _groups(measured: Sequence[Measured]) -> dict[str, list[_Group]]:
    """Gather by setting what each commit measured anew; results that came with it from an earlier one are left out."""
    found: dict[str, list[_Group]] = {}
    seen: dict[str, set[tuple[int, str]]] = {}
    for place, each in enumerate(measured):
        for name, results in each.run.settings().items() if each.run else ():
            known = seen.setdefault(name, set())
            new = [result for result in results if result.train is None or _identity(result) not in known]
            known.update(_identity(result) for result in new if result.train)
            if each.run and any(result.train for result in new):
                found.setdefault(name, []).append(_group(place, each.run, new, found.get(name, [])))
    return found


def _identity(result: CellResult) -> tuple[int, str]:
    return result.cell.repeat, result.train.started_at if result.train else ""


def _group(place: int, run: Run, results: Sequence[CellResult], earlier: Sequence[_Group]) -> _Group:
    """Find the group that the results belong to: of another one's last run they have to be comparable."""
    latest = {each.number: each for each in earlier}
    for number, each in latest.items():
        if regression.unlike(run, each.run) is None and _confounder(run, results, each) is None:
            return _Group(place, run, tuple(results), number, None)
    border = _confounder(run, results, earlier[-1]) if earlier else None
    return _Group(place, run, tuple(results), len(latest), border)


def _confounder(run: Run, results: Sequence[CellResult], earlier: _Group) -> str | None:
    image = results[0].cell.image
    ran, ran_then = ([each for each in group if each.status != "failed"] for group in (results, earlier.results))
    return confounders.confounder(
        ran, ran_then, run.profiles.get(image), earlier.run.profiles.get(image), earlier.run.name
    )


def _borders(measured: Sequence[Measured]) -> dict[int, str]:
    """Say of each commit what its run is not like that of the one before."""
    runs = [(place, each.run) for place, each in enumerate(measured) if each.run]
    found = {}
    for (_, before), (place, run) in zip(runs, runs[1:], strict=False):
        differs = regression.unlike(run, before)
        if differs:
            found[place] = f"the results before {differs[0]}"
    return found


# ------------------------------------------------------------------------------------------------------------ lines


def _lines(setting: str, groups: Sequence[_Group]) -> Iterator[Line]:
    """Yield a line for each timed metric of the setting."""
    metrics: dict[str, Metric] = {}
    for each in groups:
        metrics |= timed(declared(each.run.job, each.results))
    for name, its in metrics.items():
        points = tuple(filter(None, (_point(each, name) for each in groups)))
        if points:
            yield Line(setting, name, its, points, ())


def _point(group: _Group, metric: str) -> Point | None:
    """Return the metric of a commit; None where it has none above 0."""
    values = [value for value in compared_samples(group.results, metric, group.run.job).values() if value > 0]
    if not values:
        return None
    logs = numpy.log(values)
    low = high = None
    if len(logs) > 1:
        reach = float(stats.t.ppf((1 + CONFIDENCE) / 2, len(logs) - 1)) * max(
            float(logs.std(ddof=1)) / math.sqrt(len(logs)), RESOLUTION
        )
        low, high = math.exp(logs.mean() - reach), math.exp(logs.mean() + reach)
    return Point(group.place, tuple(values), math.exp(logs.mean()), low, high, group.number, _doubt(group))


def _doubt(group: _Group) -> str | None:
    """Say why the commit's points are no account of it: repeats that failed, or load that could have made them.

    That of the undisturbed steps too: they see through load only where it was alike beside all that is compared.
    """
    failed = sum(each.status == "failed" for each in group.results)
    if failed:
        return f"{failed} of {formatting.count(len(group.results), 'repeat')} failed"
    side = under_load.side(group.run.name, group.results, group.run.profiles)
    return side.words(side.disturbed, "repeat") if side.could_have_made(side.disturbed) else None


# ---------------------------------------------------------------------------------------------------------- changes


def _judged(points: Sequence[Point]) -> dict[int, list[Point]]:
    """Pick by group the points that are judged."""
    found: dict[int, list[Point]] = {}
    for point in points:
        if point.doubt is None:
            found.setdefault(point.group, []).append(point)
    return found


def _changes(line: Line, points: Sequence[Point], series: int, groups: Sequence[_Group]) -> Iterator[Change]:
    """Yield what changed for sure among points of one group."""
    of_place = {each.place: each for each in groups}
    for each in shifts.shifts([math.log(point.mean) for point in points], series):
        slower = (each.log_ratio > 0) == (line.declared.better == "lower")
        now = points[each.latest].place
        earlier, after = of_place[points[each.earliest - 1].place], of_place[now]
        yield Change(
            setting=line.setting,
            metric=line.metric,
            place=points[each.place].place,
            earliest=points[each.earliest].place,
            latest=now,
            verdict="slower" if slower else "faster",
            ratio=math.exp(each.log_ratio),
            low=math.exp(each.low),
            high=math.exp(each.high),
            p_value=each.p_value,
            differences=since.differences(after.run, after.results, earlier.run, earlier.results),
        )
