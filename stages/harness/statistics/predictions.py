"""Whether a setting predicts the items as well as the baseline: McNemar's exact test on the same items.

Repeats of a setting see the same items and, on many devices, end in the very same model: an item that counted once per
repeat would count as so much evidence more. So each item counts once, for the side that predicted it right more often,
over the repeats that both have predictions of.
"""

from collections.abc import Mapping, Sequence

from statsmodels.stats.contingency_tables import mcnemar
from statsmodels.stats.multitest import multipletests

from stages.harness.results.read import CellResult
from stages.records import PairedPredictions

LEVEL = 0.05  # of p-values, corrected


def compare(pairs: Mapping[str, tuple[Sequence[CellResult], Sequence[CellResult]]]) -> dict[str, PairedPredictions]:
    """Tell for each setting how its predictions fare against the baseline's of the same repeats."""
    leads = {name: _leads(group, baseline) for name, (group, baseline) in pairs.items()}
    sides = {name: _sides(each) for name, each in leads.items() if each}
    if not sides:
        return {}
    p_values = [mcnemar([[0, here], [there, 0]], exact=True).pvalue for here, there in sides.values()]
    corrected = dict(zip(sides, multipletests(p_values, method="holm")[1], strict=True))
    return {
        name: PairedPredictions(
            len(leads[name]), here, there, float(corrected[name]), _verdict(here, there, corrected[name])
        )
        for name, (here, there) in sides.items()
    }


def _leads(group: Sequence[CellResult], baseline: Sequence[CellResult]) -> dict[str, int]:
    """Return in how many repeats more the setting predicted each item right than the baseline did."""
    reference = {each.cell.repeat: each.right for each in baseline if each.right}
    found: dict[str, int] = {}
    for result in group:
        here, there = result.right or {}, reference.get(result.cell.repeat, {})
        for item in here.keys() & there.keys():
            found[item] = found.get(item, 0) + here[item] - there[item]
    return found


def _sides(leads: Mapping[str, int]) -> tuple[int, int]:
    """Count the items that are predicted right more often by the setting, and by the baseline."""
    return sum(lead > 0 for lead in leads.values()), sum(lead < 0 for lead in leads.values())


def _verdict(here: int, there: int, p_value: float) -> str:
    if p_value >= LEVEL:
        return "no difference shown"
    return "better" if here > there else "worse"
