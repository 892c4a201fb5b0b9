"""Whether load could have made a verdict: then it is not given as sure, and the reason says what to do.

Load does not hit two settings alike: one whose threads spin at barriers loses several times what the others take. So
where half of the pairs or more were measured beside load, a total that is faster or slower stands only where the steps
undisturbed say the same. These see through load as long as threads sleep while they wait, or there is one alone, or a
GPU computes; else they are in doubt too. What comes beyond the steps is what load makes, so it is never sure beside it.

A difference may be too large for load: who does not spin is delayed by no more than the time that was taken.
"""

import dataclasses
import math
import statistics
from collections.abc import Collection, Iterable, Mapping, Sequence

from stages import checks, records
from stages.harness import formatting
from stages.harness.comparison import as_run, confounders
from stages.harness.comparison.by_steps import CALLED
from stages.harness.results.metrics import BEYOND, TOTAL, UNDISTURBED
from stages.harness.results.read import CellResult
from stages.records import Profile, Ratio

SHARE_OF_PAIRS = 0.5  # from which on load could have made the mean
WORDS = {  # of checks.disturbing
    "others_share": "other processes took {:.0%} of the CPUs' time",
    "steal_share": "{:.0%} of it went to other machines (steal)",
    "throttled_share": "a CPU quota held back for {:.0%} of the time",
}
END = "end what else runs, and measure anew"
ITS_TAIL = f"and waits and pauses are what load makes; {END}"


@dataclasses.dataclass(frozen=True)
class LoadBeside:
    """The load beside a setting and the baseline."""

    by_repeat: Mapping[str, Mapping[str, float]]  # of the cells of either side, the largest of each of WORDS
    spins: tuple[str, ...]  # the settings whose threads may spin while they wait
    # Of the setting's and of the baseline's cells, by repeat: what load may at most have added to the log of a time.
    most: tuple[Mapping[str, float], Mapping[str, float]] = ({}, {})

    def disturbed(self, repeats: Collection[str]) -> list[Mapping[str, float]]:
        """Return the load of those of the repeats that had any."""
        return [self.by_repeat[repeat] for repeat in repeats if self.by_repeat.get(repeat)]

    def could_have_made(self, repeats: Collection[str]) -> bool:
        """Whether enough of these repeats were loaded for it."""
        return bool(repeats) and len(self.disturbed(repeats)) >= SHARE_OF_PAIRS * len(repeats)

    def is_too_small_for(self, total: Ratio) -> bool:
        """Whether a total that is faster or slower is so by more than load can make: of threads that do not spin."""
        if self.spins or total.low is None or total.high is None or total.verdict not in CALLED:
            return False
        side, shown = (self.most[0], math.log(total.low)) if total.low > 1 else (self.most[1], -math.log(total.high))
        return statistics.fmean(side.get(repeat, math.inf) for repeat in total.pairs) < shown

    def words(self, repeats: Collection[str], noun: str = "pair") -> str:
        """Say how much there was, in the median of the pairs, or of what `noun` says, that had it."""
        found = self.disturbed(repeats)
        shares = {name: [each[name] for each in found if name in each] for name in WORDS}
        said = [WORDS[name].format(statistics.median(each)) for name, each in shares.items() if each]
        return f"in {len(found)} of {formatting.count(len(repeats), noun)} {' and '.join(said)}"


def load(setting: Sequence[CellResult], baseline: Sequence[CellResult], profiles: Mapping[str, Profile]) -> LoadBeside:
    """Gather what the cells of both say."""
    by_repeat: dict[str, dict[str, float]] = {}
    for result in (each for each in (*setting, *baseline) if each.train):
        of_repeat = by_repeat.setdefault(str(result.cell.repeat), {})
        for name, share in _disturbing(result):
            of_repeat[name] = max(share, of_repeat.get(name, 0.0))
    spinning = (each[0].cell.setting for each in (setting, baseline) if each and may_spin(each, profiles))
    most = (_most(setting, profiles), _most(baseline, profiles))
    return LoadBeside(by_repeat, tuple(dict.fromkeys(spinning)), most)


