"""Which site is faster: the session is the unit, and its repeats only say what its mean is.

Welch's test on the logarithm of each session's mean of a metric, with Holm's correction for the settings and sites that
are compared by it. What repeats of one session differ in is shown and not used: they share what a session as a whole is
faster or slower by (the card that it got, the heat of the room, its neighbours), so that a hundred of them are one.
"""

import dataclasses
import math
import statistics
from collections.abc import Iterator, Mapping, Sequence

from statsmodels.stats.multitest import multipletests

from stages.errors import FaceoffError
from stages.harness import formatting
from stages.harness.comparison import regression
from stages.harness.results.metrics import TOTAL, compared_samples, declared, timed
from stages.harness.sites import causes, cost, sessions
from stages.harness.sites.causes import Causes
from stages.harness.sites.intervals import interval
from stages.harness.sites.results import AtSite, CausesAt, Differing, SessionAt, SiteRatio, SitesComparison
from stages.harness.sites.sessions import Session
from stages.harness.statistics import verdicts
from stages.harness.statistics.estimates import CONFIDENCE, MIN_PAIRS
from stages.harness.statistics.welch import Welch, welch
from stages.records import Metric

Sites = Mapping[str, Sequence[Session]]
Key = tuple[str, str, str]  # site, setting, metric


def read(names: Sequence[str]) -> dict[str, list[Session]]:
    """Read the sites, the one that others are compared with first. Raises FaceoffError, one line."""
    if len({*names}) < 2 or len({*names}) < len(names):
        raise FaceoffError(f"--sites: expected at least two sites, each once, found {' '.join(names)}", exit_code=2)
    found = {name: sessions.of_site(name) for name in names}
    check_same(found)
    return found


def check_same(sites: Sites) -> None:
    """Raise FaceoffError where sessions are not of one job, on the same data and with the same variants."""
    every = [session for each in sites.values() for session in each]
    first = every[0]
    for each in every[1:]:
        then = dataclasses.replace(_run(each), machine=first.machine)
        regression.check_same(_run(first), then)
        changed = regression.code(each.job, first.job)
        if changed:
            raise FaceoffError(
                f"refused: {_run(each).name} ran other code: {changed[0]}; measure both with one", exit_code=2
            )
        for name, variant in each.params.variants.items():
            reference = first.params.variants.get(name)
            if reference is not None and reference != variant:
                raise FaceoffError(
                    f"refused: variant {name} of {_run(each).name} is not that of {_run(first).name}: it has "
                    f"{variant.parameters}, not {reference.parameters}, or other variables; measure both with one",
                    exit_code=2,
                )
    shared = [{cell.setting for each in found for cell in each.params.cells()} for found in sites.values()]
    if not any(shared[0] & each for each in shared[1:]):
        known = "; ".join(f"{site} has {', '.join(sorted(has))}" for site, has in zip(sites, shared, strict=True))
        raise FaceoffError(f"no setting is at {next(iter(sites))} and at another site: {known}", exit_code=2)


def _run(session: Session) -> regression.Run:
    return regression.Run(
        name=f"sites/{session.site}/{session.name}",
        machine=session.machine,
        data_sha256=session.data_sha256,
        job=session.job,
        profiles=session.profiles,
        results=session.results,
    )


def compare(sites: Sites, margin: float) -> SitesComparison:
    """Compare every site with the first one, in every setting that both have."""
    every = [session for each in sites.values() for session in each]
    job = every[0].job
    metrics = declared(job, [result for each in every for result in each.results])
    at_sites = {site: values(found, metrics) for site, found in sites.items()}
    baseline, *others = sites
    common = [(site, setting) for site in others for setting in at_sites[baseline] if setting in at_sites[site]]
    differing = {(site, setting): causes.between(sites[baseline], sites[site], setting) for site, setting in common}
    return SitesComparison(
        baseline=baseline,
        sites=tuple(sites),
        job=job.name,
        metrics=metrics,
        margin=margin,
        confidence=CONFIDENCE,
        warnings=tuple(_warnings(sites)),
        sessions=tuple(_at(session) for session in every),
        values=at_sites,
        against=_judged(sites, at_sites, common, differing, timed(metrics), margin),
        causes=tuple(_causes(*key, each) for key, each in differing.items() if each is not None),
        costs=tuple(cost.of_setting(sites[site], setting) for site in sites for setting in at_sites[site]),
        prices=cost.stated(sites),
    )


def values(found: Sequence[Session], metrics: Mapping[str, Metric]) -> dict[str, dict[str, AtSite]]:
    """Return every metric of every setting that ran at the site."""
    settings = dict.fromkeys(cell.setting for each in found for cell in each.params.cells())
    everything: dict[str, dict[str, AtSite]] = {}
    for setting in settings:
        here = {name: _at_site(found, setting, name, metric) for name, metric in metrics.items()}
        everything[setting] = {name: at for name, at in here.items() if at is not None}
    return {setting: each for setting, each in everything.items() if TOTAL in each}


def _at_site(found: Sequence[Session], setting: str, name: str, metric: Metric) -> AtSite | None:
    by_session = {
        each.name: [*compared_samples(each.of_setting(setting), name, each.job).values()]
        for each in found
        if each.of_setting(setting)
    }
    means = {session: statistics.fmean(each) for session, each in by_session.items() if each}
    if not means:
        return None
    middle, low, high = interval([*means.values()], logarithmic=metric.timed)
    return AtSite(means, middle, low, high, _within([each for each in by_session.values() if each]))


