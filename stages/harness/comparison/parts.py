"""The total time in parts, of a setting and of the baseline: where a difference lies, as far as spans tell it."""

import dataclasses
import statistics
from collections.abc import Iterable, Sequence

from scipy import stats

from stages.contract import Span
from stages.harness.results.read import CellResult
from stages.harness.statistics.estimates import CONFIDENCE
from stages.records import WALL, Result

WAIT, COPY, COMPUTE, OTHER = "waiting for the loader", "copying to the device", "compute", "the rest of the steps"
LAUNCH = "launching, for which the device waits,"  # of compute, where all spans tell it; COMPUTE is then the rest of it
OUTSIDE = "what is outside of the spans"
EXPLAINED_BY = {WAIT: "wait", COPY: "copy", COMPUTE: "compute"}  # of contract.EXPLAINS, what measurements explain


@dataclasses.dataclass(frozen=True)
class Part:
    """One part of the total time, of a setting and of the baseline, in means over the repeats that both ran whole."""

    name: str
    seconds: float
    baseline_seconds: float
    noise_seconds: float | None  # half the interval of the difference; None with fewer than 3 pairs

    @property
    def difference(self) -> float:
        """Seconds that the part takes more than the baseline's."""
        return self.seconds - self.baseline_seconds

    @property
    def shown(self) -> bool:
        """Whether the part differs beyond noise."""
        return self.noise_seconds is not None and abs(self.difference) > self.noise_seconds

    @property
    def words(self) -> str:
        """Say how much more or less the part takes."""
        said = f"{self.name} takes {abs(self.difference):.2f} s {'more' if self.difference > 0 else 'less'}"
        if min(self.seconds, self.baseline_seconds) <= 0.01 * abs(self.difference):
            return said
        return f"{said} ({self.seconds / self.baseline_seconds:.2f} times as long)"


def parts(setting: Sequence[CellResult], baseline: Sequence[CellResult], total: tuple[str, ...]) -> tuple[Part, ...]:
    """Take the total apart; empty where no repeat ran whole in both, or no span tells anything of it.

    Spans with a split give the four parts of their steps, compute without launching where that is told, and what of
    them is beside the steps; others stand for themselves; of a wall clock the rest is OUTSIDE.
    """
    reference = {each.cell.repeat: each for each in baseline if _is_whole(each, total)}
    pairs = [
        (each, reference[each.cell.repeat])
        for each in setting
        if _is_whole(each, total) and each.cell.repeat in reference
    ]
    spans = [span for pair in pairs for each in pair for span in _counted(each, total)]
    names = dict.fromkeys(span.name for span in spans)
    split = {name for name in names if all(span.split for span in spans if span.name == name)}
    has_launches = bool(split) and all(
        span.split.launch_seconds is not None for span in spans if span.name in split and span.split
    )
    rows = [tuple(_seconds(each, total, names, split, has_launches) for each in pair) for pair in pairs]
    if not names:
        return ()
    return tuple(_part(name, [(one[name], other[name]) for one, other in rows]) for name in rows[0][0])


def _is_whole(result: CellResult, total: tuple[str, ...]) -> bool:
    return result.status == "ok" or (result.status == "trained" and total == WALL)


def _counted(result: CellResult, total: tuple[str, ...]) -> list[Span]:
    """List the spans that the total is made of; of a wall clock, those of the training."""
    stages: Iterable[Result] = result.stages[:1] if total == WALL else result.stages
    return [span for stage in stages for span in stage.spans if total == WALL or span.name in total]


def _seconds(
    result: CellResult, total: tuple[str, ...], names: Iterable[str], split: set[str], has_launches: bool
) -> dict[str, float]:
    """Return the seconds of each part in this cell, which add up to its total."""
    spans = _counted(result, total)
    splits = [span.split for span in spans if span.name in split and span.split]
    found: dict[str, float] = {}
    if split:
        found[WAIT] = sum(each.wait_seconds for each in splits)
        found[COPY] = sum(each.copy_seconds for each in splits)
        found[COMPUTE] = sum(each.compute_seconds for each in splits)
        if has_launches:
            found[LAUNCH] = sum(min(each.launch_seconds or 0.0, each.compute_seconds) for each in splits)
            found[COMPUTE] -= found[LAUNCH]
        found[OTHER] = sum(each.other_seconds for each in splits)
    for name in names:
        own = [span for span in spans if span.name == name]
        if name in split:
            found[f"{name}: beside its steps"] = sum(span.seconds - span.stepping_seconds for span in own)
        else:
            found[name] = sum(span.seconds for span in own)
    if total == WALL and result.train:
        found[OUTSIDE] = (result.train.command_seconds or 0.0) - sum(span.seconds for span in spans)
    return found


def _part(name: str, pairs: list[tuple[float, float]]) -> Part:
    differences = [one - other for one, other in pairs]
    noise = None
    if len(pairs) >= 3:
        noise = float(stats.sem(differences) * stats.t.ppf((1 + CONFIDENCE) / 2, len(pairs) - 1))
    ones, others = zip(*pairs, strict=True)
    return Part(name, statistics.fmean(ones), statistics.fmean(others), noise)
