"""Whether load could have made a verdict: then it is not given as sure, and the reason says what to do.

Load does not hit two settings alike: one whose threads spin at barriers loses several times what the others take, one
with more threads or workers shares more of its CPUs, and one that ran while it was quiet loses nothing. So where half
of the pairs or more were measured beside load, a total that is faster or slower stands only where the steps undisturbed
say the same. These see through load as long as it was about the same beside both, both have as many threads and
workers, and threads sleep while they wait, or there is one alone, or a GPU computes; else they are in doubt too. What
comes beyond the steps is what load makes, so it is never sure beside it.

A difference may be too large for load: who does not spin is delayed by no more than the time that was taken.
"""

import dataclasses
import math
import statistics
from collections.abc import Collection, Iterable, Mapping, Sequence

from stages import checks, records
from stages.harness import formatting
from stages.harness.comparison import as_run, confounders, quota
from stages.harness.comparison.by_steps import CALLED
from stages.harness.results.metrics import BEYOND, TOTAL, UNDISTURBED
from stages.harness.results.read import CellResult
from stages.records import Profile, Ratio

SHARE_OF_PAIRS = 0.5  # from which on load could have made the mean
# What is about the same load beside both: the fastest steps of a busy side are as slow as its load makes them.
ALIKE_WITHIN, ALIKE_FACTOR = 0.05, 2.0
LEAST_SHARE = 0.01  # of the time; of less than it, twice as much is no other load
WORDS = {  # of checks.disturbing
    "others_share": "other processes took {:.0%} of the CPUs' time",
    "steal_share": "{:.0%} of it went to other machines (steal)",
    "throttled_share": "a CPU quota held back for {:.0%} of the time",
}
TAKEN = {  # of Side.taken
    "of the CPUs": "{:.0%} of the CPUs' time was taken beside {}, {:.0%} beside {}",
    "by a quota": "a CPU quota held {1} back for {0:.0%} of the time, {3} for {2:.0%}",
}
END = "end what else runs, and measure anew"
ITS_TAIL = f"and waits and pauses are what load makes; {END}"


@dataclasses.dataclass(frozen=True)
class Side:
    """The load beside one of the two, by repeat, and how it is hit by load."""

    name: str
    disturbed: Mapping[str, Mapping[str, float]]  # the largest of each of WORDS
    taken: Mapping[str, Mapping[str, float]]  # from the training, in shares of the time: of TAKEN
    most: Mapping[str, float]  # what load may at most have added to the log of a time
    spins: bool  # whether threads may spin while they wait
    threads: int | None
    workers: int | None

    def loaded(self, repeats: Collection[str]) -> list[Mapping[str, float]]:
        """Return the load of those of the repeats that had any."""
        return [self.disturbed[repeat] for repeat in repeats if self.disturbed.get(repeat)]

    def could_have_made(self, repeats: Collection[str]) -> bool:
        """Whether enough of these repeats were loaded for it."""
        return bool(repeats) and len(self.loaded(repeats)) >= SHARE_OF_PAIRS * len(repeats)

    def words(self, repeats: Collection[str], noun: str) -> str:
        """Say how much there was, in the median of the pairs, or of what `noun` says, that had it."""
        found = self.loaded(repeats)
        shares = {name: [each[name] for each in found if name in each] for name in WORDS}
        said = [WORDS[name].format(statistics.median(each)) for name, each in shares.items() if each]
        return f"in {len(found)} of {formatting.count(len(repeats), noun)} {' and '.join(said)}"


def side(name: str, results: Sequence[CellResult], profiles: Mapping[str, Profile]) -> Side:
    """Gather what the cells of a setting, one at least, say."""
    disturbed: dict[str, dict[str, float]] = {}
    for result in (each for each in results if each.train):
        of_repeat = disturbed.setdefault(str(result.cell.repeat), {})
        for kind, share in _disturbing(result):
            of_repeat[kind] = max(share, of_repeat.get(kind, 0.0))
    taken = {str(each.cell.repeat): _taken_of(each.train) for each in results if each.train}
    spins, threads = may_spin(results, profiles), _threads(results, profiles)
    return Side(name, disturbed, taken, _most(results, profiles), spins, threads, quota.workers(results))


