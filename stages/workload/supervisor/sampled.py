"""What was sampled of the cards in all attempts that count, as the result has it; and what of it casts doubt on times.

Runs inside images: Python 3.7 syntax, standard library only.
"""

import dataclasses
import statistics
from typing import Dict, Iterable, Iterator, List, Optional, Sequence, Tuple

from stages.records import COUNTED, SAMPLED, CardSpan, CardSummary, Energy
from stages.workload.probes import files
from stages.workload.supervisor.progress import Arrival, Taken

MOST_SPANS = 200  # of a card in one attempt
CUT_OFF = "attempt {} was cut off before what it took was read"
NOT_READ = "the NVIDIA driver gave no reading at the command's end"
RAMP_SHARE = 0.9  # of the later clock: below it the first span's is clearly lower
HELD_SHARE = 0.1  # of the readings
HEAT = ("hardware slowdown", "software thermal slowdown", "hardware thermal slowdown", "hardware power brake slowdown")
MEGA = 10**6


def energy(taken: Sequence[Taken]) -> Tuple[Optional[Energy], str]:
    """Return what the cards took in all attempts together; or None, and why."""
    joules = 0.0
    for number, its in enumerate(taken, start=1):
        if its.until.joules is None:
            return None, its.sampled.no_energy or (NOT_READ if number == len(taken) else CUT_OFF.format(number))
        joules += its.until.joules
    first = taken[0].sampled
    found = Energy(
        joules=joules,
        how=SAMPLED if any(its.sampled.how == SAMPLED for its in taken) else COUNTED,
        gpu_uuids=tuple(dict.fromkeys(uuid for its in taken for uuid in its.sampled.gpu_uuids)),
        spans_joules=_by_name(arrival for its in taken for arrival in its.arrivals),
        **files.known({"idle_watts": (first.idle_watts, first.no_idle or "")}),
    )
    return found, ""


def _by_name(arrivals: Iterable[Arrival]) -> Dict[str, float]:
    """Add up the energy of spans of each name, of those names of which it is known of every one."""
    found: Dict[str, List[Optional[float]]] = {}
    for each in arrivals:
        found.setdefault(each.span.name, []).append(each.joules)
    return {name: sum(each or 0.0 for each in joules) for name, joules in found.items() if None not in joules}


def cards(taken: Iterable[Taken]) -> Tuple[CardSummary, ...]:
    """Return what each card did, in each attempt."""
    return tuple(
        dataclasses.replace(card, spans=tuple(_spans(its.arrivals, index))[:MOST_SPANS])
        for its in taken
        for index, card in enumerate(its.sampled.cards)
    )


def _spans(arrivals: Iterable[Arrival], index: int) -> Iterator[CardSpan]:
    return (each.cards[index] for each in arrivals if each.cards)


def warnings(taken: Iterable[Taken]) -> Tuple[str, ...]:
    """Say where a card's clock was clearly lower in the first span than later, and where heat held it down."""
    return tuple(line for card in cards(taken) for line in (*_ramp(card), *_held(card)))


def _ramp(card: CardSummary) -> Iterator[str]:
    spans = [each for each in card.spans if each.sm_hertz is not None]
    alike = [each for each in spans[1:] if each.span == spans[0].span]
    later = [each.sm_hertz or 0.0 for each in alike or spans[1:]]
    first = spans[0].sm_hertz if spans else None
    if first is not None and later and first < RAMP_SHARE * statistics.median(later):
        yield (
            f"{card.uuid}: its clock was {first / MEGA:,.0f} MHz in the first span ({spans[0].span}) and "
            f"{statistics.median(later) / MEGA:,.0f} MHz later: the card was still speeding up"
        )


def _held(card: CardSummary) -> Iterator[str]:
    for reason, share in (card.throttled or {}).items():
        if reason in HEAT and share >= HELD_SHARE:
            yield f"{card.uuid}: its clocks were held down in {share:.0%} of the readings ({reason})"
