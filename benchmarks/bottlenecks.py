"""How often what holds a training back is told right: trainings with a planted cause, on a stand-in for a GPU.

python -m benchmarks.bottlenecks [--trainings N] [--seed N] [--check]

The stand-in is a queue and two clocks: a host that loads batches, copies them and launches kernels, and a device that
works them off in order. It shows bookkeeping, and nothing of CUDA. What the built-in job marks of it and what
stages/harness/comparison says of that are the ones of a real run. Of each kind trainings are drawn: which part of a
step takes how many times as long as the others, noise of each step and of each repeat, a loop that waits for the device
in between (`.item()`) or does not, a network of few kernels or many.

Launching is told by different signs, and each is tried alone: the marks in the queue; how busy the device is, which a
profiler would tell; a second setting with batches twice as large. With --check it exits with 1 where less than
RIGHT of the trainings of a kind are told right by a sign.
"""

import argparse
import random
import statistics
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, replace
from types import SimpleNamespace
from unittest import mock

import torch

from jobs.dogs_cats import split
from stages.contract import Ceilings, Span, Split
from stages.errors import run_entry
from stages.harness.comparison.bottlenecks import bottleneck
from stages.harness.results.read import CellResult
from stages.records import Cell, Variant
from tests import results
from tests.gpu_queue import Card

RIGHT = 0.95  # 19 of 20
REPEATS = 3
STEPS = 20
UNIT = 0.01  # seconds: the order of a step
PARTS = ("forward", "backward", "optimiser")
NOISE_OF_STEPS, NOISE_OF_REPEATS = 0.2, 0.1  # standard deviations of logarithms; a recorded H200's repeats: 0.1
EVEN_NOISE = 0.03  # of repeats where nothing is to hold back more: with more of it, something truly did
LARGER = 2  # times, the other setting's batches
BATCH = 16


@dataclass(frozen=True)
class Truth:
    """What a step takes, in seconds of each part; the host's and the device's of compute run side by side."""

    load: float
    copy: float
    launch: tuple[float, ...]  # of PARTS: on the host
    compute: tuple[float, ...]  # likewise on the device
    waits_after: frozenset[str]  # the parts after which the loop waits for the device
    kernels: int  # of a part
    noise: float = NOISE_OF_REPEATS


def truths(draw: random.Random) -> dict[str, list[Truth]]:
    """Draw a training of each kind; of 'balanced' two, of a loader and compute, and of launching and compute."""

    def truth(load: float, copy: float, launch: float, compute: float) -> Truth:
        return Truth(
            load=UNIT * load,
            copy=UNIT * copy,
            launch=_thirds(draw, UNIT * launch),
            compute=_thirds(draw, UNIT * compute),
            waits_after=frozenset(draw.choice([(), ("optimiser",), ("backward",), ("forward", "optimiser")])),
            kernels=draw.choice([4, 10, 20]),
        )

    def most() -> float:
        return draw.uniform(1.5, 4.0)

    def little() -> float:
        return draw.uniform(0.0, 0.3)

    def even(one: Truth) -> Truth:
        """One after the other: the loop waits for the device before it asks for a batch."""
        return replace(one, waits_after=frozenset({"optimiser"}), noise=EVEN_NOISE)

    half = draw.uniform(0.8, 1.5)
    slow, quick = UNIT * half, UNIT * half * draw.uniform(0.1, 0.3)
    mixed = replace(  # forward is launched slowly, the rest computes slowly
        truth(0.0, 0.02, 0.0, 0.0), launch=(slow, quick / 2, quick / 2), compute=(quick, slow / 2, slow / 2)
    )
    return {
        "input-bound": [truth(most(), little() / 2, little(), 1.0)],
        "copy-bound": [truth(little() / 2, most(), little(), 1.0)],
        "launch-bound": [truth(little(), little() / 2, most(), draw.uniform(0.1, 0.6))],
        "compute-bound": [truth(little(), little() / 2, draw.uniform(0.1, 0.6), most())],
        "balanced": [even(truth(half, 0.02, 0.1, half)), even(mixed)],
    }


def _thirds(draw: random.Random, seconds: float) -> tuple[float, ...]:
    shares = [draw.uniform(0.7, 1.3) for _ in PARTS]
    return tuple(seconds * share / sum(shares) for share in shares)


# -------------------------------------------------------------------------------------------------- a training


@contextmanager
def _put_in(card: Card) -> Iterator[None]:
    """Make the card what torch and the splitter's clock show."""
    clock = SimpleNamespace(perf_counter=lambda: card.host)
    with ExitStack() as stack:
        stack.enter_context(mock.patch.object(torch.cuda, "is_available", lambda: True))
        stack.enter_context(mock.patch.object(torch.cuda, "Event", card.Event))
        stack.enter_context(mock.patch.object(split, "time", clock))
        yield


