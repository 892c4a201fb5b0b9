"""Whether a device waits for the host to launch its work: what was seen of it, and what that shows.

A step on a device takes as long as the slower of two: the host, that runs Python and launches kernels one by one, and
the device, that works them off. Where it is the host, faster arithmetic changes nothing.
"""

import dataclasses
import math
import statistics
from collections.abc import Iterable, Sequence

from stages.contract import Span
from stages.harness import formatting
from stages.harness.comparison import as_run, confounders
from stages.harness.comparison.evidence import number_format
from stages.harness.results.read import CellResult
from stages.records import Bottleneck, Launching, OtherBatch, Profile, Result, Scalar, SpanSteps

LAUNCH, COMPUTE, BALANCED = "launch-bound", "compute-bound", "balanced"  # of records.BOTTLENECKS

# Of what is gained without one part of a step and without another: closer together than this, neither holds it back
# more than the other.
BALANCED_WITHIN = 1.1
# A device that is idle for longer than it works waits for the host: without the host's part it could be more than
# twice as fast.
IDLE_BELOW = 0.5
# One that works for more than this computes: without all idleness it would be 1.25 times as fast at most. In between,
# how busy it is shows neither: some stretches of a step may wait, others not.
BUSY_FROM = 0.8
# A batch that is at least so much larger has so much more arithmetic that a step which takes as long isn't made of it:
# a difference of 50 % is far beyond the noise of a step, one of 20 % is not (a recorded H200's repeats differ by 36 %).
LARGER_BATCH = 1.5
AS_LONG_WITHIN = 1.1  # of steps that take as long; medians of repeats are no closer on that H200: 1.06 and 0.92
# Of the smaller batch's step, at most a fifth may grow with the batch: 1.1 times as long at 1.5 times the batch, and
# more with more, since noise does not grow with it. Up to this, which a step of the larger one that computes exceeds.
GROWING_SHARE, MOST_LONGER = 0.2, 1.25
# A larger batch whose step takes less than this of the smaller one's was measured under other conditions.
NOT_SHORTER_THAN = 1 / 1.5
# What the host needs to launch a step is not more than the smaller batch's whole step. Where the larger one's takes
# twice as long, that is at most half of it: the device makes the rest.
TWICE_AS_LONG = 2.0
# A step that grows as the batch does is the device's in both; four fifths of that, since no step is all arithmetic.
IN_PROPORTION = 0.8
LEAST_SAMPLES = 5  # of NVML, below which one of them makes the median
# The last span's evidence holds for an earlier one, of the same host's loop, whose steps compute for no more than so
# many times as long: a first epoch warms up (1.4 times on the H200); with more, it may be another network.
LIKE_THE_LAST = 1.5

WORDS = {
    LAUNCH: "The device waits for the host to launch its work",
    COMPUTE: "It is the device's work that takes the time",
}
NOT_MEASURED = "was not measured"


@dataclasses.dataclass(frozen=True)
class Sign:
    """One thing that was seen, and which of the kinds it shows; None: neither."""

    kind: str | None
    words: str


def seen(results: Sequence[CellResult], profile: Profile | None, run: Sequence[CellResult]) -> Launching:
    """Gather what the repeats of a setting, and the settings of `run` that differ in the batch alone, tell of it."""
    trained = [each.train for each in results if each.train]
    shares = [each.ceilings.device_busy_share for each in trained if each.ceilings]
    busy = [share for share in shares if share is not None]
    on = confounders.devices(results, profile)
    has_marks = any(span.split and span.split.launch_seconds is not None for each in trained for span in each.spans)
    is_on_card = any(name != "cpu" for name in on) if on else any(each.gpu_uuids for each in trained)
    return Launching(
        has_queue=is_on_card or has_marks or bool(busy),
        device_busy_share=statistics.median(busy) if busy else None,
        card_busy_share=_card_busy_share(trained),
        computing_share=_computing_share(trained),
        other_batch=other_batch(results, run),
    )


