"""How many repeats to add so that the verdicts on the total time are settled, and whether there is time for them."""

import dataclasses
from collections.abc import Sequence

from stages.harness import wording
from stages.harness.cells import Result
from stages.harness.figures import TOTAL
from stages.records import Comparison, SettingFigures


def unsettled(compared: Comparison) -> list[SettingFigures]:
    """Those whose verdict more repeats may settle: inconclusive, or with too few pairs."""
    return [each for each in compared.settings if each.verdict == "inconclusive" or _asked(each)]


def _asked(setting: SettingFigures) -> int:
    return setting.ratios[TOTAL].more_repeats or 0 if TOTAL in setting.ratios else 0


@dataclasses.dataclass(frozen=True)
class Extension:
    """Repeats to add, 0 where there is no time for one, and why, in a sentence."""

    repeats: int
    words: str

    @staticmethod
    def of(compared: Comparison, results: Sequence[Result], seconds_left: float) -> "Extension":
        """Where no number of repeats would do by what is known so far, as many again as there are."""
        open_ones = unsettled(compared)
        there = len({each.cell.repeat for each in results})
        asked = max(_asked(each) or there for each in open_ones)
        each_takes = _seconds_of_a_repeat(results)
        affordable = max(0, int(seconds_left / each_takes))
        more = min(asked, affordable)
        which = ", ".join(each.setting for each in open_ones)
        wish = f"not settled: {which}, {wording.count(asked, 'more repeat')} asked for"
        cost = f"at about {wording.seconds(each_takes)} each"
        if not more:
            return Extension(0, f"{wish}, {cost}, and no time left: give it more with `make until HOURS=...`")
        short = "" if more == asked else ", for which there is time"
        return Extension(more, f"{wish}; adding {more}{short}, {cost}")


def _seconds_of_a_repeat(results: Sequence[Result]) -> float:
    """Of all settings once, from import to the last result, in the mean."""
    walls = [each.train.wall_seconds + each.evaluate.wall_seconds for each in results if each.train and each.evaluate]
    settings = len({each.cell.setting for each in results if each.train})
    return settings * sum(walls) / len(walls)