def train(truth: Truth, draw: random.Random) -> Split:
    """Run STEPS steps on the stand-in, and return what the job's marks tell of them."""
    card = Card(drift=draw.uniform(-1e-4, 1e-4))
    pace = _noise(draw, truth.noise)  # of the host, which a neighbour slows down; a device has none
    with _put_in(card):
        splitter = split.Splitter()
        began = card.synchronises()
        splitter.begin()
        for _ in range(STEPS):
            card.waits(truth.load * pace * _noise(draw, NOISE_OF_STEPS))
            splitter.copies()
            card.queues(truth.copy)
            splitter.computes()
            for part, launch, compute in zip(PARTS, truth.launch, truth.compute, strict=True):
                host = launch * pace * _noise(draw, NOISE_OF_STEPS) / truth.kernels
                card.launches(truth.kernels, host, compute / truth.kernels)
                splitter.computed() if part == PARTS[-1] else splitter.passes()
                if part in truth.waits_after:
                    card.synchronises()
            splitter.asks()
        ended = card.synchronises()
        splitter.end()
        found: Split = splitter.split(ended - began)[1]
        return found


def _noise(draw: random.Random, deviation: float) -> float:
    return draw.lognormvariate(0.0, deviation)


def setting(truth: Truth, draw: random.Random, size: int = BATCH, *, by_kernels: bool = False) -> list[CellResult]:
    """Return results of REPEATS trainings with batches of `size` samples: in the record, what the job would say."""
    found = []
    for repeat in range(1, REPEATS + 1):
        cell = Cell("host", "fp32-bs16" if size == BATCH else "fp32-bs64", repeat)  # names that tests/results.py knows
        belongs = results.belongs(cell, variant=Variant({"batch_size": size}, {}))
        marked = train(truth, draw)
        alone = train(replace(truth, load=0.0, copy=0.0), draw).compute_seconds / STEPS
        busy = min(1.0, sum(truth.compute) / alone) if by_kernels else None
        ceilings = Ceilings(1e6 if truth.load == 0 else size / truth.load, size / alone, busy)
        span = Span("epochs", marked.seconds, samples=size * STEPS, steps=STEPS, split=marked)
        facts = {"device": "a stand-in", "number_format": "fp32"}
        record = results.trained(cell, spans=(span,), ceilings=ceilings, facts=facts, belongs=belongs)
        found.append(CellResult(cell, "trained", None, record))
    return found


# ------------------------------------------------------------------------------------------------------ judging


def by_marks(truth: Truth, draw: random.Random) -> str:
    """Return what is told by the marks in the queue."""
    return _kind(setting(truth, draw))


def by_kernels(truth: Truth, draw: random.Random) -> str:
    """Return what is told where only a profiler's kernels tell of launching."""
    return _kind(_unmarked(setting(truth, draw, by_kernels=True)))


def by_batches(truth: Truth, draw: random.Random) -> str:
    """Return what is told where only a setting with larger batches tells of launching."""
    larger = replace(
        truth,
        load=LARGER * truth.load,
        copy=LARGER * truth.copy,
        compute=tuple(LARGER * each for each in truth.compute),
    )
    small, large = (_unmarked(setting(*each)) for each in ((truth, draw), (larger, draw, LARGER * BATCH)))
    return _kind(small, [*small, *large])


def _unmarked(cells: Iterable[CellResult]) -> list[CellResult]:
    """Leave out what the marks tell of launching."""
    found = []
    for cell, train in ((each, each.train) for each in cells if each.train):
        splits = [replace(span.split, launch_seconds=None) for span in train.spans if span.split]
        spans = tuple(replace(span, split=each) for span, each in zip(train.spans, splits, strict=True))
        found.append(replace(cell, train=replace(train, spans=spans)))
    return found


def _kind(cells: Sequence[CellResult], run: Sequence[CellResult] = ()) -> str:
    found = bottleneck(cells, {}, run)
    return found.last.kind if found else "not told"


SIGNS: dict[str, Callable[[Truth, random.Random], str]] = {
    "marks": by_marks,
    "kernels": by_kernels,
    "batches": by_batches,
}


def answers(trainings: int, seed: int) -> dict[tuple[str, str], list[str]]:
    """Return what is told of `trainings` of each kind, by (kind, sign)."""
    found: dict[tuple[str, str], list[str]] = {}
    for sign, tell in SIGNS.items():
        draw = random.Random(seed)  # noqa: S311 - repeatable
        for _ in range(trainings):
            for kind, planted in truths(draw).items():
                of_kind = planted if sign == "marks" else planted[:1]  # half launching, half not: by marks alone
                found.setdefault((kind, sign), []).extend(tell(each, draw) for each in of_kind)
    return found


def main() -> int:
    """Print how often each kind is told right by each sign."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--trainings", type=int, default=200, help="of each kind")
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--check", action="store_true", help=f"exit with 1 below {RIGHT:.0%}")
    arguments = parser.parse_args()
    shares = []
    for (kind, sign), kinds in answers(arguments.trainings, arguments.seed).items():
        shares.append(statistics.fmean(each == kind for each in kinds))
        wrong = {each: kinds.count(each) for each in sorted(set(kinds) - {kind})}
        end = f"  else {', '.join(f'{name} {count}' for name, count in wrong.items())}" if wrong else ""
        print(f"{kind:13} by {sign:8} {shares[-1]:6.1%} of {len(kinds)}{end}")
    return int(arguments.check and min(shares) < RIGHT)


if __name__ == "__main__":
    run_entry(main)