def _card_busy_share(trained: Iterable[Result]) -> float | None:
    """Return how busy NVML calls the card while the last span runs: of several cards, the busiest of each repeat."""
    found: list[float] = []
    for train in trained:
        cards = []
        for card in train.cards:
            spans = [each for each in card.spans if train.spans and each.span == train.spans[-1].name]
            cards.append(
                [each.busy_share for each in spans if each.busy_share is not None for _ in range(each.samples)]
            )
        found += max(cards, key=lambda shares: statistics.fmean(shares or [0.0]), default=[])
    return statistics.median(found) if len(found) >= LEAST_SAMPLES else None


def _computing_share(trained: Sequence[Result]) -> float | None:
    spans = _last_spans(trained)
    whole = sum(span.seconds for span in spans)
    return min(1.0, sum(span.split.compute_seconds for span in spans if span.split) / whole) if whole else None


def _last_spans(trained: Sequence[Result]) -> list[Span]:
    """Return those of the last span's name that tell where the time of their steps went, and how many they were."""
    name = next((each.spans[-1].name for each in reversed(trained) if each.spans), None)
    spans = [span for each in trained for span in each.spans if span.name == name]
    return [span for span in spans if span.split and span.split.seconds > 0 and span.samples and span.steps]


# --------------------------------------------------------------------------------------------------- another batch


@dataclasses.dataclass(frozen=True)
class _Steps:
    """The last span's steps of a setting, over its repeats."""

    span: str
    samples_per_step: float
    seconds: float  # of compute
    alone_seconds: float | None


def other_batch(results: Sequence[CellResult], run: Sequence[CellResult]) -> OtherBatch | None:
    """Find the setting of the same image that differs in the size of its batches alone, and that shows most."""
    groups: dict[str, list[CellResult]] = {}
    for each in run:
        if each.cell.image == results[0].cell.image and each.cell.setting != results[0].cell.setting:
            groups.setdefault(each.cell.setting, []).append(each)
    found = [other for other in (_beside(results, group) for group in groups.values()) if other]
    ranks = {LAUNCH: 0, COMPUTE: 1, None: 2}
    return min(found, key=lambda each: (ranks[_kind_by_batch(each)], -each.times_as_large), default=None)


def _beside(results: Sequence[CellResult], others: Sequence[CellResult]) -> OtherBatch | None:
    parameter = _only_parameter(results, others)
    if parameter is None or number_format(results) != number_format(others):
        return None
    (here_value, here), (there_value, there) = ((value, _steps(group, value)) for value, group in parameter[1])
    if here is None or there is None:
        return None
    as_values = (here.samples_per_step / there.samples_per_step) / (here_value / there_value)
    alone = here.alone_seconds is not None and there.alone_seconds is not None
    if abs(math.log(as_values)) > math.log(AS_LONG_WITHIN) or not (alone or here.span == there.span):
        return None  # the parameter is not the batch's size, or there is no span to compare
    found = OtherBatch(
        setting=others[0].cell.setting,
        parameter=parameter[0],
        samples_per_step=here.samples_per_step,
        other_samples_per_step=there.samples_per_step,
        step_seconds=here.alone_seconds if alone and here.alone_seconds else here.seconds,
        other_step_seconds=there.alone_seconds if alone and there.alone_seconds else there.seconds,
        alone=alone,
    )
    return found if found.times_as_large >= LARGER_BATCH else None


def _only_parameter(
    results: Sequence[CellResult], others: Sequence[CellResult]
) -> tuple[str, list[tuple[float, Sequence[CellResult]]]] | None:
    """Return the parameter in which the two variants differ alone, with both values; None where it is no number."""
    here, there = as_run.variant(results), as_run.variant(others)
    if (
        here is None
        or there is None
        or dataclasses.replace(here, parameters={}) != dataclasses.replace(there, parameters={})
    ):
        return None
    names = {*here.parameters, *there.parameters}
    unlike = [name for name in names if here.parameters.get(name) != there.parameters.get(name)]
    values = [_positive(each.parameters.get(name)) for name in unlike for each in (here, there)]
    if len(unlike) != 1:
        return None
    pairs = [(value, group) for value, group in zip(values, (results, others), strict=True) if value]
    return (unlike[0], pairs) if len(pairs) == len(values) else None