@dataclasses.dataclass(frozen=True)
class LoadBeside:
    """The load beside a setting and beside what it is compared with."""

    here: Side
    there: Side

    @property
    def both(self) -> Side:
        """Return the load of pairs: of either side's, the larger."""
        repeats = dict.fromkeys((*self.here.disturbed, *self.there.disturbed))
        sides = [{repeat: each.disturbed.get(repeat, {}) for repeat in repeats} for each in (self.here, self.there)]
        larger = {
            repeat: {
                kind: max(each[repeat].get(kind, 0.0) for each in sides)
                for kind in WORDS
                if any(kind in each[repeat] for each in sides)
            }
            for repeat in repeats
        }
        return dataclasses.replace(self.here, disturbed=larger)

    def is_too_small_for(self, low: float | None, high: float | None, repeats: Collection[str] | None = None) -> bool:
        """Whether a time that is longer or shorter by this interval is so by more than load can make.

        Of threads that do not spin. `repeats`: of the pairs; None: all of either.
        """
        if self.here.spins or self.there.spins or low is None or high is None or low <= 1 <= high:
            return False
        longer, shown = (self.here, math.log(low)) if low > 1 else (self.there, -math.log(high))
        made = [longer.most.get(repeat, math.inf) for repeat in (longer.most if repeats is None else repeats)]
        return bool(made) and statistics.fmean(made) < shown

    def unlike(self, repeats: Collection[str] | None = None) -> str | None:
        """Say why steps do not see through this load, and what to do; None where they do. `repeats`: as above."""
        if self.here.spins or self.there.spins:
            return _spinning([*dict.fromkeys(each.name for each in (self.here, self.there) if each.spins)])
        for noun in ("threads", "workers"):
            ours, theirs = (getattr(each, noun) for each in (self.here, self.there))
            if ours != theirs:
                numbers = " and ".join("unknown" if each is None else str(each) for each in (ours, theirs))
                return f"and load does not slow down unlike numbers of {noun} alike ({numbers}); {END}"
        for kind, words in TAKEN.items():
            ours, theirs = (self._mean(each, kind, repeats) for each in (self.here, self.there))
            least, most = sorted((ours, theirs))
            if most - least >= ALIKE_WITHIN or (most >= LEAST_SHARE and most >= ALIKE_FACTOR * least):
                said = words.format(ours, self.here.name, theirs, self.there.name)
                return f"and not both alike were hit: {said}; {END}"
        return None

    @staticmethod
    def _mean(one: Side, kind: str, repeats: Collection[str] | None) -> float:
        """Return the mean, as a verdict is on the mean; so that of both, less the other, is that of the differences."""
        shares = [one.taken[each][kind] for each in (one.taken if repeats is None else repeats) if each in one.taken]
        return statistics.fmean(shares) if shares else 0.0


def load(setting: Sequence[CellResult], baseline: Sequence[CellResult], profiles: Mapping[str, Profile]) -> LoadBeside:
    """Gather what the cells of both say."""
    here, there = (side(each[0].cell.setting, each, profiles) for each in (setting, baseline))
    return LoadBeside(here, there)


def _most(results: Sequence[CellResult], profiles: Mapping[str, Profile]) -> dict[str, float]:
    """Bound what load added to the log of each cell's time: all that was taken of any CPU, one second for a second."""
    profile = profiles.get(results[0].cell.image)
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


def _taken_of(training: records.Result | None) -> dict[str, float]:
    """Return the shares of TAKEN over all attempts of the training."""
    loads = [each.load for each in training.attempts] if training else []
    seconds = max(sum(each.seconds for each in loads), 1e-9)
    shares = [((each.others_share or 0.0) + (each.steal_share or 0.0)) * each.seconds for each in loads]
    return dict(zip(TAKEN, (sum(shares) / seconds, sum(each.throttled_seconds or 0.0 for each in loads) / seconds)))


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
    return _threads(results, profiles) != 1 and not checks.waits_passively(env)


def _threads(results: Sequence[CellResult], profiles: Mapping[str, Profile]) -> int | None:
    facts, variant = as_run.facts(results, profiles), as_run.variant(results)
    return facts.torch_threads if facts else checks.threads(variant.env if variant else {}, 0) or None  # 0: not known


def weighed(ratios: Mapping[str, Ratio], beside: LoadBeside, confirmable: Collection[str]) -> dict[str, Ratio]:
    """Take back what load could have made, of the verdicts of one setting; `confirmable`: see metrics.confirmable."""
    found = dict(ratios)
    steps = ratios.get(UNDISTURBED)
    for name, ratio in ratios.items():
        if ratio.verdict not in CALLED or not beside.both.could_have_made(ratio.pairs.keys()):
            continue
        if name in (TOTAL, UNDISTURBED) and beside.is_too_small_for(ratio.low, ratio.high, ratio.pairs.keys()):
            continue
        why, more = beside.unlike(ratio.pairs.keys()), None
        if name == BEYOND:
            why = ITS_TAIL
        elif name not in confirmable or steps is None:
            why = f"and there are no step times to see through it; {END}"
        elif why is None and steps.verdict != ratio.verdict:
            why, more = _unconfirmed(steps)
        if why is not None:
            reason = f"load could have made it: {beside.both.words(ratio.pairs.keys(), 'pair')}, {why}"
            found[name] = dataclasses.replace(ratio, verdict="cannot say", reason=reason, more_repeats=more)
    return found


def _spinning(names: Sequence[str]) -> str:
    return (
        f"and threads of {' and '.join(names)} may spin while they wait, which loses several times as much; set "
        f'OMP_WAIT_POLICY: passive and GOMP_SPINCOUNT: "{checks.FEW_SPINS}" in `env` of params.yaml, or {END}'
    )


def _unconfirmed(steps: Ratio) -> tuple[str, int | None]:
    """Say how steps do not confirm it, what to do, and how many repeats would settle them."""
    said = f"and its steps undisturbed do not say the same ({steps.verdict}, {formatting.ratio(steps)})"
    if steps.verdict == "inconclusive" and steps.more_repeats:
        more = formatting.count(steps.more_repeats, "more repeat")
        return f"{said}; about {more} would settle those, or {END}", steps.more_repeats
    return f"{said}; {END}", None