def _most(results: Sequence[CellResult], profiles: Mapping[str, Profile]) -> dict[str, float]:
    """Bound what load added to the log of each cell's time: all that was taken of any CPU, one second for a second."""
    profile = profiles.get(results[0].cell.image) if results else None
    cpus = (profile.facts.hardware.cpu.logical_cpus if profile else None) or math.inf
    found = {}
    for result in results:
        taken = max((_taken(attempt.load, cpus) for stage in result.stages for attempt in stage.attempts), default=1.0)
        found[str(result.cell.repeat)] = -math.log(1 - taken) if taken < 1 else math.inf
    return found


def _taken(load: records.Load, cpus: float) -> float:
    """Return what others, other machines and a quota took, in CPUs."""
    shares = [share for share in (load.others_share, load.steal_share) if share]
    return sum(cpus * share for share in shares) + (load.throttled_seconds or 0.0) / max(load.seconds, 1e-9)


def _disturbing(result: CellResult) -> Iterable[tuple[str, float]]:
    for stage in result.stages:
        for attempt in stage.attempts:
            yield from checks.disturbing(attempt.load).items()


def may_spin(results: Sequence[CellResult], profiles: Mapping[str, Profile]) -> bool:
    """Whether the training's threads may spin while they wait for each other: more than one, on CPUs, by default."""
    ran_on = confounders.devices(results, profiles.get(results[0].cell.image))
    if ran_on and "cpu" not in ran_on:
        return False
    facts, variant = as_run.facts(results, profiles), as_run.variant(results)
    env = facts.variables if facts else variant.env if variant else {}
    threads = facts.torch_threads if facts else checks.threads(env, 2)
    return threads != 1 and not checks.waits_passively(env)


def weighed(ratios: Mapping[str, Ratio], beside: LoadBeside) -> dict[str, Ratio]:
    """Take back what load could have made, of the verdicts of one setting."""
    found = dict(ratios)
    total, steps = found.get(TOTAL), found.get(UNDISTURBED)
    large = total.verdict if total and beside.is_too_small_for(total) else None
    why, more = _unconfirmed(steps)
    if steps and _is_in_doubt(steps, beside) and beside.spins:
        why, more = _spinning(beside.spins), None
        steps = found[UNDISTURBED] = _in_doubt(steps, beside, why, more)
    for name, ratio in ratios.items():
        confirmed = name != BEYOND and ratio.verdict in (large, steps and steps.verdict)
        if name != UNDISTURBED and _is_in_doubt(ratio, beside) and not confirmed:
            found[name] = _in_doubt(ratio, beside, *((ITS_TAIL, None) if name == BEYOND else (why, more)))
    return found


def _is_in_doubt(ratio: Ratio, beside: LoadBeside) -> bool:
    return ratio.verdict in CALLED and beside.could_have_made(ratio.pairs.keys())


def _in_doubt(ratio: Ratio, beside: LoadBeside, why: str, more: int | None) -> Ratio:
    reason = f"load could have made it: {beside.words(ratio.pairs.keys())}, {why}"
    return dataclasses.replace(ratio, verdict="cannot say", reason=reason, more_repeats=more)


def _spinning(settings: Sequence[str]) -> str:
    return (
        f"and threads of {' and '.join(settings)} may spin while they wait, which loses several times as much; set "
        f'OMP_WAIT_POLICY: passive and GOMP_SPINCOUNT: "{checks.FEW_SPINS}" in `env` of params.yaml, or {END}'
    )


def _unconfirmed(steps: Ratio | None) -> tuple[str, int | None]:
    """Say why steps do not confirm it, what to do, and how many repeats would settle them."""
    if steps is None:
        return f"and there are no step times to see through it; {END}", None
    said = f"and its steps undisturbed do not say the same ({steps.verdict}, {formatting.ratio(steps)})"
    if steps.verdict == "inconclusive" and steps.more_repeats:
        more = formatting.count(steps.more_repeats, "more repeat")
        return f"{said}; about {more} would settle those, or {END}", steps.more_repeats
    return f"{said}; {END}", None
