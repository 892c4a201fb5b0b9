"""How often a history says that something changed where nothing did: runs of 50 equal commits, drawn and recorded.

python -m benchmarks.history_quality [--histories N] [--seed N] [--check]

A history is looked at after each of its commits, and one change that is seen at any of these looks is a false alarm.
The noise of its runs is drawn (normal, with heavy tails, held up now and then, each run like the one before), or it is
that of a recording of benchmarks/record_aa.py: a commit is REPEATS runs that followed each other, from a random place.
A recording in the order in which it ran is shown too: a machine that changes its pace for good looks like a commit.

Then a true change after 20 commits, in standard deviations of a run: after how many more it is called, in the median
and in nine of ten histories. With --check it exits with 1 where more than FALSE_ALARMS of the histories have one.
"""

import argparse
from collections.abc import Callable
from pathlib import Path

import numpy

from benchmarks import verdict_quality
from stages.errors import run_entry
from stages.harness.statistics import shifts
from stages.harness.statistics.estimates import LEVEL

COMMITS = 50
REPEATS = 3
BEFORE, AFTER = 20, 40  # commits around a true change
SIZES = (2.0, 3.0, 4.0, 6.0)
FALSE_ALARMS = LEVEL
HELD_UP = 0.1  # of the runs: three in a row are a level like any other
CORRELATION = 0.3  # of a run with the one before
FOLDER = Path(__file__).parent / "recorded"

Draw = Callable[[numpy.random.Generator], numpy.ndarray]


def main() -> int:
    parser = argparse.ArgumentParser(description="False alarms of python -m stages.history.")
    parser.add_argument("--histories", type=int, default=400)
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--check", action="store_true", help="exit with 1 where there are too many")
    arguments = parser.parse_args()
    fails = []
    print(f"{arguments.histories} histories of {COMMITS} equal commits, looked at after each; seed {arguments.seed}")
    for name, draw in noises().items():
        share = alarms(draw, arguments.histories, arguments.seed)
        print(f"  {name}: a false alarm in {share:.1%}", flush=True)
        fails += [name] if share > FALSE_ALARMS else []
    for path in sorted(FOLDER.glob("aa*.csv")):
        runs = recorded(path)
        print(f"  {path.stem} in its order, {len(runs)} commits: {shifts.shifts(runs) or 'no change'}")
    for size in SIZES:
        generator = numpy.random.default_rng(arguments.seed)
        found = [delay(generator, size) for _ in range(max(arguments.histories // 4, 1))]
        median, most = numpy.quantile(found, [0.5, 0.9], method="higher")
        print(
            f"a change by {size:g} standard deviations after {BEFORE} commits: called {median:g} later, 90% by {most:g}"
        )
    for fail in fails:
        print(f"not as it should be: {fail}")
    return 1 if fails and arguments.check else 0


def noises() -> dict[str, Draw]:
    """Name what a run's deviation is drawn from."""
    drawn: dict[str, Draw] = {
        "normal": lambda generator: generator.normal(size=COMMITS),
        "heavy tails (Student's t, 3 degrees of freedom)": lambda generator: generator.standard_t(3, COMMITS),
        "one-sided, 3 repeats": lambda generator: generator.exponential(size=(COMMITS, REPEATS)).mean(axis=1),
        f"each run like the one before (correlation {CORRELATION})": alike,
        f"{HELD_UP:.0%} of the runs held up": held_up,
    }
    return drawn | {f"recorded, {path.stem}": of_recording(path) for path in sorted(FOLDER.glob("aa*.csv"))}


def alike(generator: numpy.random.Generator) -> numpy.ndarray:
    """Draw runs each of which goes on from the one before."""
    found = generator.normal(size=COMMITS)
    for place in range(1, COMMITS):
        found[place] = CORRELATION * found[place - 1] + (1 - CORRELATION**2) ** 0.5 * found[place]
    return found


def held_up(generator: numpy.random.Generator) -> numpy.ndarray:
    """Draw runs of which some were held up, by five standard deviations in the mean."""
    these = generator.random(COMMITS) < HELD_UP
    return generator.normal(size=COMMITS) + numpy.where(these, generator.exponential(5, COMMITS), 0)


def of_recording(path: Path) -> Draw:
    """Draw commits from random places of a recording, the repeats of each in the order in which they ran."""
    logs = numpy.log(verdict_quality.read(path)[:, 0])

    def draw(generator: numpy.random.Generator) -> numpy.ndarray:
        begins = generator.integers(0, len(logs) - REPEATS + 1, COMMITS)
        return numpy.array([logs[begin : begin + REPEATS].mean() for begin in begins])

    return draw


def recorded(path: Path) -> numpy.ndarray:
    """Return the commits of a recording in its order."""
    logs = numpy.log(verdict_quality.read(path)[:, 0])
    commits: numpy.ndarray = logs[: len(logs) // REPEATS * REPEATS].reshape(-1, REPEATS).mean(axis=1)
    return commits


def alarms(draw: Draw, histories: int, seed: int) -> float:
    """Return the share of so many histories that have a false alarm."""
    generator = numpy.random.default_rng(seed)
    return float(numpy.mean([bool(shifts.shifts(draw(generator))) for _ in range(histories)]))


def delay(generator: numpy.random.Generator, size: float) -> float:
    """Return after how many commits with a true change it is called; infinite where it never is."""
    history = generator.normal(size=BEFORE + AFTER)
    history[BEFORE:] += size
    looks = range(BEFORE + shifts.MIN_SIDE, len(history) + 1)
    return next((runs - BEFORE for runs in looks if shifts.shifts(history[:runs])), float("inf"))


if __name__ == "__main__":
    run_entry(main)
