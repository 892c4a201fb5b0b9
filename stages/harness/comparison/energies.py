"""Whether what the cards of two settings took was got in the same way: counted by the cards, or sampled.

Sampled energy errs by what power does between two readings and by what the driver takes its mean over: in all repeats
alike, so that no spread shows it and no interval holds it. Beside a counter's it gets a ratio and no verdict. What the
processor packages took is got in one way alone, by the host.
"""

import dataclasses
from collections.abc import Mapping, Sequence

from stages.harness.results.metrics import ENERGY, PER_SAMPLE
from stages.harness.results.read import CellResult
from stages.records import COUNTED, Ratio

OF_CARDS = (ENERGY, PER_SAMPLE)


def unlike(setting: Sequence[CellResult], baseline: Sequence[CellResult], there: str = "of the baseline") -> str | None:
    """Say how the energies of both were got, where not all in one way; None where they were."""
    ours, theirs = (_ways(each) for each in (setting, baseline))
    if len({*ours, *theirs}) < 2 or not ours or not theirs:
        return None
    return (
        f"its energy was {' and '.join(ours)}, that {there} {' and '.join(theirs)}, and repeats do not show how far "
        f"apart the two ways lie; compare what was {COUNTED} on both sides"
    )


def weighed(
    ratios: Mapping[str, Ratio], setting: Sequence[CellResult], baseline: Sequence[CellResult]
) -> dict[str, Ratio]:
    """Take back the verdicts on energies that were not got alike."""
    reason = unlike(setting, baseline)
    doubtful = {name: ratios[name] for name in OF_CARDS if reason and name in ratios}
    for name, each in doubtful.items():
        doubtful[name] = dataclasses.replace(
            each, verdict="cannot say", reason=reason, likely_repeats=None, more_repeats=None
        )
    return {**ratios, **doubtful}


def _ways(results: Sequence[CellResult]) -> list[str]:
    return sorted({stage.energy.how for each in results for stage in each.stages if stage.energy})
