"""What holds a setting's training back: its loader, copies to the device, launching work on it, or compute."""

import dataclasses
import math
import statistics
from collections.abc import Iterable, Mapping, Sequence

from stages.contract import Span, Split
from stages.harness import formatting
from stages.harness.comparison import launching
from stages.harness.comparison.launching import BALANCED, BALANCED_WITHIN, COMPUTE
from stages.harness.results.read import CellResult
from stages.records import Bottleneck, Profile, SpanSteps

INPUT, COPY = "input-bound", "copy-bound"  # of records.BOTTLENECKS
NO_PROFILES: Mapping[str, Profile] = {}


def bottleneck(
    results: Sequence[CellResult], profiles: Mapping[str, Profile] = NO_PROFILES, run: Sequence[CellResult] = ()
) -> Bottleneck | None:
    """Find what holds a setting's training steps back, by span; None where no repeat has spans that tell it.

    `run`: cells of all settings, among which those that differ in the size of the batches alone tell of launching.
    """
    trained = [result.train for result in results if result.train is not None]
    spans = [span for train in trained for span in train.spans if _is_split(span)]
    if not spans:
        return None
    ceilings = [train.ceilings for train in trained if train.ceilings is not None]
    loader = _median(each.loader_samples_per_second for each in ceilings)
    found = Bottleneck(
        spans={
            name: _steps([span for span in spans if span.name == name], loader)
            for name in dict.fromkeys(span.name for span in spans)
        },
        loader_samples_per_second=loader,
        compute_samples_per_second=_median(each.compute_samples_per_second for each in ceilings),
        launching=launching.seen(results, profiles.get(results[0].cell.image), run),
    )
    return dataclasses.replace(found, spans={name: _launching_apart(each, found) for name, each in found.spans.items()})


def _is_split(span: Span) -> bool:
    """Whether a span tells where the time of its steps went, and how many they were."""
    return bool(span.split and span.split.seconds > 0 and span.samples and span.steps)


def _median(rates: Iterable[float]) -> float | None:
    found = [*rates]
    return statistics.median(found) if found else None


def _steps(spans: Sequence[Span], loader: float | None) -> SpanSteps:
    """Judge by what would be gained without waiting for the loader, without copies, and without compute.

    The largest gain says which it is. Where the two largest are within BALANCED_WITHIN of each other, or the rest of
    the loop is more than any of them, it is none. Without copies or compute, steps still cannot come faster than the
    loader alone delivers, `loader` samples/s, where that is known.
    """
    split = _sum(span.split for span in spans if span.split)
    reached = sum(span.samples or 0 for span in spans) / split.seconds
    most = max(1.0, _headroom(loader, reached))
    gains = {
        INPUT: _gain(split.wait_seconds, split),
        COPY: min(_gain(split.copy_seconds, split), most),
        COMPUTE: min(_gain(split.compute_seconds, split), most),
        BALANCED: min(_gain(split.other_seconds, split), most),
    }
    second, first = sorted(gains, key=lambda each: gains[each])[-2:]
    kind = BALANCED if gains[first] <= BALANCED_WITHIN * gains[second] else first
    return SpanSteps(kind, split, sum(span.steps or 0 for span in spans), reached)


def _launching_apart(steps: SpanSteps, found: Bottleneck) -> SpanSteps:
    """Tell of steps that compute, as far as the clock sees, whether it is launching that they take the time for."""
    if steps.kind != COMPUTE:
        return steps
    return dataclasses.replace(steps, kind=launching.kind(steps, found.launching, found.last))


def speedup_of_steps(found: Bottleneck, compute_speedup: float) -> float:
    """How many times as fast the last span's steps become where arithmetic is so many times as fast.

    Amdahl's law: what the device does speeds up and nothing else, and no step comes before its batch.
    """
    last = found.last
    most = max(1.0, _headroom(found.loader_samples_per_second, last.samples_per_second))
    return min(_gain(launching.device_seconds(found) * (1 - 1 / compute_speedup), last.split), most)


def _headroom(loader: float | None, reached: float) -> float:
    """Divide the rate of the loader alone by the rate that is reached; where it is not known, it limits nothing."""
    return math.inf if loader is None else loader / reached


def _gain(saved_seconds: float, split: Split) -> float:
    """Return the speedup of the steps if that time of theirs were saved."""
    return split.seconds / max(split.seconds - saved_seconds, 1e-9)


def _sum(splits: Iterable[Split]) -> Split:
    rows = [*splits]
    launches = [split.launch_seconds for split in rows]
    known = [each for each in launches if each is not None]
    return Split(
        wait_seconds=sum(split.wait_seconds for split in rows),
        copy_seconds=sum(split.copy_seconds for split in rows),
        compute_seconds=sum(split.compute_seconds for split in rows),
        other_seconds=sum(split.other_seconds for split in rows),
        launch_seconds=sum(known) if len(known) == len(rows) else None,
    )


def sentences(found: Bottleneck) -> list[str]:
    """Say what holds the last span back, whose model the ceilings were measured with, how it shows, and what helps."""
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
    return [said, *_what_is_lacking(last), *launching.sentences(last, found.launching)]


def _what_is_lacking(last: SpanSteps) -> Iterable[str]:
    """Say what loader, copies or loop lack, and what that gains; nothing where these are not what holds back."""
    split = last.split
    if last.kind == INPUT:
        gain = _gain(split.wait_seconds, split)
        needed = formatting.significant(last.samples_per_second * gain)
        yield f"A loader that keeps up, with {needed} samples/s, would make these steps {gain:.2f} times as fast."
    if last.kind == COPY:
        yield (
            f"Without copies these steps would be {_gain(split.copy_seconds, split):.2f} times as fast: what helps are "
            "batches in pinned memory that are copied ahead (non_blocking), and fewer bytes, such as uint8 that the "
            "device makes floats of."
        )
    if split.other_seconds > max(split.wait_seconds, split.copy_seconds, split.compute_seconds):
        yield "The largest part is the rest of the loop: what the script does between loading and computing."
