"""The verdict on a ratio: how it is found from paired times, what it is corrected for, and what would settle it.

The method, on logarithms, so that ratios are differences:

- Pairs: both settings once per repeat, so each repeat gives one ratio; their mean is the geometric mean of the ratios.
- Drift: within a repeat the settings run in a fixed order, so a steady drift shifts every ratio alike, and no amount of
  repeats averages it out. Its slope is seen from repeat to repeat, in the mean of each pair over time. What it makes of
  the ratio is taken out, and the slope's own uncertainty widens the interval. Always: a drift that is too small to be
  significant is not too small to shift a ratio. Between two sessions a machine may change its pace at once, which is no
  drift: so each session has a level of its own, and two runs of different sessions make no pair.
- Interval: t, with the degrees of freedom of Welch and Satterthwaite for the two sources of uncertainty. It is of one
  ratio at one look, and not corrected for more.
- p-values: corrected for the number of comparisons and of looks. Holm's correction, over all settings that are compared
  with the baseline by the same figure. And who looks again after each repeat until something shows will see something:
  at the k-th look they are multiplied by k (k + 1), so that half of the level is for the first look, a sixth for the
  second, a twelfth for the third, and so on; all of them together never exceed it. What a look has shown stands, as
  long as the ratio that is found since agrees with it: of all looks the smallest p-value counts, so that no verdict is
  withdrawn for nothing but the number of looks.
- Verdict: 'equivalent' where the ratio lies within the margin for sure, by two one-sided tests, corrected for looks; at
  the first look that is where the interval lies within the margin. Else 'faster' or 'slower' where the p-value is below
  LEVEL; else 'inconclusive'. It cannot be said with fewer than MIN_PAIRS pairs, or where no session has enough of them
  to tell a drift.
"""

import dataclasses
import math
from collections.abc import Collection, Mapping, Sequence

from statsmodels.stats.multitest import multipletests

from stages.harness.formatting import count
from stages.harness.statistics import planning
from stages.harness.statistics.estimates import LEVEL, MIN_PAIRS, Estimate, Pair, estimate, missing_pairs
from stages.records import Ratio

HIGHER_IS_FASTER = ("train_images_per_second",)

Pairs = Mapping[str, Pair]  # by repeat


@dataclasses.dataclass(frozen=True)
class Tested:
    """What one look says of a setting. Both p-values are corrected."""

    found: Estimate
    p_differs: float
    p_within: float


def ratios(
    pairs: Mapping[str, Pairs],
    figure: str,
    margin: float,
    earlier: Sequence[Collection[str]] = (),
    obstacles: Mapping[str, str] | None = None,
) -> dict[str, Ratio]:
    """Setting: its ratio to the baseline. All settings that are compared by this figure.

    `earlier`: the repeats that there were at each earlier look. `obstacles`: why nothing can be said of a setting; it
    is not tested, and costs the others nothing.
    """
    bound, obstacles = math.log1p(margin), obstacles or {}
    whole = {setting: _of_one_session(each) for setting, each in pairs.items() if each}
    tested = {setting: each for setting, each in whole.items() if each and setting not in obstacles}
    looks = _looks(tested, earlier, bound)
    found = {}
    for setting, each in whole.items():
        if not each:
            found[setting] = _apart(pairs[setting], obstacles.get(setting))
        elif setting in obstacles:
            found[setting] = _untested(each, obstacles[setting])
        elif missing_pairs(each.values()):
            found[setting] = _too_few(each)
        else:
            found[setting] = _judged(each, setting, looks, figure, bound)
    return found


def _looks(pairs: Mapping[str, Pairs], earlier: Sequence[Collection[str]], bound: float) -> list[dict[str, Tested]]:
    """Every look, the present one last, at those settings that had pairs enough. A look that tested none is none."""
    found: list[dict[str, Tested]] = []
    for repeats in (*earlier, {repeat for each in pairs.values() for repeat in each}):
        then = {name: [pair for repeat, pair in each.items() if repeat in repeats] for name, each in pairs.items()}
        estimates = {name: estimate(each) for name, each in then.items() if not missing_pairs(each)}
        if estimates:
            p_values = multipletests([each.p_differs() for each in estimates.values()], method="holm")[1]
            factor = price(len(found) + 1)
            found.append(
                {
                    name: Tested(each, min(1.0, factor * float(p_value)), min(1.0, factor * each.p_within(bound)))
                    for (name, each), p_value in zip(estimates.items(), p_values, strict=True)
                }
            )
    return found