def _within(by_session: Sequence[Sequence[float]]) -> float | None:
    """Return the spread of repeats within their sessions, as a share of the mean; None without two of any session."""
    shares = [
        (len(each) - 1, statistics.stdev(each) / statistics.fmean(each))
        for each in by_session
        if len(each) > 1 and statistics.fmean(each) > 0
    ]
    freedom = sum(count for count, _ in shares)
    return math.sqrt(sum(count * share**2 for count, share in shares) / freedom) if freedom else None


def _judged(
    sites: Sites,
    values: Mapping[str, Mapping[str, Mapping[str, AtSite]]],
    common: Sequence[tuple[str, str]],
    differing: Mapping[tuple[str, str], Causes | None],
    metrics: Mapping[str, Metric],
    margin: float,
) -> tuple[SiteRatio, ...]:
    """Judge each timed metric of each setting that two sites have."""
    baseline = next(iter(sites))
    both: dict[Key, tuple[AtSite, AtSite]] = {
        (site, setting, name): (values[site][setting][name], values[baseline][setting][name])
        for site, setting in common
        for name in metrics
        if name in values[site][setting] and name in values[baseline][setting]
    }
    whys = {key: _why_not(sites, key, *pair) for key, pair in both.items()}
    tests = {
        key: welch([*here.sessions.values()], [*there.sessions.values()], margin)
        for key, (here, there) in both.items()
        if whys[key] is None
    }
    corrected = _holm({key: each.p_differs for key, each in tests.items()})
    found = []
    for key, (here, there) in both.items():
        if key in tests:
            comparisons = sum(each[2] == key[2] for each in tests)
            known = differing[key[:2]]
            words = _Words(baseline, len(here.sessions), len(there.sessions), margin, comparisons, known)
            found.append(_verdict(key, tests[key], corrected[key], metrics[key[2]], words))
        else:
            ratio = here.mean / there.mean if there.mean > 0 else 1.0
            found.append(SiteRatio(*key, ratio, None, None, None, "cannot say", f"cannot say: {whys[key]}"))
    return tuple(found)


def _why_not(sites: Sites, key: Key, here: AtSite, there: AtSite) -> str | None:
    """Say why nothing can be tested; None where it can."""
    site, setting, _ = key
    baseline = next(iter(sites))
    for name in (site, baseline):
        cells = [cell for each in sites[name] for cell in each.of_setting(setting)]
        failed = sum(cell.status == "failed" for cell in cells)
        if failed:
            return f"{failed} of the {formatting.count(len(cells), 'repeat')} at {name} failed"
    missing = {name: MIN_PAIRS - len(at.sessions) for name, at in ((site, here), (baseline, there))}
    more = [f"{formatting.count(each, 'more session')} of {name}" for name, each in missing.items() if each > 0]
    if more:
        return " and ".join(more)
    if min((*here.sessions.values(), *there.sessions.values())) <= 0:
        return "a session's mean is not above 0"
    return None


def _holm(p_values: Mapping[Key, float]) -> dict[Key, float]:
    """Correct for the sites and settings that are compared by the same metric."""
    found: dict[Key, float] = {}
    for name in dict.fromkeys(key[2] for key in p_values):
        keys = [key for key in p_values if key[2] == name]
        corrected = multipletests([p_values[key] for key in keys], method="holm")[1]
        found |= dict(zip(keys, map(float, corrected), strict=True))
    return found


@dataclasses.dataclass(frozen=True)
class _Words:
    """What a sentence on a comparison needs beside the test."""

    baseline: str
    sessions: int
    reference: int
    margin: float
    comparisons: int
    causes: Causes | None


def _verdict(key: Key, test: Welch, p_differs: float, metric: Metric, its: _Words) -> SiteRatio:
    site, setting, name = key
    said = verdicts.verdict(test.log_ratio, p_differs, 2 * test.p_within, metric.better)
    ratio, low, high = (math.exp(each) for each in (test.log_ratio, *test.interval))
    end = ""
    if said == "inconclusive":
        more = test.more_of_each(its.margin, its.comparisons)
        end = f"; {'more than 1000' if more is None else f'about {more}'} sessions of each would settle it"
    elif said != "equivalent":
        end = f"; {its.causes.words if its.causes else 'what differs is not known, without a profile'}"
    what = formatting.quantity(name, metric.better)
    words = (
        f"{formatting.verdict(name, said)}: {formatting.factor(ratio)} times the {what} at {its.baseline} ({formatting.confidence(CONFIDENCE)} "
        f"interval {formatting.factor(low)} to {formatting.factor(high)}, {its.sessions} against "
        f"{formatting.count(its.reference, 'session')}){end}"
    )
    return SiteRatio(site, setting, name, ratio, low, high, p_differs, said, words)


def _causes(site: str, setting: str, found: Causes) -> CausesAt:
    differences = tuple(Differing(each.what, each.b, each.a, each.cause) for each in found.differences)
    return CausesAt(site, setting, found.names, found.words, differences)


def _warnings(sites: Sites) -> Iterator[str]:
    """Yield what makes a site less than one thing: sessions of different machines, and few of them."""
    for site, found in sites.items():
        settings = dict.fromkeys(cell.setting for each in found for cell in each.params.cells())
        for setting in settings:
            names = causes.within(found, setting).names
            if names:
                yield f"sessions of {site} differ among themselves in {', '.join(names)} ({setting})"


def _at(session: Session) -> SessionAt:
    results = session.results
    return SessionAt(
        site=session.site,
        name=session.name,
        machine=formatting.machine(session.machine),
        began_at=min(each.train.started_at for each in results if each.train),
        whole=sum(each.status == "ok" for each in results),
        cells=len(results),
        warned=sum(any(stage.warnings for stage in each.stages) for each in results),
        billed_seconds=cost.billed_seconds(session),
    )
