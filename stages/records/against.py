"""What became of a run since a commit: every timed metric of every setting, and the limits that params.yaml sets.

Runs inside images: Python 3.7 syntax, standard library only.
"""

import dataclasses
from typing import Dict, Optional, Tuple

from stages.codec import check
from stages.records.comparison import VERDICTS

# 'kept': no worse than the limit in the mean. 'broken': worse in the mean, which may be chance. 'broken for sure': it
# is not. 'cannot say': too few repeats, a confounded comparison, or load that could have made it.
LIMIT_STATUSES = ("kept", "broken", "broken for sure", "cannot say")


@dataclasses.dataclass(frozen=True)
class Change:
    """A metric of a setting now, as a ratio to what it was then."""

    setting: str
    metric: str
    verdict: str  # of VERDICTS
    ratio: Optional[float]  # of geometric means; None where the setting can't be compared
    low: Optional[float]  # ends of the confidence interval
    high: Optional[float]
    is_regression: bool  # worse by more than the margin for sure
    words: str  # the verdict in a sentence: how much, how sure, and if it can't be said, why

    def __post_init__(self) -> None:
        check("verdict", self.verdict, self.verdict in VERDICTS, "one of " + ", ".join(VERDICTS))


@dataclasses.dataclass(frozen=True)
class Limit:
    """One of compare.thresholds in one setting: whether the metric became worse by more."""

    setting: str
    metric: str
    threshold: str  # as params.yaml has it: '5%', '-0.5 points'
    status: str  # of LIMIT_STATUSES
    change: Optional[float]  # a share for a threshold in percent, else in the metric's own unit; None: 'cannot say'
    low: Optional[float]  # ends of the confidence interval
    high: Optional[float]
    p_value: Optional[float]  # of being no worse than the threshold; corrected for all limits (Holm)
    words: str

    def __post_init__(self) -> None:
        check("status", self.status, self.status in LIMIT_STATUSES, "one of " + ", ".join(LIMIT_STATUSES))


@dataclasses.dataclass(frozen=True)
class Against:
    """`python -m stages.compare --against REV --json`: what changed since a commit of results."""

    revision: str
    job: str
    margin: float
    confidence: float  # of the intervals
    changes: Tuple[Change, ...]  # of timed metrics, a setting after the other
    why: Dict[str, Tuple[str, ...]]  # setting: which parts take longer or shorter, and what is not as it was
    predictions: Dict[str, str]  # setting: what became of its predictions of the same items
    gone: Tuple[str, ...]  # settings of then that there are no more
    kept: Dict[str, int]  # setting: how many of its repeats the commit holds too, the same; these are not compared
    limits: Tuple[Limit, ...]  # empty: compare.thresholds has none, and the margin decides
    exit_code: int  # 0: none is shown to be worse; 1: one is for sure; 2: it can't be told; 3: one may be
    conclusion: str