def _positive(value: Scalar | None) -> float | None:
    """Return the number above 0 that the value is; None for what is none."""
    if isinstance(value, bool) or not isinstance(value, int | float) or value <= 0:
        return None
    return float(value)


def _steps(results: Sequence[CellResult], value: float) -> _Steps | None:
    trained = [each.train for each in results if each.train]
    spans = _last_spans(trained)
    computed = sum(span.split.compute_seconds for span in spans if span.split)
    if not computed:
        return None
    steps = sum(span.steps or 0 for span in spans)
    batch = sum(span.samples or 0 for span in spans) / steps
    if all(span.steps == math.ceil((span.samples or 0) / value) for span in spans):
        batch = value  # that the last batch is smaller makes the others no smaller
    rates = [each.ceilings.compute_samples_per_second for each in trained if each.ceilings]
    alone = batch / statistics.median(rates) if rates and statistics.median(rates) > 0 else None
    return _Steps(spans[0].name, batch, computed / steps, alone)


def _kind_by_batch(other: OtherBatch) -> str | None:
    longer = other.times_as_long
    is_larger = other.samples_per_step > other.other_samples_per_step
    most = AS_LONG_WITHIN if is_larger else min(MOST_LONGER, 1 + GROWING_SHARE * (other.times_as_large - 1))
    if NOT_SHORTER_THAN <= longer <= most:
        return LAUNCH
    least = TWICE_AS_LONG if is_larger else max(IN_PROPORTION * other.times_as_large, AS_LONG_WITHIN)
    return COMPUTE if longer >= least else None


# -------------------------------------------------------------------------------------------------- what it shows


def kind(steps: SpanSteps, launching: Launching, last: SpanSteps) -> str:
    """Tell of a span whose steps compute whether they wait for launches: by the strongest sign that shows it."""
    return next((sign.kind for sign in signs(steps, launching, last) if sign.kind), COMPUTE)


def signs(steps: SpanSteps, launching: Launching, last: SpanSteps) -> list[Sign]:
    """List what was seen of a span's steps, the strongest first; `last`: those of the last span."""
    if not launching.has_queue:
        return []
    found = [*_by_marks(steps)]
    per_step = [each.split.compute_seconds / max(each.steps, 1) for each in (steps, last)]
    if per_step[0] <= LIKE_THE_LAST * per_step[1]:
        found += [*_by_kernels(launching), *_by_batches(launching), *_by_samples(launching)]
    return found


def _by_marks(steps: SpanSteps) -> Iterable[Sign]:
    """Weigh the part of compute at whose end the device's queue was empty against the rest, as a step's parts are."""
    split = steps.split
    if split.launch_seconds is None or split.compute_seconds <= 0:
        return
    share = min(1.0, split.launch_seconds / split.compute_seconds)
    without_launching, without_device = (
        split.seconds / max(split.seconds - saved * split.compute_seconds, 1e-9) for saved in (share, 1 - share)
    )
    least, most = sorted((without_launching, without_device))
    shown = BALANCED if most <= BALANCED_WITHIN * least else LAUNCH if share > 1 - share else COMPUTE
    yield Sign(shown, f"for {share:.0%} of the time that its steps compute, nothing is left in the device's queue")


def _by_kernels(launching: Launching) -> Iterable[Sign]:
    share = launching.device_busy_share
    if share is not None:
        shown = LAUNCH if share < IDLE_BELOW else COMPUTE if share >= BUSY_FROM else None
        yield Sign(shown, f"in compute alone, the device's kernels take {share:.0%} of a step by torch's profiler")


def _by_batches(launching: Launching) -> Iterable[Sign]:
    other = launching.other_batch
    if other is not None:
        yield Sign(_kind_by_batch(other), batches_words(other))


def batches_words(other: OtherBatch) -> str:
    """Say what a step computes for with both batches."""
    times = [formatting.significant(1000 * each) for each in (other.step_seconds, other.other_step_seconds)]
    sizes = [formatting.significant(each) for each in (other.samples_per_step, other.other_samples_per_step)]
    subject = "compute alone takes" if other.alone else "while it trains, compute takes"
    return f"{subject} {times[0]} ms a step at {other.parameter} {sizes[0]} and {times[1]} ms at {sizes[1]}"


