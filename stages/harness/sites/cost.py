"""What a run costs at a site, by the price that its sessions state: the table of `sky bench`, with certainty added.

A price is what somebody has read and written into params.yaml; none is downloaded, and no verdict knows of one.
"""

import statistics
from collections.abc import Callable, Mapping, Sequence

from stages.contract import Span
from stages.harness.params.schema import PriceParams
from stages.harness.results.metrics import (
    BLOCK_PAUSE,
    MEMORY,
    RATE,
    TOGETHER,
    TOTAL,
    declared,
    repeat_seconds,
    samples,
)
from stages.harness.sites.intervals import interval
from stages.harness.sites.results import Cost
from stages.harness.sites.sessions import Session, moment

LONGEST_SETUP = 86400.0  # seconds from a session's begin to its first training; what is longer was another run


def of_setting(found: Sequence[Session], setting: str) -> Cost:
    """Return what the setting took and cost at the site, in the mean over its sessions."""
    ran = {each.name: each for each in found if samples(each.of_setting(setting), TOTAL, each.job)}
    chosen = [*ran.values()]
    why_not = _why_not(chosen)
    prices = {each.name: each.params.provider.price for each in chosen} if why_not is None else {}

    def priced(seconds: Callable[[Session], float | None]) -> list[float]:
        """Price each session's seconds, of those that have them."""
        there = ((price, seconds(ran[name])) for name, price in prices.items())
        return [price.per_second * each for price, each in there if price is not None and each is not None]

    runs = interval([_run_seconds(each, setting) for each in chosen], logarithmic=True)
    steps = [each for each in (_seconds_per_step(session, setting) for session in chosen) if each is not None]
    costs = priced(lambda each: _run_seconds(each, setting))
    per_run = interval(costs, logarithmic=True) if costs else (None, None, None)
    first = next((each for each in prices.values() if each), None)
    return Cost(
        site=chosen[0].site,
        setting=setting,
        currency=first.currency if first else None,
        why_not=why_not,
        duration_seconds=statistics.fmean(map(billed_seconds, chosen)),
        session=_mean(priced(billed_seconds)),
        seconds_per_step=_mean(steps),
        per_step=_mean(priced(lambda each: _seconds_per_step(each, setting))),
        run_seconds=runs[0],
        run_low=runs[1],
        run_high=runs[2],
        per_run=per_run[0],
        per_run_low=per_run[1],
        per_run_high=per_run[2],
        run_as_billed=_mean(priced(lambda each: _share_of_session(each, setting))),
        per_thousand_samples=_mean(priced(lambda each: _seconds_per_thousand(each, setting))),
        reached=_reached(chosen, setting),
    )


def stated(sites: Mapping[str, Sequence[Session]]) -> dict[str, str]:
    """Say of each site what is stated of its price, each statement once."""
    found = {}
    for site, its in sites.items():
        prices = dict.fromkeys(each.params.provider.price for each in its)
        found[site] = "; ".join(_words(each) for each in prices)
    return found


def billed_seconds(session: Session) -> float:
    """Return how long the session took, from its begin to the end of its last cell.

    A pause longer than a repeat is not in it: the work went on in another session of the provider's, or another day.
    """
    runs = sorted(
        (moment(stage.started_at).timestamp(), stage.wall_seconds) for each in session.results for stage in each.stages
    )
    pause = max(BLOCK_PAUSE, repeat_seconds(session.results))
    began = ended = runs[0][0]
    total = 0.0
    for start, seconds in runs:
        if start - ended > pause:
            total += ended - began
            began = ended = start
        ended = max(ended, start + seconds)
    return total + ended - began + _setup_seconds(session, runs[0][0])


def _setup_seconds(session: Session, first: float) -> float:
    """Return what passed before the first training, where the session's begin is that of the run that measured it."""
    if session.began_at is None:
        return 0.0
    seconds = first - moment(session.began_at).timestamp()
    return seconds if 0 < seconds < LONGEST_SETUP else 0.0


def _why_not(found: Sequence[Session]) -> str | None:
    prices = [each.params.provider.price for each in found]
    without = sum(each is None for each in prices)
    if without:
        return "no price is stated" if without == len(prices) else f"{without} of {len(prices)} sessions state no price"
    currencies = dict.fromkeys(each.currency for each in prices if each)
    return f"its sessions state prices in {' and '.join(currencies)}" if len(currencies) > 1 else None


def _words(price: PriceParams | None) -> str:
    if price is None:
        return "no price stated"
    return f"{price.amount:g} {price.currency} per {price.per}, by {price.source} on {price.on}"


def _run_seconds(session: Session, setting: str) -> float:
    return statistics.fmean(samples(session.of_setting(setting), TOTAL, session.job).values())


def _share_of_session(session: Session, setting: str) -> float:
    """Return what of the session's seconds falls to one run of the setting, divided by what the runs took."""
    every = sum(samples(session.results, TOTAL, session.job).values())
    return billed_seconds(session) * _run_seconds(session, setting) / every if every > 0 else 0.0


def _seconds_per_thousand(session: Session, setting: str) -> float | None:
    rates = [each for each in samples(session.of_setting(setting), RATE, session.job).values() if each > 0]
    return 1000 / statistics.fmean(rates) if rates else None


def _seconds_per_step(session: Session, setting: str) -> float | None:
    spans = [span for each in session.of_setting(setting) if each.train for span in each.train.spans]
    counted = [each for each in spans if each.steps]
    steps = sum(each.steps or 0 for each in counted)
    return sum(each.stepping_seconds for each in counted) / steps if steps else None


def _reached(found: Sequence[Session], setting: str) -> dict[str, float]:
    """Return the means of the job's own metrics that are no times: what the money went for."""
    results = [each for session in found for each in session.of_setting(setting)]
    job = found[0].job
    known = declared(job, results).items()
    own = [name for name, metric in known if not metric.timed and name not in (MEMORY, TOGETHER)]
    reached = {name: [*samples(results, name, job).values()] for name in own}
    return {name: statistics.fmean(each) for name, each in reached.items() if each}


def _mean(values: Sequence[float]) -> float | None:
    return statistics.fmean(values) if values else None
