"""The same settings now and then: what became slower since a commit.

Two blocks, apart in time, so nothing is paired: Welch's test on the logarithms of every timed metric, with Holm's
correction; docs/statistics.md tells the method. Only the same machine, job and data are compared at all. The job's code
is what a commit changes: it may differ, and `since` names it.
"""

import dataclasses
import json
import math
from collections import Counter
from collections.abc import Collection, Iterator, Mapping, Sequence
from typing import Any

from statsmodels.stats.multitest import multipletests

from stages.errors import FaceoffError
from stages.harness import formatting
from stages.harness.comparison import confounders, energies, sentences, under_load
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
from stages.harness.statistics.estimates import CONFIDENCE, LEVEL, MIN_PAIRS
from stages.harness.statistics.planning import MAX_REPEATS
from stages.harness.statistics.welch import Welch, welch
from stages.records import Change, Job, Machine, Metric, Profile

COMMON = ("name", "total", "metrics", "seed")  # of Job, what both are measured by; its code may be what changed


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


def check_same(now: Run, then: Run) -> None:
    """Raise a FaceoffError where the two can't be compared: the one line says what is not the same."""
    found = unlike(now, then)
    if found:
        problem, advice = found
        raise FaceoffError(f"refused: the results in {then.name} {problem}; {advice}", exit_code=2)


def unlike(now: Run, then: Run) -> tuple[str, str] | None:
    """Say of what else the results of then are, and what to do; None where the two can be compared."""
    if now.machine != then.machine:
        which = _other_machine(now.machine, then.machine)
        return f"were measured on another machine ({which})", "measure that commit here"
    for field in COMMON:
        is_now, was = getattr(now.job, field), getattr(then.job, field)
        if field == "metrics" and is_now != was:
            name = next(each for each in (*is_now, *was) if is_now.get(each) != was.get(each))
            field, was, is_now = f"metric {name}", _words(was.get(name)), _words(is_now.get(name))
        if is_now != was:
            return f"are of another job: {field} was {was}, and is {is_now}", "measure both with one job"
    sections = [dict(_flat(now.job.name, json.loads(each.job.section_json))) for each in (now, then)]
    for key in dict.fromkeys((*sections[0], *sections[1])):
        is_now, was = (each.get(key, "left out") for each in sections)
        if is_now != was:
            return f"are of {key} {was}, not {is_now}", "measure both with one"
    if now.data_sha256 != then.data_sha256:
        return "are of other data", "measure both on the same"
    return None


def code(now: Job, then: Job) -> tuple[str, ...]:
    """Say what of the job's code is not as it was: its commands, and its files by their digests."""
    found = [
        f"{name} {getattr(now, name) or 'left out'}, not {getattr(then, name) or 'left out'}"
        for name in ("train", "evaluate")
        if getattr(now, name) != getattr(then, name)
    ]
    for file in sorted({*now.files, *then.files}):
        here, there = (f"sha256 {each.files[file][:8]}" if file in each.files else "none" for each in (now, then))
        found += [f"{now.directory / file} ({here}, not {there})"] if here != there else []
    return tuple(found)


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


