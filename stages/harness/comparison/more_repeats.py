"""How many repeats to add so that the verdicts are settled, and whether there is time for them."""

import dataclasses
from collections.abc import Sequence

from stages.harness import formatting
from stages.harness.results.metrics import TOTAL, UNDISTURBED, repeat_seconds
from stages.harness.results.read import CellResult
from stages.harness.statistics.planning import MAX_REPEATS
from stages.records import Comparison, SettingResult


def unsettled(compared: Comparison) -> list[SettingResult]:
    """List those whose verdict more repeats may settle: inconclusive, or with too few pairs."""
    return [
        each
        for each in compared.settings
        if each.verdict == "inconclusive" or (each.verdict == "cannot say" and _asked(each))
    ]


def _asked(setting: SettingResult) -> int:
    """Return the fewer of the repeats that total and steps ask for: either settles it; 0 where no number is known."""
    found = (setting.ratios[name] for name in (TOTAL, UNDISTURBED) if name in setting.ratios)
    return min(
        (each.more_repeats for each in found if each.more_repeats and each.verdict == setting.verdict), default=0
    )


@dataclasses.dataclass(frozen=True)
class Extension:
    """Repeats to add, 0 where there is no time for one, and why, in a sentence."""

    repeats: int
    words: str


def extension(compared: Comparison, results: Sequence[CellResult], seconds_left: float) -> Extension:
    """Plan no more repeats than there are, however many are asked for.

    What is known of the noise by then asks for fewer, or for more. As many again where no number of repeats would do by
    what is known so far.
    """
    open_ones = unsettled(compared)
    there = len({each.cell.repeat for each in results})
    known = all(map(_asked, open_ones))
    asked = max(map(_asked, open_ones)) if known else there
    each_takes = repeat_seconds(results)
    affordable = max(0, int(seconds_left / each_takes))
    wanted = min(asked, there)
    more = min(wanted, affordable)
    which = ", ".join(each.setting for each in open_ones)
    wish = f"not settled: {which}, " + (
        f"{formatting.count(asked, 'more repeat')} asked for"
        if known
        else f"for which even {MAX_REPEATS} repeats would not do by what is known so far"
    )
    cost = f"at about {formatting.seconds(each_takes)} each"
    if not more:
        return Extension(0, f"{wish}, {cost}, and no time left: give it more with `make until HOURS=...`")
    short = (
        "" if known and more == asked else ", and then a new look" if more == wanted else ", for which there is time"
    )
    return Extension(more, f"{wish}; adding {more}{short}, {cost}")
