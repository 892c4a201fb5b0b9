"""How often verdicts from steps and from totals are wrong: face-offs with a known truth, from recorded trainings.

python -m benchmarks.steps_quality [RECORDING.jsonl ...] [--face-offs N] [--seed N] [--check]

A recording is of benchmarks/record_steps.py: trainings of one setting, one after the other, so that whatever tells two
of them apart is noise of the machine. A face-off draws stretches of BLOCK trainings that followed each other and deals
them to the two sides by turns; which of the two begins is drawn for each stretch. Then the rival's are made slower in
a way that is known. A verdict is what stages/harness/comparison says of the two, headline and all.

For each recording: how far one pair's ratio spreads by totals and by undisturbed steps; false alarms; how many repeats
it takes until nine of ten face-offs call a slowdown of 5 % of each step; how often a slowdown in the tail alone is
called equivalent, which must not be. With --check it exits with 1 where a share is not as it should be.
"""

import argparse
import datetime
import gc
import json
import math
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import numpy

from benchmarks.verdict_quality import FALSE_ALARMS, POWER, SLOWDOWN
from stages.errors import FaceoffError, run_entry
from stages.harness.comparison import compare
from stages.harness.comparison.by_steps import CALLED
from stages.harness.params import schema
from stages.harness.results import undisturbed
from stages.harness.results.metrics import TOTAL, UNDISTURBED
from stages.harness.results.read import CellResult, StepTimes
from stages.harness.statistics import verdicts
from stages.harness.statistics.estimates import Pair
from stages.records import Attempt, Cell, Load, SettingResult, Variant
from tests import results

RECORDED = Path(__file__).parent / "recorded"
BLOCK = 4  # trainings
REPEATS = (3, 4, 5, 6, 8, 10, 12, 14, 16, 18, 20, 25, 30, 40, 60, 80, 120, 160, 240, 320, 480, 640, 1000)
SETTLING = 20  # repeats, at which false alarms and equivalence are looked at
SIDES = ("host/fp32-bs16", "host/mixed-bs16")  # two names that tests/results.py knows


@dataclass(frozen=True)
class Training:
    """What one recorded training took."""

    total_seconds: float
    steps: tuple[StepTimes, ...]
    others_share: float | None

    @property
    def undisturbed_seconds(self) -> float:
        return undisturbed.seconds(self.steps)


Truth = Callable[[int, StepTimes], Sequence[float]]  # the steps of a span, by its place, as the rival has them


def main() -> int:
    parser = argparse.ArgumentParser(description="Share of wrong verdicts from steps and totals, from recorded steps.")
    parser.add_argument("recordings", type=Path, nargs="*", default=sorted(RECORDED.glob("steps-*.jsonl")))
    parser.add_argument("--face-offs", type=int, default=200)
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--check", action="store_true", help="exit with 1 where a share is not as it should be")
    arguments = parser.parse_args()
    gc.freeze()  # statsmodels collects garbage in every call, 0.1 s each with all that was imported
    fails: list[str] = []
    for path in arguments.recordings:
        fails += report(path, arguments.face_offs, numpy.random.default_rng(arguments.seed))
    for fail in fails:
        print(f"\nnot as it should be: {fail}")
    return 1 if fails and arguments.check else 0


def read(path: Path) -> list[Training]:
    """Read the trainings in the order in which they ran."""
    found = []
    for line in path.read_text(encoding="utf-8").splitlines():
        one = json.loads(line)
        steps = tuple(StepTimes(span, tuple(each / 1e6 for each in taken)) for span, taken in one["steps"])
        found.append(Training(sum(one["spans"].values()), steps, one["others_share"]))
    if len(found) < 2 * BLOCK:
        raise FaceoffError(f"{path} has {len(found)} trainings; at least {2 * BLOCK} are needed: record more")
    return found


# ---------------------------------------------------------------------------------------------------------- truths


def equal(_: int, steps: StepTimes) -> Sequence[float]:
    return steps.seconds


def slower_steps(_: int, steps: StepTimes) -> Sequence[float]:
    return [SLOWDOWN * each for each in steps.seconds]


def slow_loader(_: int, steps: StepTimes) -> Sequence[float]:
    """Every tenth step waits for as long as it takes to make the steps 5 % longer in all."""
    wait = 10 * (SLOWDOWN - 1) * float(numpy.mean(steps.seconds))
    return [each + wait * (place % 10 == 9) for place, each in enumerate(steps.seconds)]


def one_pause(_: int, steps: StepTimes) -> Sequence[float]:
    """One step in each epoch pauses for 2 s."""
    middle = len(steps.seconds) // 2
    return [each + 2.0 * (place == middle) for place, each in enumerate(steps.seconds)]


def slow_first_epoch(span: int, steps: StepTimes) -> Sequence[float]:
    """Have the first fifth of the first epoch take twice as long."""
    few = len(steps.seconds) // 5
    return [each * (2 if span == 0 and place < few else 1) for place, each in enumerate(steps.seconds)]


TAILS = {"every tenth step waits": slow_loader, "a pause of 2 s an epoch": one_pause, "a slow begin": slow_first_epoch}


def changed(training: Training, truth: Truth) -> Training:
    """Return the training as it would be if that were so."""
    steps = tuple(StepTimes(each.span, tuple(truth(place, each))) for place, each in enumerate(training.steps))
    more = sum(sum(each.seconds) for each in steps) - sum(sum(each.seconds) for each in training.steps)
    return Training(training.total_seconds + more, steps, training.others_share)