def _by_samples(launching: Launching) -> Iterable[Sign]:
    """NVML's share is of periods in which any kernel ran: a low one shows idleness, a high one nothing."""
    busy, computing = launching.card_busy_share, launching.computing_share
    if busy is None or computing is None:
        return
    said = f"NVML calls the card busy for {busy:.0%} of the last span, in which steps compute for {computing:.0%}"
    if busy < IDLE_BELOW * computing:
        yield Sign(LAUNCH, said)
    else:
        yield Sign(None, f"{said}: it counts any kernel, however small")


# ----------------------------------------------------------------------------------------------------- in sentences


def sentences(steps: SpanSteps, launching: Launching) -> list[str]:
    """Say what was seen of the last span's steps, what does not agree with it, and what helps."""
    if not launching.has_queue:
        return [*_on_cpu(steps, launching)]
    if steps.kind not in (LAUNCH, COMPUTE, BALANCED):
        return []
    found = signs(steps, launching, steps)
    agree = [sign.words for sign in found if sign.kind == steps.kind]
    against = [sign.words for sign in found if sign.kind not in (steps.kind, None)]
    neither = [sign.words for sign in found if sign.kind is None]
    if steps.kind == BALANCED:
        return [f"Its compute is as much launching as the device's work: {'; '.join(agree)}."] if agree else []
    if agree:
        said = [f"{WORDS[steps.kind]}: {'; '.join(agree)}."]
    else:
        said = [
            f"Whether compute is the device's work or launching it {'cannot be told' if neither else NOT_MEASURED}."
        ]
    said += [f"This does not agree: {'; '.join(against)}."] if against else []
    said += [f"This shows neither: {'; '.join(neither)}."] if neither else []
    return [*said, *_what_helps(launching)] if steps.kind == LAUNCH else said


def _what_helps(launching: Launching) -> Iterable[str]:
    other, larger = launching.other_batch, "larger batches"
    if other is not None and other.samples_per_step < other.other_samples_per_step:
        times = other.times_as_large / other.times_as_long
        if times > AS_LONG_WITHIN:
            larger += (
                f" ({other.parameter} {other.other_samples_per_step:g} computes {times:.1f} times as many samples/s)"
            )
    yield (
        f"What helps are {larger}, torch.compile or CUDA graphs, and fused optimisers, which launch less for each "
        "sample; faster arithmetic, a lower precision too, does not."
    )


def _on_cpu(steps: SpanSteps, launching: Launching) -> Iterable[str]:
    other = launching.other_batch
    if steps.kind == COMPUTE and other is not None and _kind_by_batch(other) == LAUNCH:
        yield (
            f"It is not arithmetic that its compute takes the time for: {batches_words(other)}. Larger batches and "
            "torch.compile help, a lower precision does not."
        )


def waits_for_arithmetic(found: Bottleneck) -> bool:
    """Whether the last span's steps compute, and nothing that was seen says that it is not arithmetic that they do."""
    other = found.launching.other_batch
    seen_otherwise = [sign for sign in signs(found.last, found.launching, found.last) if sign.kind == LAUNCH]
    by_batch = other is not None and _kind_by_batch(other) == LAUNCH
    return found.last.kind == COMPUTE and not seen_otherwise and not by_batch


def is_sure(found: Bottleneck) -> bool:
    """Whether something that was seen shows the last span's kind, where a device could also wait for launches."""
    shown = [sign.kind for sign in signs(found.last, found.launching, found.last)]
    return not found.launching.has_queue or found.last.kind in shown


def device_seconds(found: Bottleneck) -> float:
    """Return the part of the last span's compute that faster arithmetic shortens, as far as it is known."""
    split, busy = found.last.split, found.launching.device_busy_share
    if split.launch_seconds is not None:
        return max(0.0, split.compute_seconds - split.launch_seconds)
    return split.compute_seconds * (1.0 if busy is None else busy)
