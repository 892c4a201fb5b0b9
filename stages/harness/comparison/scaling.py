"""Which scaling a setting with another number of GPUs shows: weak (as much a step for each), or strong (in all).

Of one image, and of variants that differ beside `gpus` in one parameter at most, that of the batch.
"""

from collections.abc import Mapping, Sequence

from stages.harness import formatting
from stages.harness.comparison import as_run
from stages.harness.results.metrics import RATE
from stages.harness.results.read import CellResult
from stages.records import Ratio, Variant

WITHIN = 0.1  # of a step's samples, to be as many: the last batch of a pass is smaller


def sentences(setting: Sequence[CellResult], baseline: Sequence[CellResult], ratios: Mapping[str, Ratio]) -> list[str]:
    """Name the scaling, and what became of the samples per second for each; where it can't be told, that."""
    here, there = (as_run.variant(each) for each in (setting, baseline))
    same_image = setting[0].cell.image == baseline[0].cell.image
    if here is None or there is None or here.gpus == there.gpus or not same_image:
        return []
    what = "GPU" if _on_cards(setting) and _on_cards(baseline) else "process"
    numbers = f"{formatting.count(here.gpus, what)} in place of {there.gpus}"
    ours, theirs = (_samples_per_step(each) for each in (setting, baseline))
    if not _differ_in_batch_alone(here, there, ours / theirs if ours and theirs else None):
        return []
    if ours is None or theirs is None:
        return [
            f"{numbers}: whether this is weak or strong scaling cannot be told: the samples and steps of a span are "
            "not known."
        ]
    more = here.gpus / there.gpus
    if _near(ours / theirs, more):
        name, batches = "Weak", f"and {ours:.0f} samples a step in place of {theirs:.0f}"
    elif _near(ours / theirs, 1):
        name, batches = "Strong", f"for the same {theirs:.0f} samples a step"
    else:
        return [
            f"{numbers}, and {ours:.0f} samples a step in place of {theirs:.0f}: neither weak scaling, which has "
            f"{more * theirs:.0f}, nor strong, which has {theirs:.0f}."
        ]
    return [f"{name} scaling: {numbers}, {batches}{_rate(ratios.get(RATE), more, what)}."]


def _rate(rate: Ratio | None, more: float, what: str) -> str:
    if rate is None or rate.verdict == "cannot say":
        return ""
    return f": {rate.mean:.2f} times the samples/s, {rate.mean / more:.0%} of the baseline's for each {what}"


def _differ_in_batch_alone(here: Variant, there: Variant, as_many: float | None) -> bool:
    """Whether no parameter is unlike, or one that goes with the samples of a step, in all or for each process.

    `as_many`: a step's samples divided by the other's; None: not known.
    """
    names = {*here.parameters, *there.parameters}
    unlike = [name for name in names if here.parameters.get(name) != there.parameters.get(name)]
    values = [each.parameters.get(name) for name in unlike for each in (here, there)]
    numbers = [value for value in values if isinstance(value, int | float) and value > 0]
    if len(numbers) < len(values) or len(unlike) > 1:
        return False
    if not numbers or as_many is None:
        return True
    ratio = numbers[0] / numbers[1]
    return _near(ratio, as_many) or _near(ratio, as_many * there.gpus / here.gpus)


def _on_cards(results: Sequence[CellResult]) -> bool:
    return any(each.train and each.train.gpu_uuids for each in results)


def _samples_per_step(results: Sequence[CellResult]) -> float | None:
    """Return how many a step had on all of its processes, in the first span that tells: a validation follows it."""
    counted = [span for each in results if each.train for span in each.train.spans if span.steps]
    spans = [(span.samples, span.steps or 0) for span in counted if span.name == counted[0].name]
    samples = [samples for samples, _ in spans if samples]
    return sum(samples) / sum(steps for _, steps in spans) if samples and len(samples) == len(spans) else None


def _near(found: float, wanted: float) -> bool:
    return abs(found / wanted - 1) <= WITHIN
