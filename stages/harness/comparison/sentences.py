"""The verdict on a setting in a sentence: how much, how sure, and where it can't be said, why."""

from stages.harness import formatting
from stages.harness.statistics.estimates import CONFIDENCE
from stages.records import PairedAccuracy, Ratio

# Of the statuses of repeats that have no figures, what they mean in a sentence.
WITHOUT_FIGURES = {
    "failed": "its repeats failed",
    "refused": "its results are of other params",
    "unsupported": "it is not supported here",
    "missing": "it has no results",
    "partial": "it has no repeat in common with the baseline",
    "ok": "the baseline has no repeat in common with it",
}


def words(total: Ratio | None, status: str, accuracy: PairedAccuracy | None, margin: float) -> str:
    """Of a setting that is compared with the baseline; `total` is its ratio of total times."""
    if total is None:
        return f"cannot say: {WITHOUT_FIGURES[status]}"
    amount = f"{formatting.factor(total.mean)} times the baseline's time ({_sureness(total)})"
    if total.verdict == "cannot say":
        how = "as measured" if total.low is None else "without the drift"
        return f"cannot say: {total.reason}; {how}, {amount}{told(accuracy)}"
    end = {
        "equivalent": f", within the margin of {100 * margin:g}%",
        "inconclusive": f"; {total.reason}",
    }.get(total.verdict, "")
    if total.verdict == "faster" and accuracy is not None and accuracy.verdict == "worse":
        return f"faster, but worse, which is no win: {amount}{told(accuracy)}"
    return f"{total.verdict}: {amount}{end}{told(accuracy)}"


def _sureness(total: Ratio) -> str:
    pairs = formatting.count(len(total.pairs), "pair")
    if total.low is None or total.high is None:
        return pairs
    interval = f"{formatting.factor(total.low)} to {formatting.factor(total.high)}"
    return f"{formatting.confidence(CONFIDENCE)} interval {interval}, {pairs}"


def told(found: PairedAccuracy | None, there: str = "with the baseline") -> str:
    """What is said of accuracy, to be appended."""
    if found is None or found.p_value is None:
        return "; accuracy is not compared, for want of predictions of both"
    changed = found.only_here_right + found.only_baseline_right
    if found.verdict == "no difference shown":
        return (
            f"; {changed} of {formatting.count(found.photos, 'photo')} changed side, "
            "which shows no difference in accuracy"
        )
    return (
        f"; {found.verdict} at telling the photos: {found.only_here_right} are right only here, "
        f"{found.only_baseline_right} only {there} (p {_p(found.p_value)})"
    )


def _p(value: float) -> str:
    shown = formatting.probability(value)
    return shown if shown.startswith("<") else f"= {shown}"
