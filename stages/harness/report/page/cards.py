"""What the cards did while the trainings ran, as rows of text: span by span, and over the whole command."""

import statistics
from collections.abc import Callable, Iterable, Iterator, Sequence
from typing import NamedTuple

from stages.harness import formatting
from stages.harness.report import shown
from stages.harness.results.metrics import CPU_ENERGY
from stages.harness.results.read import CellResult
from stages.records import SAMPLED, CardSpan, CardSummary, Course, Energy

SPANS = 6  # that have a row of their own; the rest has one together


class Row(NamedTuple):
    """A card in a setting, in medians over the repeats."""

    setting: str
    card: str
    when: str  # '1: head', or 'the whole command'
    clock: str
    power: str
    busy: str
    held: str  # what held its clocks down


def rows(results: Sequence[CellResult]) -> list[Row]:
    """Return the rows of each setting and card, for trainings in one attempt; empty: no card known anything."""
    groups: dict[tuple[str, str], list[CardSummary]] = {}
    for result in results:
        if result.train is not None and len(result.train.attempts) == 1:
            for card in result.train.cards:
                groups.setdefault((result.cell.setting, card.uuid), []).append(card)
    return [row for (setting, uuid), found in groups.items() for row in _rows(setting, uuid, found)]


def _rows(setting: str, uuid: str, found: Sequence[CardSummary]) -> Iterator[Row]:
    most = max(len(each.spans) for each in found)
    for index in range(min(most, SPANS)):
        spans = [each.spans[index] for each in found if index < len(each.spans)]
        yield _of_spans(setting, uuid, f"{index + 1}: {spans[0].span}", spans)
    rest = [span for each in found for span in each.spans[SPANS:]]
    if rest:
        yield _of_spans(setting, uuid, f"{SPANS + 1} to {most}", rest)
    yield Row(
        setting,
        uuid,
        "the whole command",
        _range([each.sm_hertz for each in found], _megahertz),
        _range([each.power_watts for each in found], "{:.0f} W".format),
        _median([each.busy_share.median if each.busy_share else None for each in found], formatting.whole_share),
        _held(found),
    )


def _of_spans(setting: str, uuid: str, when: str, spans: Sequence[CardSpan]) -> Row:
    clock = _median([each.sm_hertz for each in spans], _megahertz)
    power = _median([each.power_watts for each in spans], "{:.0f} W".format)
    busy = _median([each.busy_share for each in spans], formatting.whole_share)
    return Row(setting, uuid, when, clock, power, busy, formatting.NONE)


def _median(values: Iterable[float | None], write: Callable[[float], str]) -> str:
    known = [each for each in values if each is not None]
    return write(statistics.median(known)) if known else formatting.NONE


def _range(courses: Iterable[Course | None], write: Callable[[float], str]) -> str:
    """'1,980 MHz (345 MHz to 1,980 MHz)': the median, the lowest and the highest of all readings."""
    known = [each for each in courses if each is not None]
    if not known:
        return formatting.NONE
    low, high = min(each.low for each in known), max(each.high for each in known)
    middle = write(statistics.median(each.median for each in known))
    return middle if low == high else f"{middle} ({write(low)} to {write(high)})"


def _megahertz(hertz: float) -> str:
    return f"{hertz / 1e6:,.0f} MHz"


def _held(found: Sequence[CardSummary]) -> str:
    """'software power cap in 25%', of the readings, in the mean over the repeats."""
    known = [each.throttled for each in found if each.throttled is not None]
    if not known:
        return formatting.NONE
    names = dict.fromkeys(name for each in known for name in each)
    shares = {name: statistics.fmean(each.get(name, 0.0) for each in known) for name in names}
    return "; ".join(f"{name} in {formatting.whole_share(share)}" for name, share in shares.items()) or "nothing"


def energy_words(results: Iterable[CellResult]) -> str:
    """Say of what the energy is, idle power in it, and why it is not known; empty: neither cards nor CPUs tell."""
    trained = [result.train for result in results if result.train is not None and result.train.status == "ok"]
    found = [each.energy for each in trained if each.energy is not None]
    whys = dict.fromkeys(each.absent["energy"] for each in trained if each.energy is None and each.gpu_uuids)
    missing = [f"Energy is not known of {'some' if found else 'the'} trainings: {'; '.join(whys)}."] if whys else []
    cpus = [shown.ENERGY_WORDS[CPU_ENERGY]] if any(each.cpu_joules is not None for each in trained) else []
    return " ".join([*([_energy_words(found)] if found else []), *missing, *cpus])


def _energy_words(found: Sequence[Energy]) -> str:
    sampled = sum(each.how == SAMPLED for each in found)
    how = "by the cards' own counters"
    if sampled:
        which = "" if sampled == len(found) else f"{how}; of {formatting.count(sampled, 'training')} "
        how = f"{which}sampled: power, at most twice a second, times the time"
    idle = [each.idle_watts for each in found if each.idle_watts is not None]
    drawn = f": just before the commands they drew {statistics.median(idle):.0f} W" if idle else ""
    return (
        f"Energy is that of all cards that a command could see, whatever else ran on them, {how}. "
        f"What they take idle is in it{drawn}."
    )