def changes(now: Run, then: Run, margin: float) -> tuple[Change, ...]:
    """Judge every timed metric of every setting of `now` that `then` has too, a setting after the other."""
    both = in_both(now, then)
    metrics = timed(declared(now.job, now.results))
    confounded = {name: confounder(now, then, *groups) for name, groups in both.items()}
    unlike = _unlike_energies(both, metrics, then.name)
    tests = {}
    for name, (group, before) in both.items():
        for metric in (each for each in metrics if confounded[name] is None and (name, each) not in unlike):
            here, there = ([*compared_samples(each, metric, now.job).values()] for each in (group, before))
            if min(map(len, (here, there))) >= MIN_PAIRS and min((*here, *there)) > 0:
                tests[name, metric] = welch(here, there, margin)
    differs: dict[tuple[str, str], float] = {}
    for metric in metrics:
        differs |= holm({key: test.p_differs for key, test in tests.items() if key[1] == metric})
    slower = {"higher": "p_below", "lower": "p_above"}
    times = {
        key: test for key, test in tests.items() if key[1] not in formatting.ENERGIES
    }  # those take energy, not time
    beyond = holm({key: getattr(test, slower[metrics[key[1]].better]) for key, test in times.items()})
    regressed = {key for key, p_value in beyond.items() if p_value < LEVEL}
    judged = {
        key: _judged(key, test, metrics[key[1]].better, differs[key], key in regressed, then.name, margin, len(both))
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
    unknown = {(name, TOTAL): reason for name, reason in confounded.items() if reason}
    said = judged | {
        key: Change(*key, "cannot say", None, None, None, False, f"cannot say: {reason}")
        for key, reason in (unlike | unknown).items()
    }
    return tuple(said[name, metric] for name in both for metric in metrics if (name, metric) in said)


def _unlike_energies(
    both: Mapping[str, tuple[Sequence[CellResult], Sequence[CellResult]]], metrics: Collection[str], then: str
) -> dict[tuple[str, str], str]:
    """Say why energies can't be compared with what they were: they were not got in the same way."""
    reasons = {name: energies.unlike(*groups, f"in {then}") for name, groups in both.items()}
    of_cards = [metric for metric in energies.OF_CARDS if metric in metrics]
    return {(name, metric): reason for name, reason in reasons.items() if reason for metric in of_cards}


def predicted(now: Run, then: Run) -> dict[str, str]:
    """Say for each setting what became of its predictions of the same items."""
    found = predictions.compare(in_both(now, then))
    return {name: sentences.of_predictions(each, f"in {then.name}").removeprefix("; ") for name, each in found.items()}


def kept(now: Run, then: Run) -> dict[str, int]:
    """Count the repeats of each setting that then holds too, the same: nothing was measured since."""
    held = {each.cell: each for each in then.results}
    same = (each for each in now.results if each.train and each == held.get(each.cell))
    return dict(Counter(each.cell.setting for each in same))


def gone(now: Run, then: Run) -> tuple[str, ...]:
    """List settings of then that there are no more."""
    return tuple(name for name in then.settings() if name not in now.settings())


def in_both(now: Run, then: Run) -> dict[str, tuple[list[CellResult], list[CellResult]]]:
    """Return what now and then have of each setting that both have; of now, nothing that then holds already.

    Raises FaceoffError where there is none.
    """
    before, held = then.settings(), {each.cell: each for each in then.results}
    both = {name: group for name, group in now.settings().items() if name in before}
    if not both:
        raise FaceoffError(f"no setting of now is in {then.name}, which has {', '.join(before)}; nothing to compare")
    new = {name: group for name, group in both.items() if any(each != held.get(each.cell) for each in group)}
    if not new:
        raise FaceoffError(f"{then.name} holds these very results: nothing to compare; name an earlier commit")
    return {
        name: ([each for each in group if each.train is None or each != held.get(each.cell)], before[name])
        for name, group in new.items()
    }


def holm(p_values: Mapping[tuple[str, str], float]) -> dict[tuple[str, str], float]:
    """Correct the p-values for how many there are."""
    corrected = multipletests([*p_values.values()], method="holm")[1] if p_values else ()
    return dict(zip(p_values, map(float, corrected), strict=True))


def confounder(now: Run, then: Run, group: Sequence[CellResult], before: Sequence[CellResult]) -> str | None:
    """Say why a setting can't be compared with what it was; None where it can."""
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


def _judged(
    key: tuple[str, str],
    test: Welch,
    better: str,
    p_differs: float,
    is_regression: bool,
    then: str,
    margin: float,
    settings: int,
) -> Change:
    setting, metric = key
    said = verdicts.verdict(test.log_ratio, p_differs, 2 * test.p_within, better)
    found = math.exp(test.log_ratio), math.exp(test.interval[0]), math.exp(test.interval[1])
    ratio, low, high = map(formatting.factor, found)
    sureness = (
        f"{formatting.confidence(CONFIDENCE)} interval {low} to {high}, "
        f"{test.sizes[0]} against {formatting.count(test.sizes[1], 'repeat')}"
    )
    what = formatting.quantity(metric, better)
    end = {"inconclusive": f"; {_what_would_settle(test.more_of_each(margin, settings))}"}.get(said, "")
    if is_regression:
        end = f"; by more than the margin of {100 * margin:g}%"
    words = f"{formatting.verdict(metric, said)}: {ratio} times the {what} in {then} ({sureness}){end}"
    return Change(setting, metric, said, *found, is_regression, words)


def _what_would_settle(more: int | None) -> str:
    if more is None:
        return f"more than {MAX_REPEATS} repeats of each would be needed"
    return f"about {more} repeats of each would settle it"
