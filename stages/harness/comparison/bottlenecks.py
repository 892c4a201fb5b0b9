"""What holds a setting's training back: waiting for its loader, or compute. Of its steps' split and its ceilings."""

import dataclasses
import math
import statistics
from collections.abc import Iterable, Sequence

from stages.contract import Span, Split
from stages.harness import formatting
from stages.harness.results.read import CellResult
from stages.records import Bottleneck, SpanSteps

# Of what is gained without the loader's part and without compute: closer together than this, neither holds it back
# more than the other.
BALANCED_WITHIN = 1.1


def bottleneck(results: Sequence[CellResult]) -> Bottleneck | None:
    """Find what holds a setting's training steps back, by span; None where no repeat has spans that tell it."""
    trained = [result.train for result in results if result.train is not None]
    spans = [span for train in trained for span in train.spans if _is_split(span)]
    if not spans:
        return None
    ceilings = [train.ceilings for train in trained if train.ceilings is not None]
    loader = _median(each.loader_samples_per_second for each in ceilings)
    return Bottleneck(
        spans={
            name: _steps([span for span in spans if span.name == name], loader)
            for name in dict.fromkeys(span.name for span in spans)
        },
        loader_samples_per_second=loader,
        compute_samples_per_second=_median(each.compute_samples_per_second for each in ceilings),
    )


def _is_split(span: Span) -> bool:
    """Whether a span tells where the time of its steps went, and how many they were."""
    return bool(span.split and span.split.seconds > 0 and span.samples and span.steps)


def _median(rates: Iterable[float]) -> float | None:
    found = [*rates]
    return statistics.median(found) if found else None


def _steps(spans: Sequence[Span], loader: float | None) -> SpanSteps:
    """Judge by what would be gained without waiting for the loader, and what without compute.

    The larger gain says which it is, and where the two are within BALANCED_WITHIN of each other, it is neither. Without
    compute, steps still cannot come faster than the loader alone delivers, `loader` samples/s, where that is known.
    """
    split = _sum(span.split for span in spans if span.split)
    reached = sum(span.samples or 0 for span in spans) / split.seconds
    without_waiting = _gain(split.wait_seconds, split)
    without_compute = _gain_of_faster_compute(split, _headroom(loader, reached))
    if max(without_waiting, without_compute) <= BALANCED_WITHIN * min(without_waiting, without_compute):
        kind = "balanced"
    else:
        kind = "input-bound" if without_waiting > without_compute else "compute-bound"
    steps = sum(span.steps or 0 for span in spans)
    return SpanSteps(kind, split, steps, reached)


def speedup_of_steps(found: Bottleneck, compute_speedup: float) -> float:
    """How many times as fast the last span's steps become where compute is so many times as fast.

    Amdahl's law: compute speeds up and nothing else, and no step comes before its batch.
    """
    last = found.last
    headroom = _headroom(found.loader_samples_per_second, last.samples_per_second)
    return _gain_of_faster_compute(last.split, headroom, compute_speedup)


def _headroom(loader: float | None, reached: float) -> float:
    """Divide the rate of the loader alone by the rate that is reached; where it is not known, it limits nothing."""
    return math.inf if loader is None else loader / reached


def _gain(saved_seconds: float, split: Split) -> float:
    """Return the speedup of the steps if that time of theirs were saved."""
    return split.seconds / max(split.seconds - saved_seconds, 1e-9)


def _gain_of_faster_compute(split: Split, headroom: float, times: float = math.inf) -> float:
    return min(_gain(split.compute_seconds * (1 - 1 / times), split), max(1.0, headroom))


def _sum(splits: Iterable[Split]) -> Split:
    columns = zip(*(dataclasses.astuple(split) for split in splits), strict=True)
    return Split(*(None if None in column else sum(column) for column in columns))


def sentences(found: Bottleneck) -> list[str]:
    """Say what holds the last span back, whose model the ceilings were measured with, and what its loader lacks."""
    (*earlier, name), last = found.spans, found.last
    split = last.split
    unlike = "".join(
        f" (in {each!r} {found.spans[each].kind})" for each in earlier if found.spans[each].kind != last.kind
    )
    alone = ""
    if found.loader_samples_per_second is not None and found.compute_samples_per_second is not None:
        alone = (
            f"; the loader alone {formatting.significant(found.loader_samples_per_second)}, "
            f"compute alone {formatting.significant(found.compute_samples_per_second)}"
        )
    said = (
        f"Its steps in {name!r} are {last.kind}{unlike}: {split.wait_seconds / split.seconds:.0%} of a step waits for "
        f"the loader, {split.copy_seconds / split.seconds:.0%} copies to the device, "
        f"{split.compute_seconds / split.seconds:.0%} computes and {split.other_seconds / split.seconds:.0%} is the "
        f"rest. They reach {formatting.significant(last.samples_per_second)} samples/s{alone}."
    )
    return [said, *_lack_of_loader(last)]


def _lack_of_loader(last: SpanSteps) -> Iterable[str]:
    """Say what the loader would have to deliver, and what that gains; nothing where it is not what holds back."""
    if last.kind == "input-bound":
        gain = _gain(last.split.wait_seconds, last.split)
        needed = formatting.significant(last.samples_per_second * gain)
        yield f"A loader that keeps up, with {needed} samples/s, would make these steps {gain:.2f} times as fast."