def price(look: int) -> int:
    """What the p-values of the look are multiplied by: the inverses of all add up to 1."""
    return look * (look + 1)


def _judged(pairs: Pairs, setting: str, looks: Sequence[Mapping[str, Tested]], figure: str, bound: float) -> Ratio:
    now, comparisons = looks[-1][setting].found, len(looks[-1])
    at_looks = [look[setting] for look in looks if setting in look]
    p_differs = min(each.p_differs for each in at_looks if each.found.log_ratio * now.log_ratio >= 0)
    p_within = min(each.p_within for each in at_looks if abs(now.log_ratio) <= bound or each is at_looks[-1])
    said = verdict(now.log_ratio, p_differs, p_within, figure)
    low, high = now.interval()
    more = reason = None
    if said == "inconclusive":
        level = LEVEL / price(len(looks) + 1)
        more = planning.more_repeats(now, bound, level / comparisons, level)
        excluded = low > 0 or high < 0
        reason = _why_not_yet(comparisons, len(looks), excluded) + _what_would_settle(more, len(pairs))
    return Ratio(
        pairs=_quotients(pairs),
        mean=math.exp(now.log_ratio),
        low=math.exp(low),
        high=math.exp(high),
        p_value=p_differs,
        verdict=said,
        reason=reason,
        more_repeats=more,
    )


def verdict(log_ratio: float, p_differs: float, p_within: float, figure: str) -> str:
    """The rule; the p-values are corrected."""
    if p_within < LEVEL:
        return "equivalent"
    if p_differs >= LEVEL:
        return "inconclusive"
    return "faster" if (log_ratio < 0) != (figure in HIGHER_IS_FASTER) else "slower"


def _why_not_yet(comparisons: int, looks: int, excluded: bool) -> str:
    if not excluded:
        return ""
    corrected = f"{count(comparisons, 'comparison')} and {count(looks, 'look')}"
    return f"the interval excludes 1, but not after the correction for {corrected}; "


def _what_would_settle(more: int | None, pairs: int) -> str:
    if more is None:
        return f"more than {planning.MAX_REPEATS} repeats would be needed"
    return f"about {count(more, 'more repeat')} would settle it, judged from {count(pairs, 'pair')}"


def _untested(pairs: Pairs, obstacle: str) -> Ratio:
    """The ratio as it was found, on which there is no verdict."""
    if missing_pairs(pairs.values()):
        return _as_measured(pairs, obstacle, None)
    found = estimate([*pairs.values()])
    low, high = found.interval()
    return Ratio(
        pairs=_quotients(pairs),
        mean=math.exp(found.log_ratio),
        low=math.exp(low),
        high=math.exp(high),
        p_value=None,
        verdict="cannot say",
        reason=obstacle,
        more_repeats=None,
    )


def _too_few(pairs: Pairs) -> Ratio:
    few = f"{count(len(pairs), 'pair')} of repeats {'is' if len(pairs) == 1 else 'are'} too few"
    more = missing_pairs(pairs.values())
    if len(pairs) >= MIN_PAIRS:
        sessions = len({pair.session for pair in pairs.values()})
        why = f"from {sessions} sessions {few} to tell a drift; {count(more, 'more repeat')} in one session would do"
    else:
        why = f"{few}, {MIN_PAIRS} the least"
    return _as_measured(pairs, why, more)


def _apart(pairs: Pairs, obstacle: str | None) -> Ratio:
    if obstacle:
        return _as_measured(pairs, obstacle, None)
    why = "it ran in another session than the baseline, and a machine may change its pace between two"
    return _as_measured(pairs, f"{why}; {count(MIN_PAIRS, 'more repeat')} would do", MIN_PAIRS)


def _as_measured(pairs: Pairs, reason: str, more: int | None) -> Ratio:
    logs = [math.log(pair.value / pair.reference) for pair in pairs.values()]
    return Ratio(
        pairs=_quotients(pairs),
        mean=math.exp(sum(logs) / len(logs)),
        low=None,
        high=None,
        p_value=None,
        verdict="cannot say",
        reason=reason,
        more_repeats=more,
    )


def _of_one_session(pairs: Pairs) -> Pairs:
    return {repeat: pair for repeat, pair in pairs.items() if pair.session is not None}


def _quotients(pairs: Pairs) -> dict[str, float]:
    return {repeat: pair.value / pair.reference for repeat, pair in pairs.items()}