# ------------------------------------------------------------------------------------------------------- face-offs


Pairs = list[tuple[Training, Training]]  # baseline and rival, by repeat


def draw(recorded: Sequence[Training], repeats: int, truth: Truth, generator: numpy.random.Generator) -> Pairs:
    """Draw a face-off of so many repeats."""
    found: Pairs = []
    while len(found) < repeats:
        start, turned = int(generator.integers(len(recorded) - BLOCK + 1)), bool(generator.integers(2))
        stretch = recorded[start : start + BLOCK]
        for first, second in zip(stretch[::2], stretch[1::2], strict=True):
            base, rival = (second, first) if turned else (first, second)
            found.append((base, changed(rival, truth)))
    return found[:repeats]


def verdict(pairs: Pairs, metric: str, margin: float) -> str:
    """Judge the rival by one of the two metrics alone."""
    of_repeat = {
        str(repeat): Pair(getattr(rival, metric), getattr(base, metric), 2.0 * repeat + 1, 2.0 * repeat)
        for repeat, (base, rival) in enumerate(pairs)
    }
    return verdicts.ratios({"rival": of_repeat}, "lower", margin)["rival"].verdict


def headline(pairs: Pairs, margin: float) -> SettingResult:
    """Judge by all rules."""
    cells = [
        cell(side, repeat, training, 2 * repeat + place)
        for repeat, pair in enumerate(pairs, start=1)
        for place, (side, training) in enumerate(zip(SIDES, pair, strict=True))
    ]
    return compare.compare(cells, schema.CompareParams(SIDES[0], margin, (), 0), {}, results.SILENT_JOB)[1]


def cell(setting: str, repeat: int, training: Training, place: int) -> CellResult:
    image, variant = setting.split("/")
    cell = Cell(image, variant, repeat)
    began = datetime.datetime(2026, 1, 1, tzinfo=datetime.UTC) + datetime.timedelta(minutes=place)
    absent = {} if training.others_share is not None else {"others_share": "it was not recorded"}
    load = Load(training.total_seconds, training.others_share, 0.0, 0.0, absent)
    belongs = replace(results.belongs(cell), variant=Variant({}, {"OMP_WAIT_POLICY": "passive"}))
    changes = {"belongs": belongs, "started_at": began.isoformat(), "attempts": (Attempt(0, load.seconds, load),)}
    train, evaluate = results.silent(cell, training.total_seconds, **changes)
    return CellResult(cell, "ok", None, train, evaluate, None, training.steps)


# ---------------------------------------------------------------------------------------------------------- report


def report(path: Path, number: int, generator: numpy.random.Generator) -> list[str]:
    """Print what the recording shows, and return what is not as it should be."""
    recorded, margin, fails = read(path), schema.load().compare.margin, []
    shares = [each.others_share for each in recorded if each.others_share is not None]
    load = f"{numpy.median(shares):.0%} (median)" if shares else "not known"
    print(f"\n{path.name}: {len(recorded)} trainings; of the CPUs, other processes took: {load}")
    for metric in (TOTAL, UNDISTURBED):
        values = numpy.array([getattr(each, metric) for each in recorded])
        spread = math.sqrt(float(numpy.mean(numpy.diff(numpy.log(values)) ** 2)))
        print(f"  {metric}: median {numpy.median(values):.2f} s, one pair's ratio spreads by {spread:.1%}")
        drawn = (draw(recorded, SETTLING, equal, generator) for _ in range(number))
        alarms = share(verdict(each, metric, margin) in CALLED for each in drawn)
        needed = repeats_needed(recorded, metric, margin, number, generator)
        print(f"    false alarms at {SETTLING} repeats: {alarms:.1%}; steps that are 5 % slower are called by {needed}")
        if alarms > FALSE_ALARMS:
            fails.append(f"{path.name}: {metric}: false alarms {alarms:.1%}")
    for name, truth in {"all are equal": equal, "steps 5 % slower": slower_steps, **TAILS}.items():
        found = [headline(draw(recorded, SETTLING, truth, generator), margin) for _ in range(number // 2)]
        said = {each: share(one.verdict == each for one in found) for each in sorted({one.verdict for one in found})}
        by_steps = share(one.verdict_by == UNDISTURBED for one in found)
        alike = share(one.ratios[UNDISTURBED].verdict == "equivalent" for one in found)
        print(
            f"  headline at {SETTLING} repeats, {name}: "
            + ", ".join(f"{verdict} {part:.0%}" for verdict, part in said.items())
            + f"; by steps {by_steps:.0%}; steps called equivalent {alike:.0%}"
        )
        if name in TAILS and max(said.get("equivalent", 0.0), alike) > FALSE_ALARMS:
            fails.append(f"{path.name}: equivalent where {name}")
    return fails


def repeats_needed(
    recorded: Sequence[Training], metric: str, margin: float, number: int, generator: numpy.random.Generator
) -> str:
    """Find the fewest of REPEATS at which POWER of the face-offs call a rival whose steps are slower."""
    for repeats in REPEATS:
        drawn = (draw(recorded, repeats, slower_steps, generator) for _ in range(number))
        if share(verdict(each, metric, margin) == "slower" for each in drawn) >= POWER:
            return f"{repeats} repeats"
    return f"more than {REPEATS[-1]} repeats"


def share(holds: Iterable[bool]) -> float:
    """Return the share of those that hold."""
    return float(numpy.mean([*holds]))


if __name__ == "__main__":
    run_entry(main)
