"""What sites are compared by, and what came out: records of reports/sites.json."""

import dataclasses
from pathlib import Path

from stages.codec import check
from stages.records import VERDICTS, Metric

SITES_PATH, SITES_PAGE_PATH = Path("reports/sites.json"), Path("reports/sites.html")


@dataclasses.dataclass(frozen=True)
class AtSite:
    """One metric of one setting at one site: a session counts once, however many repeats it had."""

    sessions: dict[str, float]  # session: mean over its repeats
    mean: float  # of a timed metric geometric, over sessions
    low: float | None  # ends of its confidence interval; None with fewer than 3 sessions
    high: float | None
    within: float | None  # standard deviation of the repeats of a session, as a share of its mean; shown, not used


@dataclasses.dataclass(frozen=True)
class SiteRatio:
    """One timed metric of one setting at a site, divided by the first site's."""

    site: str
    setting: str
    metric: str
    ratio: float
    low: float | None  # ends of the confidence interval; None where nothing is tested
    high: float | None
    p_value: float | None  # corrected by Holm for the comparisons by this metric
    verdict: str  # of VERDICTS
    words: str  # the verdict in a sentence

    def __post_init__(self) -> None:
        check("verdict", self.verdict, self.verdict in VERDICTS, "one of " + ", ".join(VERDICTS))


@dataclasses.dataclass(frozen=True)
class Differing:
    """One thing that is not the same at two sites."""

    what: str
    here: str
    there: str
    cause: str  # that it is put down to; '' where it decides no timing, or is unknown on one side


@dataclasses.dataclass(frozen=True)
class CausesAt:
    """What may be why a setting is faster at the site than at the first one."""

    site: str
    setting: str
    names: tuple[str, ...]
    words: str
    differences: tuple[Differing, ...]


@dataclasses.dataclass(frozen=True)
class SessionAt:
    """One session of a site, in what tells it from others."""

    site: str
    name: str
    machine: str  # in words
    began_at: str  # its first training
    whole: int  # cells that ran whole
    cells: int
    warned: int  # cells with a warning: what casts doubt on their times
    billed_seconds: float  # from its begin to its end, pauses left out


@dataclasses.dataclass(frozen=True)
class Cost:
    """What a setting costs at a site: the table of `sky bench`, with certainty. Nothing where no price is stated."""

    site: str
    setting: str
    currency: str | None  # None: no price is stated, or not in one currency
    why_not: str | None  # that there is no price
    duration_seconds: float  # of a session as billed, in the mean
    session: float | None  # price of a session as billed, in the mean
    seconds_per_step: float | None
    per_step: float | None
    run_seconds: float  # of one run of the setting, geometric mean over sessions
    run_low: float | None
    run_high: float | None
    per_run: float | None
    per_run_low: float | None
    per_run_high: float | None
    run_as_billed: float | None  # a session's price, divided among its runs by their time
    per_thousand_samples: float | None
    reached: dict[str, float]  # what the runs reached for it: the job's own metrics that are no times


@dataclasses.dataclass(frozen=True)
class SitesComparison:
    """reports/sites.json: settings at several sites, against the first of them."""

    baseline: str  # a site
    sites: tuple[str, ...]
    job: str
    metrics: dict[str, Metric]
    margin: float
    confidence: float
    warnings: tuple[str, ...]
    sessions: tuple[SessionAt, ...]
    values: dict[str, dict[str, dict[str, AtSite]]]  # site: setting: metric
    against: tuple[SiteRatio, ...]
    causes: tuple[CausesAt, ...]
    costs: tuple[Cost, ...]
    prices: dict[str, str]  # site: what is stated, by whom and when
