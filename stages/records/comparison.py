"""What the face-off found: every setting's metrics, ratios to the baseline, verdicts, and why.

Runs inside images: Python 3.7 syntax, standard library only.
"""

import dataclasses
from pathlib import Path
from typing import Dict, Optional, Tuple

from stages.codec import check
from stages.contract import Split
from stages.records.environment import Machine
from stages.records.job import Metric
from stages.records.results import STATUSES

COMPARISON_PATH = Path("metrics/comparison.json")
RESULTS_PATH = Path("metrics/results.csv")
SCORECARD_PATH = Path("metrics/scorecard.json")
CURVES_PATH = Path("metrics/curves.csv")
REPORT_PATH = Path("reports/faceoff.md")
PAGE_PATH = Path("reports/faceoff.html")

# Of a setting: a cell's statuses, and 'partial' (some repeats ran whole), 'trained' (trained and not evaluated yet),
# 'refused' (the result is of other params) and 'missing' (no result).
SETTING_STATUSES = (*STATUSES, "partial", "trained", "refused", "missing")
# Of a ratio to the baseline. 'equivalent': the interval lies within the margin. 'inconclusive': more repeats would
# settle it. 'cannot say': too few pairs, a confounded comparison, or cells that failed.
VERDICTS = ("baseline", "faster", "slower", "equivalent", "inconclusive", "cannot say")
PREDICTION_VERDICTS = ("better", "worse", "no difference shown")
BOTTLENECKS = ("input-bound", "copy-bound", "launch-bound", "compute-bound", "balanced")


@dataclasses.dataclass(frozen=True)
class Summary:
    """One metric of one setting, over the repeats that ran whole."""

    samples: Dict[str, float]  # repeat: value, raw
    mean: float
    spread: Optional[float]  # sample standard deviation; None with one sample


@dataclasses.dataclass(frozen=True)
class Ratio:
    """One metric of one setting divided by the baseline's of the same repeat, and what that says."""

    pairs: Dict[str, float]  # repeat: quotient, raw
    mean: float  # geometric, after drift is taken out
    low: Optional[float]  # ends of the confidence interval; None with too few pairs
    high: Optional[float]
    # That there is no difference; corrected for how many settings are compared by this metric (Holm) and multiplied for
    # looks, by 2 at the first. The interval is corrected for neither. None where nothing is tested.
    p_value: Optional[float]
    verdict: str  # of VERDICTS
    reason: Optional[str]  # why it 'cannot say', or what would settle it; None where it is settled
    likely_repeats: Optional[int]  # that would settle it as likely as not; None where it is settled or can't be
    more_repeats: Optional[int]  # that would settle it in nine of ten cases

    def __post_init__(self) -> None:
        check("verdict", self.verdict, self.verdict in VERDICTS, "one of " + ", ".join(VERDICTS))


@dataclasses.dataclass(frozen=True)
class PairedPredictions:
    """Predictions of the same items by a setting and by the baseline: McNemar's exact test."""

    items: int  # compared; each counts once, for the side that was right about it in more of the repeats
    only_here_right: int  # the items that changed side, and to which
    only_baseline_right: int
    p_value: Optional[float]  # corrected for the number of comparisons (Holm)
    verdict: str  # of PREDICTION_VERDICTS


@dataclasses.dataclass(frozen=True)
class SpanSteps:
    """The steps of all spans of one name, over the repeats that ran whole: where their time went."""

    kind: str  # of BOTTLENECKS
    split: Split  # summed over spans and repeats
    steps: int
    samples_per_second: float  # reached

    def __post_init__(self) -> None:
        check("kind", self.kind, self.kind in BOTTLENECKS, "one of " + ", ".join(BOTTLENECKS))


@dataclasses.dataclass(frozen=True)
class OtherBatch:
    """A setting of the same image that differs in the size of its batches alone, and what a step computes in both."""

    setting: str
    parameter: str  # in which the two differ
    samples_per_step: float
    other_samples_per_step: float
    step_seconds: float  # of compute
    other_step_seconds: float
    alone: bool  # compute alone, as the ceilings tell it; else that of the last span

    @property
    def times_as_large(self) -> float:
        """The larger batch divided by the smaller one."""
        return max(self.samples_per_step, self.other_samples_per_step) / min(
            self.samples_per_step, self.other_samples_per_step
        )

    @property
    def times_as_long(self) -> float:
        """The step of the larger batch divided by that of the smaller one."""
        quotient = self.step_seconds / self.other_step_seconds
        return quotient if self.samples_per_step > self.other_samples_per_step else 1 / quotient


