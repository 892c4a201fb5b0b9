"""How often a verdict is wrong: face-offs with a known truth, drawn from recorded runs of one and the same setting.

python -m benchmarks.verdict_quality [RECORDING.csv] [--face-offs N] [--seed N] [--check]

The recording is of benchmarks/record_aa.py: runs of one setting, one after the other, so that whatever tells two of
them apart is noise of the machine. A face-off takes runs in the order in which they were recorded and deals them in
turn to the baseline and its rivals, as the matrix does: blocks of BLOCK consecutive runs, each from a random place, one
behind the other for as long as runs are wanted. So neighbours stay neighbours, with all that the machine did then. The
order of turns is drawn for each block, or what sets the recording's odd runs apart from its even ones were a truth.

Judged is after PILOT repeats; then, where the total is inconclusive, after as many as were asked for; and on another
way, that of `make until`, with a look whenever the repeats have doubled. Beside it, at the same repeats, an unpaired
comparison of the two means: Welch's test at 5 %, and no word of margins, drift or looks.

A recording is a sample itself. So the face-offs are drawn from GROUPS recordings that are put together anew from its
blocks, and the intervals are a bootstrap over these. With --check it exits with 1 where more than FALSE_ALARMS of the
verdicts on equal settings say faster or slower, or less than POWER of those on a slowdown of 5 %, at the repeats asked
for, say slower.
"""

import argparse
import csv
import gc
import math
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy
from scipy import stats

from stages.errors import FaceoffError, run_entry
from stages.harness.params import schema
from stages.harness.results.metrics import RATE, TOTAL
from stages.harness.statistics import verdicts
from stages.harness.statistics.estimates import LEVEL, Pair, estimate
from stages.harness.statistics.planning import MAX_REPEATS
from stages.records import Ratio

RECORDING = Path(__file__).parent / "recorded" / "aa.csv"
# Timed metrics of the recorded job, and which of them is better.
METRICS = {
    TOTAL: "lower",
    "frozen_seconds": "lower",
    "unfrozen_seconds": "lower",
    "predict_tta_seconds": "lower",
    RATE: "higher",
}
NAMES = [*METRICS]
BLOCK = 20  # runs
GROUPS = 20
PILOT = 3  # repeats, as in params.yaml
PLANNED_FROM = (3, 4, 6, 12)  # repeats, after which it is looked at how right the planned ones are
MOST_REPEATS = 100  # on the way of `make until`: of many more, the same runs would come again and again
RIVALS = 4
SLOWDOWN = 1.05
DRIFT = 0.01  # per repeat
CALLED = ("faster", "slower")
FALSE_ALARMS, POWER = 0.05, 0.9

Values = numpy.ndarray  # by repeat, setting (the baseline first) and metric


@dataclass(frozen=True)
class Look:
    """The verdict on the first rival's total after so many repeats."""

    repeats: int
    verdict: str
    by_means: str  # the verdict of the unpaired comparison


@dataclass(frozen=True)
class FaceOff:
    """The verdicts of one face-off: after its pilot, after the repeats asked for, and at its end."""

    pilot: Look
    asked: Look  # the pilot where it settles it
    end: Look
    all_verdicts: tuple[str, ...]  # in the end, of every metric and rival


