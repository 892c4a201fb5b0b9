"""What came out of every setting, and how it compares with the baseline.

Runs inside images: Python 3.7 syntax, standard library only.
"""

import dataclasses
from typing import Dict, Optional, Tuple

from stages.codec import check
from stages.records.environment import Machine
from stages.records.training import STATUSES, Recipe, Split

# Of a setting: a cell's statuses, and 'partial' (some repeats ran whole), 'refused' (the result is of other params) and
# 'missing' (no result).
SETTING_STATUSES = (*STATUSES, "partial", "refused", "missing")
# Of a ratio to the baseline. 'equivalent': the interval lies within the margin. 'inconclusive': more repeats would
# settle it. 'cannot say': too few pairs, a confounded comparison, or cells that failed.
VERDICTS = ("baseline", "faster", "slower", "equivalent", "inconclusive", "cannot say")
ACCURACY_VERDICTS = ("better", "worse", "no difference shown")
BOTTLENECKS = ("input-bound", "compute-bound", "balanced")


@dataclasses.dataclass(frozen=True)
class Summary:
    """One figure of one setting, over the repeats that ran whole."""

    samples: Dict[str, float]  # repeat: value, raw
    mean: float
    spread: Optional[float]  # sample standard deviation; None with one sample


@dataclasses.dataclass(frozen=True)
class Ratio:
    """One figure of one setting divided by the baseline's of the same repeat, and what that says."""

    pairs: Dict[str, float]  # repeat: quotient, raw
    mean: float  # geometric, after drift is taken out
    low: Optional[float]  # ends of the confidence interval; None with too few pairs
    high: Optional[float]
    # That there is no difference; corrected for how many settings are compared by this figure (Holm) and multiplied for
    # looks, by 2 at the first. The interval is corrected for neither. None where nothing is tested.
    p_value: Optional[float]
    verdict: str  # of VERDICTS
    reason: Optional[str]  # why it 'cannot say', or what would settle it; None where it is settled
    more_repeats: Optional[int]  # that would settle it; None where it is settled or can't be

    def __post_init__(self) -> None:
        check("verdict", self.verdict, self.verdict in VERDICTS, "one of " + ", ".join(VERDICTS))


@dataclasses.dataclass(frozen=True)
class PairedAccuracy:
    """Predictions of the same photos by a setting and by the baseline: McNemar's exact test."""

    photos: int  # compared; each counts once, for the side that told it right in more of the repeats
    only_here_right: int  # the photos that changed side, and to which
    only_baseline_right: int
    p_value: Optional[float]  # corrected for the number of comparisons (Holm)
    verdict: str  # of ACCURACY_VERDICTS


@dataclasses.dataclass(frozen=True)
class PhaseSteps:
    """The training steps of one phase, over the repeats that ran whole: where their time went, what holds them back."""

    kind: str  # of BOTTLENECKS
    split: Split  # summed over epochs and repeats
    images_per_second: float  # reached
    possible_speedup: float  # of the steps, if what holds them back took no time at all

    def __post_init__(self) -> None:
        check("kind", self.kind, self.kind in BOTTLENECKS, "one of " + ", ".join(BOTTLENECKS))


@dataclasses.dataclass(frozen=True)
class Bottleneck:
    """What holds a setting's training back, from its splits and ceilings, over the repeats that ran whole."""

    phases: Dict[str, PhaseSteps]  # in the order in which they ran
    loader_images_per_second: float  # medians of the repeats' ceilings
    compute_images_per_second: float  # of the network as it was trained last: to compare with the last phase alone

    @property
    def last(self) -> PhaseSteps:
        """The phase that the ceilings belong to."""
        return list(self.phases.values())[-1]


@dataclasses.dataclass(frozen=True)
class CurvePoint:
    """One epoch of a setting: means over the repeats that ran whole."""

    epoch: int  # counted from 1 over all phases
    phase: str
    train_loss: float
    valid_loss: float
    accuracy: float  # share of validation photos told right, without TTA


@dataclasses.dataclass(frozen=True)
class SettingFigures:
    """What came out of one setting, and how it compares with the baseline."""

    setting: str
    status: str  # of SETTING_STATUSES
    reasons: Dict[str, str]  # repeat that gave no figures: its status and why
    devices: Tuple[str, ...]  # that the repeats ran on: 'cpu', or the name of a GPU
    algorithms: Tuple[str, ...]  # what the precision was, in the repeats that say so
    figures: Dict[str, Summary]
    ratios: Dict[str, Ratio]  # of TIMED figures
    verdict: str  # of VERDICTS: the total time's, or 'cannot say' where there is no such ratio
    words: str  # the verdict in a sentence: how much, how sure, and if it can't be said, why
    accuracy: Optional[PairedAccuracy]  # None for the baseline, and without predictions of both
    bottleneck: Optional[Bottleneck]  # None where no repeat ran whole
    curve: Tuple[CurvePoint, ...]  # empty likewise
    differences: Tuple[str, ...]  # from the baseline's environment beside what its name says: 'torch 1.2.0, not 2.14.1'
    explanation: Tuple[str, ...]  # sentences: why it is faster or slower, or that the figures don't explain it
    warnings: Tuple[str, ...]  # drift, outliers, warm-up, load: what casts doubt on its times

    def __post_init__(self) -> None:
        check("status", self.status, self.status in SETTING_STATUSES, "one of " + ", ".join(SETTING_STATUSES))
        check("verdict", self.verdict, self.verdict in VERDICTS, "one of " + ", ".join(VERDICTS))


@dataclasses.dataclass(frozen=True)
class Comparison:
    """metrics/comparison.json: every setting of params.yaml, figures of what ran whole, ratios to the baseline."""

    baseline: str
    recipe: Recipe
    dataset_sha256: str
    margin: float  # a ratio within 1 / (1 + margin) and 1 + margin is as good as equal
    confidence: float  # of the intervals, e.g. 0.95
    machine: Machine  # that compares, and that measured
    warnings: Tuple[str, ...]  # what concerns the whole run
    settings: Tuple[SettingFigures, ...]
