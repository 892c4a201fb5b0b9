"""The verdict on a ratio: how it is found from paired times, what it is corrected for, and what would settle it.

Ratios of the same repeat, on logarithms, with drift taken out; intervals by Student's t; p-values corrected for the
settings that are compared (Holm) and for the looks. docs/statistics.md tells the method whole, and why it is so.
"""

import dataclasses
import math
from collections.abc import Collection, Mapping, Sequence

from statsmodels.stats.multitest import multipletests

from stages.harness.formatting import count
from stages.harness.statistics import planning
from stages.harness.statistics.estimates import LEVEL, MIN_PAIRS, Estimate, Pair, drift_freedom, estimate, missing_pairs
from stages.records import Ratio

Pairs = Mapping[str, Pair]  # by repeat
FEW = 4  # degrees of freedom of a drift, up to which Student's t is far above the normal's 1.96 (2.8 at 4, 4.3 at 2)


@dataclasses.dataclass(frozen=True)
class Tested:
    """What one look says of a setting. Both p-values are corrected."""

    found: Estimate
    p_differs: float
    p_within: float


def ratios(
    pairs: Mapping[str, Pairs],
    better: str,
    margin: float,
    earlier: Sequence[Collection[str]] = (),
    confounders: Mapping[str, str] | None = None,
) -> dict[str, Ratio]:
    """Judge the ratio of each setting to the baseline: of all settings that are compared by this metric.

    `better`: of records.BETTER. `earlier`: the repeats that there were at each earlier look. `confounders`: why nothing
    can be said of a setting; it is not tested, and costs the others nothing.
    """
    bound, confounders = math.log1p(margin), confounders or {}
    whole = {setting: _of_one_block(each) for setting, each in pairs.items() if each}
    tested = {setting: each for setting, each in whole.items() if each and setting not in confounders}
    looks = _looks(tested, earlier, bound)
    found = {}
    for setting, each in whole.items():
        if not each:
            found[setting] = _apart(pairs[setting], confounders.get(setting))
        elif setting in confounders:
            found[setting] = _untested(each, confounders[setting])
        elif missing_pairs(each.values()):
            found[setting] = _too_few(each)
        else:
            found[setting] = _judged(each, setting, looks, better, bound)
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
    """Return what the p-values of the look are multiplied by: the inverses of all add up to 1."""
    return look * (look + 1)


def _judged(pairs: Pairs, setting: str, looks: Sequence[Mapping[str, Tested]], better: str, bound: float) -> Ratio:
    now, comparisons = looks[-1][setting].found, len(looks[-1])
    at_looks = [look[setting] for look in looks if setting in look]
    p_differs = min(each.p_differs for each in at_looks if each.found.log_ratio * now.log_ratio >= 0)
    p_within = min(each.p_within for each in at_looks if abs(now.log_ratio) <= bound or each is at_looks[-1])
    said = verdict(now.log_ratio, p_differs, p_within, better)
    low, high = now.interval()
    likely = more = reason = None
    if said == "inconclusive":
        level = LEVEL / price(len(looks) + 1)
        more = planning.more_repeats(now, bound, level / comparisons, level)
        likely = planning.as_likely_as_not(now, bound, level / comparisons, level)
        excluded = low > 0 or high < 0
        blocks = _of_several_blocks(now.blocks)
        reason = (
            f"{_why_not_yet(comparisons, len(looks), excluded)}{blocks}{_what_would_settle(likely, more, len(pairs))}"
        )
    return Ratio(
        pairs=_quotients(pairs),
        mean=math.exp(now.log_ratio),
        low=math.exp(low),
        high=math.exp(high),
        p_value=p_differs,
        verdict=said,
        reason=reason,
        likely_repeats=likely,
        more_repeats=more,
    )


def verdict(log_ratio: float, p_differs: float, p_within: float, better: str) -> str:
    """Apply the rule; the p-values are corrected. Better is called faster."""
    if p_within < LEVEL:
        return "equivalent"
    if p_differs >= LEVEL:
        return "inconclusive"
    return "faster" if (log_ratio < 0) == (better == "lower") else "slower"


def _why_not_yet(comparisons: int, looks: int, excluded: bool) -> str:
    if not excluded:
        return ""
    corrected = f"{count(comparisons, 'comparison')} and {count(looks, 'look')}"
    return f"the interval excludes 1, but not after the correction for {corrected}; "


def _of_several_blocks(blocks: Sequence[int]) -> str:
    """Say why an interval is wider than the pairs look: each block takes one of the few that tell a drift."""
    if len(blocks) == 1 or drift_freedom(blocks) > FEW:
        return ""
    return f"its pairs are of {len(blocks)} blocks, with pauses between, so the interval is wider; "


def _what_would_settle(likely: int | None, more: int | None, pairs: int) -> str:
    if likely is None:
        return f"more than {planning.MAX_REPEATS} repeats would be needed"
    said = f"about {count(likely, 'more repeat')} would settle it as likely as not"
    nine = more if more is not None else f"more than {planning.MAX_REPEATS}"
    return f"{said}, {nine} in nine of ten cases, judged from {count(pairs, 'pair')}"


def _untested(pairs: Pairs, confounder: str) -> Ratio:
    """Return the ratio as it was found, on which there is no verdict."""
    if missing_pairs(pairs.values()):
        return _as_measured(pairs, confounder, None)
    found = estimate([*pairs.values()])
    low, high = found.interval()
    return Ratio(
        pairs=_quotients(pairs),
        mean=math.exp(found.log_ratio),
        low=math.exp(low),
        high=math.exp(high),
        p_value=None,
        verdict="cannot say",
        reason=confounder,
        likely_repeats=None,
        more_repeats=None,
    )


def _too_few(pairs: Pairs) -> Ratio:
    few = f"{count(len(pairs), 'pair')} of repeats {'is' if len(pairs) == 1 else 'are'} too few"
    more = missing_pairs(pairs.values())
    if len(pairs) >= MIN_PAIRS:
        blocks = len({pair.block for pair in pairs.values()})
        why = f"from {blocks} blocks, with pauses between, {few} to tell a drift; {count(more, 'more repeat')} would do"
    else:
        why = f"{few}, {MIN_PAIRS} the least"
    return _as_measured(pairs, why, more)


def _apart(pairs: Pairs, confounder: str | None) -> Ratio:
    if confounder:
        return _as_measured(pairs, confounder, None)
    why = "it ran in another block than the baseline, after a pause, in which a machine may change its pace"
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
        likely_repeats=more,
        more_repeats=more,
    )


def _of_one_block(pairs: Pairs) -> Pairs:
    return {repeat: pair for repeat, pair in pairs.items() if pair.block is not None}


def _quotients(pairs: Pairs) -> dict[str, float]:
    return {repeat: pair.value / pair.reference for repeat, pair in pairs.items()}