def main() -> int:
    parser = argparse.ArgumentParser(description="Share of wrong verdicts, from recorded runs of one setting.")
    parser.add_argument("recording", type=Path, nargs="?", default=RECORDING)
    parser.add_argument("--face-offs", type=int, default=400)
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--check", action="store_true", help="exit with 1 where a share is not as it should be")
    arguments = parser.parse_args()
    runs, margin, fails = read(arguments.recording), schema.load().compare.margin, []
    gc.freeze()  # statsmodels collects garbage in every call, 0.1 s each with all that was imported
    noise = numpy.diff(numpy.log(runs[:, NAMES.index(TOTAL)])).std() / math.sqrt(2)
    print(
        f"{arguments.recording.name}: {len(runs)} runs, median {numpy.median(runs[:, 0]):.2f} s, noise from one run to "
        f"the next {noise:.1%}; {arguments.face_offs} face-offs each, margin {margin:.0%}, seed {arguments.seed}"
    )
    for drift, slowdown, rivals in (
        (0.0, 1.0, 1), (0.0, SLOWDOWN, 1), (DRIFT, 1.0, 1), (DRIFT, SLOWDOWN, 1), (0.0, 1.0, RIVALS),
    ):  # fmt: skip
        groups = face_offs(runs, margin, drift, slowdown, rivals, arguments.face_offs, arguments.seed)
        fails += report(groups, drift, slowdown, rivals)
        if not drift and rivals == 1:
            report_plans(runs, margin, slowdown, arguments.face_offs // 2, arguments.seed)
    for fail in fails:
        print(f"\nnot as it should be: {fail}")
    return 1 if fails and arguments.check else 0


def read(path: Path) -> numpy.ndarray:
    """Read the METRICS of each run, in the order in which they ran."""
    with path.open(encoding="utf-8", newline="") as file:
        runs = numpy.array([[float(row[name]) for name in METRICS] for row in csv.DictReader(file)])
    if len(runs) < 2 * BLOCK:
        raise FaceoffError(f"{path} has {len(runs)} runs; at least {2 * BLOCK} are needed: record more")
    return runs


def face_offs(
    runs: numpy.ndarray, margin: float, drift: float, slowdown: float, rivals: int, number: int, seed: int
) -> list[list[FaceOff]]:
    """Draw so many face-offs in all, in GROUPS of one recording each."""
    generator = numpy.random.default_rng(seed)
    groups = []
    for _ in range(GROUPS):
        recording = blocks(runs, math.ceil(len(runs) / BLOCK), generator)
        drawn = (draw(recording, drift, slowdown, rivals, generator) for _ in range(number // GROUPS))
        groups.append([face_off(values, margin) for values in drawn])
    return groups


def blocks(runs: numpy.ndarray, number: int, generator: numpy.random.Generator) -> numpy.ndarray:
    starts = generator.integers(0, len(runs) - BLOCK + 1, number)
    return numpy.concatenate([runs[start : start + BLOCK] for start in starts])


def draw(runs: numpy.ndarray, drift: float, slowdown: float, rivals: int, generator: numpy.random.Generator) -> Values:
    """Draw as many repeats as may be asked for. The first rival is the one that is slower."""
    settings = 1 + rivals
    number = settings * MAX_REPEATS // BLOCK
    turns = generator.permuted(numpy.tile(numpy.arange(settings), (number, 1)), axis=1)
    dealt = blocks(runs, number, generator).reshape(number, BLOCK // settings, settings, len(METRICS))
    values = numpy.take_along_axis(dealt, turns[:, None, :, None], axis=2).reshape(-1, len(METRICS))
    slower = numpy.array([-1 if better == "higher" else 1 for better in METRICS.values()])
    drifted = values * ((1 + drift) ** (numpy.arange(len(values)) / settings))[:, None] ** slower
    drawn: Values = drifted.reshape(MAX_REPEATS, settings, len(METRICS))
    drawn[:, 1] *= slowdown**slower
    return drawn


def face_off(values: Values, margin: float) -> FaceOff:
    repeats, looks, found = PILOT, [PILOT], judged(values, PILOT, [], margin)
    pilot = end = look(values, PILOT, found)
    while any(each.verdict == "inconclusive" for each in found.values()) and 2 * repeats <= MOST_REPEATS:
        more = max(each.more_repeats or repeats for each in found.values() if each.verdict == "inconclusive")
        repeats += min(more, repeats)
        found = judged(values, repeats, looks, margin)
        looks.append(repeats)
        end = look(values, repeats, found)
    others = [judged(values, repeats, looks[:-1], margin, name) for name in METRICS if name != TOTAL]
    said = tuple(each.verdict for ratios in (found, *others) for each in ratios.values())
    return FaceOff(pilot, at_asked(values, margin), end, said)


def at_asked(values: Values, margin: float) -> Look:
    """Look after the repeats that the pilot asks for; at the pilot itself where it asks for none."""
    pilot = judged(values, PILOT, [], margin)
    if pilot["1"].verdict != "inconclusive":
        return look(values, PILOT, pilot)
    repeats = min(PILOT + (pilot["1"].more_repeats or MAX_REPEATS), MAX_REPEATS)
    return look(values, repeats, judged(values, repeats, [PILOT], margin))


def judged(values: Values, repeats: int, looks: Sequence[int], margin: float, metric: str = TOTAL) -> dict[str, Ratio]:
    """Return the ratio of each rival to the baseline, by the rival's number."""
    earlier = [[str(row) for row in range(each)] for each in looks]
    return verdicts.ratios(paired(values, repeats, metric), METRICS[metric], margin, earlier)


def paired(values: Values, repeats: int, metric: str) -> dict[str, dict[str, Pair]]:
    """Pair each rival with the baseline, by the rival's number and the repeat."""
    _, settings, _ = values.shape
    column = values[:repeats, :, NAMES.index(metric)]
    return {
        str(rival): {
            str(row): Pair(of_repeat[rival], of_repeat[0], settings * row + rival, settings * row)
            for row, of_repeat in enumerate(column)
        }
        for rival in range(1, settings)
    }


def look(values: Values, repeats: int, found: dict[str, Ratio]) -> Look:
    baseline, rival = values[:repeats, 0, NAMES.index(TOTAL)], values[:repeats, 1, NAMES.index(TOTAL)]
    by_means = "no difference shown"
    if stats.ttest_ind(rival, baseline, equal_var=False).pvalue < LEVEL:
        by_means = "slower" if rival.mean() > baseline.mean() else "faster"
    return Look(repeats, found["1"].verdict, by_means)


def report(groups: list[list[FaceOff]], drift: float, slowdown: float, rivals: int) -> list[str]:
    """Print how often verdicts are wrong, and return what is not as it should be."""
    wanted = CALLED if slowdown == 1 else ("slower",)
    every = [each for group in groups for each in group]
    truth = "all are equal" if slowdown == 1 else f"the rival is {slowdown - 1:.0%} slower"
    extra = f", and the machine slows down by {drift:.0%} per repeat" if drift else ""
    print(f"\n{rivals} {'rival' if rivals == 1 else 'rivals'}; {truth}{extra}")
    asked = [each.asked.repeats for each in every if each.asked.repeats > PILOT]
    print(f"  settled by {PILOT} repeats: {1 - len(asked) / len(every):.1%}; else asked for, in all: {spread(asked)}")
    print(f"  repeats in the end: {spread([each.end.repeats for each in every])}")
    fails = []
    for name, looks in (
        (f"at {PILOT} repeats", [[each.pilot for each in group] for group in groups]),
        ("at the repeats asked for", [[each.asked for each in group] for group in groups]),
        ("in the end", [[each.end for each in group] for group in groups]),
    ):
        ours = share([[each.verdict in wanted for each in group] for group in looks])
        theirs = share([[each.by_means in wanted for each in group] for group in looks])
        print(f"  {' or '.join(wanted)} {name}: {ours}; by unpaired means: {theirs}")
        if slowdown > 1 and name == "at the repeats asked for" and ours.value < POWER:
            fails.append(f"slower {name} in {ours.value:.1%} only{extra}")
        if slowdown == 1 and ours.value > FALSE_ALARMS:
            fails.append(f"faster or slower {name} in {ours.value:.1%}, where {truth}{extra}")
    if slowdown == 1:
        ours = share([[said in CALLED for each in group for said in each.all_verdicts] for group in groups])
        print(f"  faster or slower in the end, of the verdicts on all metrics and rivals: {ours}")
        if ours.value > FALSE_ALARMS:
            fails.append(f"faster or slower are {ours.value:.1%} of the verdicts on all metrics, where {truth}{extra}")
    ended = Counter(each.end.verdict for each in every)
    print("  verdicts in the end: " + ", ".join(f"{name} {ended[name] / len(every):.1%}" for name in sorted(ended)))
    return fails


def report_plans(runs: numpy.ndarray, margin: float, slowdown: float, number: int, seed: int) -> None:
    """Print how right the repeats are that an inconclusive verdict names, against those that settled it.

    Nobody can tell better what a face-off needs than who knows the median of all that are open: it stands beside.
    """
    generator = numpy.random.default_rng(seed)
    drawn = [draw(runs, 0.0, slowdown, 1, generator) for _ in range(number)]
    for pairs in PLANNED_FROM:
        named, sure, needed = [], [], []
        for values in drawn:
            found = judged(values, pairs, [], margin)["1"]
            if found.verdict == "inconclusive":
                named.append(pairs + (found.likely_repeats or MAX_REPEATS))
                sure.append(pairs + (found.more_repeats or MAX_REPEATS))
                needed.append(repeats_needed(values, pairs, margin))
        if named:
            middle = numpy.full(len(needed), numpy.median(needed))
            print(
                f"  of {len(named)} verdicts that {pairs} repeats leave open: named, in all, {spread(named)}; needed at"
            )
            print(f"    the next look {spread(needed)}; within a factor of 2 {alike(named, needed):.0%}, of the median")
            print(f"    needed {alike(named, middle):.0%}; by that median itself it were {alike(middle, needed):.0%}")
            enough = numpy.mean(numpy.less_equal(needed, sure))
            print(f"    named for nine of ten cases, in all, {spread(sure)}, which was enough in {enough:.0%}")


def repeats_needed(values: Values, looked: int, margin: float) -> int:
    """Find the repeats, to 5 %, that settle what a look at fewer left open; the most that there are do for all."""
    pairs, repeats = [*paired(values, MAX_REPEATS, TOTAL)["1"].values()], looked + 1
    while repeats < MAX_REPEATS:
        found = estimate(pairs[:repeats])
        if verdicts.price(2) * min(found.p_differs(), found.p_within(math.log1p(margin))) < LEVEL:
            break
        repeats = min(repeats + max(1, repeats // 20), MAX_REPEATS)
    return repeats


def alike(some: Sequence[float] | numpy.ndarray, others: Sequence[float] | numpy.ndarray) -> float:
    """Return how many are within a factor of 2 of each other."""
    return float(numpy.mean(numpy.abs(numpy.log2(some) - numpy.log2(others)) <= 1))


@dataclass(frozen=True)
class Share:
    """A share of all face-offs, with its 95 % interval, a bootstrap over groups."""

    value: float
    low: float
    high: float

    def __str__(self) -> str:
        return f"{self.value:.1%} [{self.low:.1%}, {self.high:.1%}]"


def share(groups: list[list[bool]]) -> Share:
    shares = [numpy.mean(group) for group in groups]
    interval = stats.bootstrap((shares,), numpy.mean, method="percentile", rng=0).confidence_interval
    return Share(
        float(numpy.mean([each for group in groups for each in group])), float(interval.low), float(interval.high)
    )


def spread(numbers: list[int]) -> str:
    """Write the median of the values, with the lowest and the highest tenth."""
    if not numbers:
        return "none"
    low, middle, high = (round(each) for each in numpy.quantile(numbers, (0.1, 0.5, 0.9)))
    return f"{middle} ({low} to {high})"


if __name__ == "__main__":
    run_entry(main)
