"""Whether a setting's networks tell the photos as well as the baseline's: McNemar's exact test on the same photos.

Repeats of a setting see the same photos and, on many devices, give the very same network: a photo that counted once per
repeat would count as so much evidence more. So each photo counts once, for the side that told it right more often, over
the repeats that both have predictions of. Right is what the prediction with test-time augmentation says.
"""

from collections.abc import Mapping, Sequence

from statsmodels.stats.contingency_tables import mcnemar
from statsmodels.stats.multitest import multipletests

from stages.harness.results.read import Result
from stages.records import PairedAccuracy

LEVEL = 0.05  # of p-values, corrected


def compare(pairs: Mapping[str, tuple[Sequence[Result], Sequence[Result]]]) -> dict[str, PairedAccuracy]:
    """Setting: how its predictions fare against those of its baseline, where both have some of the same repeat."""
    leads = {name: _leads(group, baseline) for name, (group, baseline) in pairs.items()}
    sides = {name: _sides(each) for name, each in leads.items() if each}
    if not sides:
        return {}
    p_values = [mcnemar([[0, here], [there, 0]], exact=True).pvalue for here, there in sides.values()]
    corrected = dict(zip(sides, multipletests(p_values, method="holm")[1], strict=True))
    return {
        name: PairedAccuracy(
            len(leads[name]), here, there, float(corrected[name]), _verdict(here, there, corrected[name])
        )
        for name, (here, there) in sides.items()
    }


def _leads(group: Sequence[Result], baseline: Sequence[Result]) -> dict[str, int]:
    """Photo: in how many repeats more the setting told it right than the baseline did."""
    reference = {each.cell.repeat: each.right for each in baseline if each.right}
    found: dict[str, int] = {}
    for result in group:
        here, there = result.right or {}, reference.get(result.cell.repeat, {})
        for photo in here.keys() & there.keys():
            found[photo] = found.get(photo, 0) + here[photo] - there[photo]
    return found


def _sides(leads: Mapping[str, int]) -> tuple[int, int]:
    """Photos that are told right more often by the setting, and by the baseline."""
    return sum(lead > 0 for lead in leads.values()), sum(lead < 0 for lead in leads.values())


def _verdict(here: int, there: int, p_value: float) -> str:
    if p_value >= LEVEL:
        return "no difference shown"
    return "better" if here > there else "worse"
