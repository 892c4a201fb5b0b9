"""How often a verdict is wrong: face-offs with a known truth, drawn from recorded runs of one and the same setting.

python -m benchmarks.verdict_quality [RECORDING.csv] [--face-offs N] [--seed N]

The recording is of benchmarks/record_aa.py: runs of one setting, one after the other, so that whatever tells two of
them apart is noise of the machine. A face-off takes runs in the order in which they were recorded and deals them in
turn to A and B, as the matrix does with two settings: blocks of BLOCK consecutive runs, each from a random place, one
behind the other for as long as runs are wanted. So neighbours stay neighbours, with all that the machine did then.

Every face-off goes the way of `make until`: PILOT repeats and a look; while that is inconclusive, the repeats that it
asks for, or as many again where it can name no number, and another look. Beside it, at the same repeats, an unpaired
comparison of the two means: Welch's test at 5 %, and no word of margins, drift or looks.
"""

import argparse
import csv
import gc
import math
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy
from scipy import stats

from stages.errors import FaceoffError, run_entry
from stages.harness import params, verdicts
from stages.harness.figures import TOTAL
from stages.harness.verdicts import Pair

RECORDING = Path(__file__).parent / "recorded" / "aa.csv"
BLOCK = 20  # runs
PILOT = 3  # repeats, as in params.yaml
MOST_LOOKS = 5
SLOWDOWN = 1.05
DRIFT = 0.01  # per repeat
CALLED = ("faster", "slower")


@dataclass(frozen=True)
class Look:
    """The verdict on so many repeats."""

    repeats: int
    verdict: str
    by_means: str  # the verdict of the unpaired comparison


def main() -> int:
    parser = argparse.ArgumentParser(description="Share of wrong verdicts, from recorded runs of one setting.")
    parser.add_argument("recording", type=Path, nargs="?", default=RECORDING)
    parser.add_argument("--face-offs", type=int, default=1000)
    parser.add_argument("--seed", type=int, default=1)
    arguments = parser.parse_args()
    runs = read(arguments.recording)
    margin = params.load().compare.margin
    gc.freeze()  # statsmodels collects garbage in every call, 0.1 s each with all that was imported
    errors = numpy.diff(numpy.log(runs)) / math.sqrt(2)
    print(
        f"{arguments.recording.name}: {len(runs)} runs, median {numpy.median(runs):.2f} s, noise from one run to the "
        f"next {errors.std():.1%}; {arguments.face_offs} face-offs each, margin {margin:.0%}, seed {arguments.seed}"
    )
    for drift in (0.0, DRIFT):
        for slowdown in (1.0, SLOWDOWN):
            generator = numpy.random.default_rng(arguments.seed)
            drawn = (draw(runs, drift, slowdown, generator) for _ in range(arguments.face_offs))
            report(drift, slowdown, [list(face_off(each, margin)) for each in drawn])
    return 0


def read(path: Path) -> numpy.ndarray:
    """Total seconds of each run, in the order in which they ran."""
    with path.open(encoding="utf-8", newline="") as file:
        runs = numpy.array([float(row[TOTAL]) for row in csv.DictReader(file)])
    if len(runs) < 2 * BLOCK:
        raise FaceoffError(f"{path} has {len(runs)} runs; at least {2 * BLOCK} are needed: record more")
    return runs


def draw(runs: numpy.ndarray, drift: float, slowdown: float, generator: numpy.random.Generator) -> numpy.ndarray:
    """Seconds of as many repeats as may be asked for, a row each: A's, then B's."""
    blocks = 2 * verdicts.MAX_REPEATS // BLOCK
    starts = generator.integers(0, len(runs) - BLOCK + 1, blocks)
    seconds = numpy.concatenate([runs[start : start + BLOCK] for start in starts])
    drifted = seconds * (1 + drift) ** (numpy.arange(len(seconds)) / 2)
    return drifted.reshape(-1, 2) * (1.0, slowdown)


def face_off(seconds: numpy.ndarray, margin: float) -> Iterator[Look]:
    """Look after look, until the verdict is settled."""
    repeats = PILOT
    for look in range(1, MOST_LOOKS + 1):
        pairs = {str(row): Pair(b, a, 2 * row + 1, 2 * row) for row, (a, b) in enumerate(seconds[:repeats])}
        ratio = verdicts.ratios({"B": pairs}, TOTAL, margin, look)["B"]
        yield Look(repeats, ratio.verdict, by_means(seconds[:repeats]))
        if ratio.verdict != "inconclusive":
            return
        repeats = min(repeats + (ratio.more_repeats or repeats), len(seconds))


def by_means(seconds: numpy.ndarray) -> str:
    if stats.ttest_ind(seconds[:, 1], seconds[:, 0], equal_var=False).pvalue >= verdicts.LEVEL:
        return "no difference shown"
    return "slower" if seconds[:, 1].mean() > seconds[:, 0].mean() else "faster"


def report(drift: float, slowdown: float, face_offs: list[list[Look]]) -> None:
    truth = "B is A" if slowdown == 1 else f"B is {slowdown - 1:.0%} slower than A"
    extra = f", and the machine slows down by {drift:.0%} per repeat" if drift else ""
    asked = [looks[1].repeats for looks in face_offs if len(looks) > 1]
    print(f"\n{truth}{extra}")
    print(
        f"  settled by {PILOT} repeats: {1 - len(asked) / len(face_offs):.1%}; for the others it asked for, in all, "
        f"{spread(asked)} repeats"
    )
    wanted = CALLED if slowdown == 1 else ("slower",)
    for name, looks in (
        (f"at {PILOT} repeats", [each[0] for each in face_offs]),
        ("at the repeats asked for", [each[min(1, len(each) - 1)] for each in face_offs]),
        ("in the end", [each[-1] for each in face_offs]),
    ):
        ours = share([look.verdict for look in looks], wanted)
        theirs = share([look.by_means for look in looks], wanted)
        print(f"  {' or '.join(wanted)} {name}: {ours}; by unpaired means: {theirs}")
    ended = Counter(each[-1].verdict for each in face_offs)
    print("  verdicts in the end: " + ", ".join(f"{name} {ended[name] / len(face_offs):.1%}" for name in sorted(ended)))


def share(said: list[str], wanted: tuple[str, ...]) -> str:
    """With its 95 % interval, as if face-offs shared no runs."""
    found = stats.binomtest(sum(each in wanted for each in said), len(said))
    interval = found.proportion_ci(method="wilson")
    return f"{found.statistic:.1%} [{interval.low:.1%}, {interval.high:.1%}]"


def spread(numbers: list[int]) -> str:
    if not numbers:
        return "no"
    low, middle, high = (round(each) for each in numpy.quantile(numbers, (0.1, 0.5, 0.9)))
    return f"{middle} ({low} to {high})"


if __name__ == "__main__":
    run_entry(main)
