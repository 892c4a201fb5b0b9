"""A run against a commit: what changed, which thresholds broke, and the exit code that says so."""

from collections.abc import Sequence

from stages.harness.comparison import limits, regression, since
from stages.harness.comparison.regression import Run
from stages.harness.params.schema import CompareParams
from stages.harness.statistics.estimates import CONFIDENCE
from stages.records import Against, Change


def judge(now: Run, then: Run, rules: CompareParams) -> Against:
    """Compare the two. Raises FaceoffError where they are not of the same machine, job and data."""
    regression.check_same(now, then)
    changes = regression.changes(now, then, rules.margin)
    judged = limits.judge(now, then, rules.thresholds, changes)
    code, conclusion = _by_margin(changes, then.name, rules.margin)
    if judged:
        code, conclusion = limits.exit_code(judged), limits.conclusion(judged, then.name)
    return Against(
        revision=then.name,
        job=now.job.name,
        margin=rules.margin,
        confidence=CONFIDENCE,
        changes=changes,
        why=since.why(now, then, changes),
        predictions=regression.predicted(now, then),
        gone=regression.gone(now, then),
        kept=regression.kept(now, then),
        limits=judged,
        exit_code=code,
        conclusion=conclusion,
    )


def _by_margin(changes: Sequence[Change], revision: str, margin: float) -> tuple[int, str]:
    """Return the exit code and the last line where no thresholds are set."""
    slower = [f"{each.setting} ({each.metric})" for each in changes if each.is_regression]
    unknown = limits.unsettled(changes)
    if slower:
        return 1, f"Slower than in {revision} by more than {100 * margin:g}%: {', '.join(slower)}."
    if unknown:
        return 2, f"Not to be told: {', '.join(unknown)}."
    return 0, f"Nothing is shown to be slower than in {revision} by more than {100 * margin:g}%."
