"""The verdict from undisturbed steps beside that from totals: when it counts, and which of the two is the headline.

Steps tell sooner what a total tells late, and nothing of what comes beyond them: first steps, waits that come now and
then, pauses, validation. So 'equivalent' by steps stands only where that tail is equivalent too, by what it alone makes
of the total; and 'faster' or 'slower' is no headline where the tail, or the total, goes the other way. Load may take
back what these say (under_load), and not that they go there.
"""

import dataclasses
from collections.abc import Mapping

from stages.harness import formatting
from stages.harness.results.metrics import BEYOND, TOTAL, UNDISTURBED
from stages.harness.statistics.estimates import LEVEL, Pair
from stages.records import Ratio

CALLED = ("faster", "slower")
SETTLED = (*CALLED, "equivalent")
CHANCES = 2  # of a false alarm that a headline has: the total's, and where that is open the steps'


def overhang(totals: Mapping[str, Pair], steps: Mapping[str, Pair]) -> dict[str, Pair]:
    """Pair what the tail alone makes of each total: how many times the undisturbed steps it is."""
    return {
        repeat: dataclasses.replace(
            total, value=total.value / steps[repeat].value, reference=total.reference / steps[repeat].reference
        )
        for repeat, total in totals.items()
        if repeat in steps
    }


def with_tail(ratios: Mapping[str, Ratio], tail: Ratio | None) -> dict[str, Ratio]:
    """Take back an 'equivalent' by steps where the tail is not; `tail`: the ratio of the overhang."""
    found = ratios.get(UNDISTURBED)
    if found is None or found.verdict != "equivalent" or (tail and tail.verdict == "equivalent"):
        return {**ratios}
    reason = "within the margin, but of what comes beyond its steps nothing is known: there is no total"
    more = None
    if tail is not None:
        said = "is" if tail.verdict in CALLED else "may be"
        reason = (
            "within the margin, but what comes beyond its steps is not for sure: by that alone the total "
            f"{said} {formatting.ratio(tail)} times the baseline's"
        )
        more = tail.more_repeats
    if tail is not None and tail.reason:
        reason += f"; {tail.reason}"
    return {**ratios, UNDISTURBED: dataclasses.replace(found, verdict="inconclusive", reason=reason, more_repeats=more)}


def decisive(ratios: Mapping[str, Ratio]) -> str:
    """Name the metric whose verdict is the headline: the total where it is settled, else the steps where they are.

    The steps at half the level, for they are its second chance.
    """
    total, steps = ratios.get(TOTAL), ratios.get(UNDISTURBED)
    if total is None or steps is None or total.verdict in SETTLED or steps.verdict not in SETTLED:
        return TOTAL
    if steps.verdict in CALLED and (steps.p_value is None or steps.p_value >= LEVEL / CHANCES):
        return TOTAL
    return TOTAL if opposed(ratios) or _is_beyond_one(total, steps.verdict) else UNDISTURBED


def _is_beyond_one(total: Ratio, steps: str) -> bool:
    """Whether the total's interval lies wholly where the steps do not."""
    if total.low is None or total.high is None:
        return False
    return total.low > 1 if steps == "faster" else steps == "slower" and total.high < 1


def opposed(ratios: Mapping[str, Ratio]) -> bool:
    """Whether the steps are for sure faster and the tail slower, or the other way round: the total weighs the two."""
    return {_as_found(ratios[name]) for name in (UNDISTURBED, BEYOND) if name in ratios} == {*CALLED}


def _as_found(ratio: Ratio) -> str:
    """Return what was said of a time before load took it back."""
    if ratio.verdict == "cannot say" and ratio.p_value is not None and ratio.p_value < LEVEL:
        return "slower" if ratio.mean > 1 else "faster"
    return ratio.verdict
