"""The verdict on a setting in a sentence: how much, how sure, and where it can't be said, why."""

import math
from collections.abc import Mapping, Sequence

from stages.harness import formatting
from stages.harness.comparison import by_steps
from stages.harness.formatting import WHAT_IT_IS
from stages.harness.results.metrics import BEYOND, TOTAL, UNDISTURBED
from stages.harness.results.read import CellResult
from stages.harness.statistics.estimates import CONFIDENCE
from stages.records import BEGAN_ANEW, Job, PairedPredictions, Ratio, Result

# Of the statuses of repeats that have no metrics, what they mean in a sentence.
WITHOUT_METRICS = {
    "failed": "its repeats failed",
    "refused": "its results are of other params",
    "unsupported": "it is not supported here",
    "trained": "it is not evaluated yet",
    "missing": "it has no results",
    "partial": "it has no repeat in common with the baseline",
    "ok": "the baseline has no repeat in common with it",
}


def words(ratios: Mapping[str, Ratio], status: str, predicted: PairedPredictions | None, margin: float) -> str:
    """Say the verdict on a setting that is compared with the baseline by these metrics."""
    total, by = ratios.get(TOTAL), by_steps.decisive(ratios)
    if total is None:
        return f"cannot say: {WITHOUT_METRICS[status]}"
    found = ratios[by]
    whose = "the time of the baseline's steps" if by == UNDISTURBED else "the baseline's time"
    amount = f"{formatting.factor(found.mean)} times {whose} ({_sureness(found)})"
    if found.verdict == "cannot say":
        how = "as measured" if found.low is None else "without the drift"
        return f"cannot say: {found.reason}; {how}, {amount}{of_predictions(predicted)}"
    said = f"{found.verdict} by its steps" if by == UNDISTURBED else found.verdict
    if found.verdict == "faster" and predicted is not None and predicted.verdict == "worse":
        said = f"{said}, but worse, which is no win"
    end = f", within the margin of {100 * margin:g}%" if found.verdict == "equivalent" else ""
    end += _what_would_settle(ratios) if found.verdict == "inconclusive" else _of_the_other(ratios, by)
    return f"{said}: {amount}{end}{of_predictions(predicted)}"


def _what_would_settle(ratios: Mapping[str, Ratio]) -> str:
    """Say it of a total that is inconclusive: how many repeats, or of its steps, where they ask for fewer."""
    total, steps = ratios[TOTAL], ratios.get(UNDISTURBED)
    asked = steps.more_repeats if steps and steps.verdict == total.verdict else None
    if steps and asked and asked < (total.more_repeats or math.inf):
        return f"; {WHAT_IT_IS[UNDISTURBED]}: {formatting.ratio(steps)}, {steps.reason}"
    return f"; {total.reason}{_of_the_other(ratios, TOTAL)}"


def _of_the_other(ratios: Mapping[str, Ratio], by: str) -> str:
    """Say what the metric that does not decide tells, where that is something else."""
    name = TOTAL if by == UNDISTURBED else UNDISTURBED
    other = ratios.get(name)
    if other is None or other.verdict == ratios[by].verdict:
        return ""
    said = f"; {WHAT_IT_IS[name]}: {other.verdict}, {formatting.ratio(other)}"
    if by_steps.opposed(ratios) and ratios[by].verdict == "inconclusive":
        said += f"; {WHAT_IT_IS[BEYOND]}: {ratios[BEYOND].verdict}, so the total has to weigh the two"
    return said


def _sureness(total: Ratio) -> str:
    pairs = formatting.count(len(total.pairs), "pair")
    if total.low is None or total.high is None:
        return pairs
    interval = f"{formatting.factor(total.low)} to {formatting.factor(total.high)}"
    return f"{formatting.confidence(CONFIDENCE)} interval {interval}, {pairs}"


def of_predictions(found: PairedPredictions | None, there: str = "with the baseline") -> str:
    """Say what became of the predictions, to be appended; nothing without such of both."""
    if found is None or found.p_value is None:
        return ""
    changed = found.only_here_right + found.only_baseline_right
    if found.verdict == "no difference shown":
        return (
            f"; {changed} of {formatting.count(found.items, 'prediction')} changed side, "
            "which shows no difference in accuracy"
        )
    return (
        f"; {found.verdict} at predicting: {found.only_here_right} items are right only here, "
        f"{found.only_baseline_right} only {there} (p {_p(found.p_value)})"
    )


def _p(value: float) -> str:
    shown = formatting.probability(value)
    return shown if shown.startswith("<") else f"= {shown}"


def not_given(group: Sequence[CellResult], job: Job) -> tuple[str, ...]:
    """Name what the job does not give, of a setting that ran, with what is not shown for want of it."""
    trained = [result.train for result in group if result.train]
    if not trained:
        return ()
    spans = [span for train in trained for span in train.spans]
    split = [span for span in spans if span.split]
    lacks = {
        "an evaluation (job.yaml has no `evaluate`)": job.evaluate is None,
        "spans (so no curves, no samples/s, and not where its time went)": not spans,
        "values of its spans (so no curves)": spans and not any(span.values for span in spans),
        "samples of its spans (so no samples/s)": spans and all(span.samples is None for span in spans),
        "a split of its spans (so not whether it waits for its loader or computes)": spans and not split,
        "samples and steps of its spans with a split (so not what holds it back)":
            split and not any(span.samples and span.steps for span in split),
        "ceilings (so not what its loader and its compute reach alone)":
            split and not any(train.ceilings for train in trained),
        "predictions (so they are not compared)":
            any(each.status == "ok" for each in group) and not any(each.right for each in group),
    }  # fmt: skip
    return (*(words for words, is_lacking in lacks.items() if is_lacking), *(() if spans else _notes(trained)))


def caveats(group: Sequence[CellResult]) -> tuple[str, ...]:
    """Return what is to be known of spans that were seen from outside."""
    trained = [result.train for result in group if result.train and result.train.spans]
    return _notes(trained)


def _notes(trained: Sequence[Result]) -> tuple[str, ...]:
    """Leave out that a training began anew, which changes nothing of its times."""
    found = dict.fromkeys(note for train in trained for note in train.notes)
    return tuple(note for note in found if not note.startswith(BEGAN_ANEW))