@dataclasses.dataclass(frozen=True)
class Launching:
    """What tells whether the device waits for the host to launch work, beside launch_seconds; null: not known."""

    has_queue: bool = False  # whether work is launched on a device and done later; a CPU does it at once
    device_busy_share: Optional[float] = None  # medians of the repeats: of the ceilings
    card_busy_share: Optional[float] = None  # NVML's, sampled while the last span ran: of the busiest card
    computing_share: Optional[float] = None  # of the last span's time, that its steps compute: what to compare it with
    other_batch: Optional[OtherBatch] = None


@dataclasses.dataclass(frozen=True)
class Bottleneck:
    """What holds a setting's training back, from its splits and ceilings, over the repeats that ran whole."""

    spans: Dict[str, SpanSteps]  # by name, in the order in which they ran
    loader_samples_per_second: Optional[float]  # medians of the repeats' ceilings; None: the job gives none
    compute_samples_per_second: Optional[float]  # as trained last: to compare with the last span alone
    launching: Launching = Launching()  # likewise of the last span

    @property
    def last(self) -> SpanSteps:
        """The spans that the ceilings belong to."""
        return list(self.spans.values())[-1]


@dataclasses.dataclass(frozen=True)
class CurvePoint:
    """One span of a setting that says values: means over the repeats that ran whole."""

    epoch: int  # counted from 1 over all spans with values
    span: str
    values: Dict[str, float]


@dataclasses.dataclass(frozen=True)
class SettingResult:
    """What came out of one setting, and how it compares with the baseline."""

    setting: str
    status: str  # of SETTING_STATUSES
    reasons: Dict[str, str]  # repeat that gave no metrics, or not all: its status and why
    devices: Tuple[str, ...]  # that the repeats ran on: 'cpu', or the name of a GPU; empty: not known
    facts: Dict[str, Tuple[str, ...]]  # that the job said of itself, each value once: number_format: (bf16,)
    metrics: Dict[str, Summary]
    ratios: Dict[str, Ratio]  # of timed metrics
    verdict: str  # of VERDICTS: that of the metric `verdict_by`, or 'cannot say' where there is no ratio
    verdict_by: str  # 'total_seconds', or 'undisturbed_seconds' where that alone is settled
    words: str  # the verdict in a sentence: how much, how sure, and if it can't be said, why
    predictions: Optional[PairedPredictions]  # None for the baseline, and without predictions of both
    bottleneck: Optional[Bottleneck]  # None where no repeat ran whole, or the job gives no split
    curve: Tuple[CurvePoint, ...]  # empty where the job gives no values
    differences: Tuple[str, ...]  # from the baseline's environment beside what its name says: 'torch 1.2.0, not 2.14.1'
    explanation: Tuple[str, ...]  # sentences: why it is faster or slower, or that what was measured doesn't explain it
    warnings: Tuple[str, ...]  # drift, outliers, warm-up, load: what casts doubt on its times
    not_given: Tuple[str, ...]  # sentences: what the job does not give, and so is not shown

    def __post_init__(self) -> None:
        check("status", self.status, self.status in SETTING_STATUSES, "one of " + ", ".join(SETTING_STATUSES))
        check("verdict", self.verdict, self.verdict in VERDICTS, "one of " + ", ".join(VERDICTS))


@dataclasses.dataclass(frozen=True)
class Comparison:
    """metrics/comparison.json: every setting of params.yaml, metrics of what ran whole, ratios to the baseline."""

    baseline: str
    job: str
    total: Tuple[str, ...]  # what the total time is made of: records.WALL, or names of spans
    metrics: Dict[str, Metric]  # all that any setting has, in the order in which they are shown
    data_sha256: str
    margin: float  # a ratio within 1 / (1 + margin) and 1 + margin is as good as equal
    confidence: float  # of the intervals, e.g. 0.95
    machine: Machine  # that compares, and that measured
    warnings: Tuple[str, ...]  # what concerns the whole run
    settings: Tuple[SettingResult, ...]
