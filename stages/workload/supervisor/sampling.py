"""What cards do and take while a command runs: looks of the supervisor's loop.

Cards are read at most twice a second; less often in a long command, so that what is kept stays small, and where reading
takes much, as of many cards. Energy is the card's own counter's (Volta and later), else the sum of power times the time
between two looks. What a span took is read off between the looks around its ends, as if taken evenly in between.

Runs inside images: Python 3.7 syntax, standard library only.
"""

import bisect
import dataclasses
import statistics
from typing import Any, Dict, NamedTuple, Optional, Sequence, Tuple

from stages.records import COUNTED, SAMPLED, CardSpan, CardSummary, Conditions, Course, Load
from stages.visible_cards import INSTANCE
from stages.workload.probes import files
from stages.workload.probes.hardware import DRIVER_SECONDS
from stages.workload.probes.watch import Card, Reading, Watch

PERIOD_SECONDS = 0.5  # between two readings; doubled each time that there are MOST
SLOWEST_SECONDS = 2.0  # ... because of what a reading takes, which then is more than MOST_SHARE of a CPU
MOST_SHARE = 0.001
OWN_SECONDS = 0.00015  # of CPU time that the supervisor takes for a reading (benchmarks/sampling_cost.py)
SLACK_SECONDS = 0.05  # by which a look of the supervisor's loop may come early
MOST = 4096
NEAR = 8  # readings to look at around a moment for one that tells the energy
WAIT_SECONDS = 0.05  # for a reading, which else is taken at the next look
END_SECONDS = 3.0  # for the last one
NO_CARD = "its command could see no card"
PART_OF_CARD = "it runs on a part of a card (MIG), and the driver tells what whole cards take"
IN_PARTS = "the card is in parts (MIG), and the driver tells what all of it takes"
NO_READING = "no reading of the card fell into it"
COURSES = ("sm_hertz", "memory_hertz", "power_watts", "temperature_celsius", "busy_share")


@dataclasses.dataclass(frozen=True)
class Until:
    """What was counted from a command's begin to a moment."""

    load: Load
    joules: Optional[float]  # of the cards


@dataclasses.dataclass(frozen=True)
class Sampled:
    """What was seen of the cards in a command, so far."""

    gpu_uuids: Tuple[str, ...]
    how: Optional[str]  # energy is known, as far as it is; None: no card was read
    idle_watts: Optional[float]  # before the command
    no_energy: Optional[str]  # why not
    no_idle: Optional[str]
    cards: Tuple[CardSummary, ...]  # in the order of gpu_uuids, or empty; without spans


class Moment(NamedTuple):
    """A reading, and what the cards had taken by then."""

    at: float
    joules: Optional[float]  # since the first; None: not known
    cards: Tuple[Card, ...]


class Timeline:
    """The readings of a command. Pure arithmetic."""

    def __init__(self, first: Reading) -> None:
        self._meters = [_Meter(card, first.at) for card in first.cards]
        whys = [each.why for each in self._meters if each.how is None]
        self.no_energy: Optional[str] = whys[0] if whys else None
        joules = None if whys else 0.0
        self._moments = [Moment(first.at, joules, first.cards)]
        self._ats = [first.at]
        self._thinned = 1  # of so many readings one is kept
        self._cpu_seconds = first.cpu_seconds  # of a reading, in the mean over the latest

    @property
    def how(self) -> str:
        """How energy is known."""
        return SAMPLED if any(each.how == SAMPLED for each in self._meters) else COUNTED

    @property
    def first(self) -> Moment:
        """Before the command."""
        return self._moments[0]

    @property
    def last(self) -> Moment:
        """The latest."""
        return self._moments[-1]

    @property
    def period_seconds(self) -> float:
        """How far two readings should lie apart."""
        by_cost = min(SLOWEST_SECONDS, (self._cpu_seconds + OWN_SECONDS) / MOST_SHARE)
        return max(PERIOD_SECONDS * self._thinned, by_cost)

    def add(self, reading: Reading) -> None:
        """Take a further reading."""
        taken = [meter.add(card, reading.at) for meter, card in zip(self._meters, reading.cards)]
        known = [each for each in taken if each is not None]
        joules = sum(known) if self.no_energy is None and len(known) == len(taken) else None
        self._moments.append(Moment(reading.at, joules, reading.cards))
        self._ats.append(reading.at)
        self._cpu_seconds += (reading.cpu_seconds - self._cpu_seconds) / 8
        backwards = [each.why for each in self._meters if each.how is None]
        self.no_energy = self.no_energy or (backwards[0] if backwards else None)
        if len(self._moments) > MOST:
            self._moments, self._ats = self._moments[::2], self._ats[::2]
            self._thinned *= 2

    def joules_at(self, at: float) -> Optional[float]:
        """Return what had been taken at a moment; None where no reading lies on each side of it."""
        if self.no_energy is not None:
            return None
        index = bisect.bisect_left(self._ats, at)
        later = (each for each in self._moments[index : index + NEAR] if each.joules is not None)
        earlier = (each for each in self._moments[max(0, index - NEAR) : index][::-1] if each.joules is not None)
        after, before = next(later, None), next(earlier, None)
        if after is None or after.joules is None:
            return None
        if before is None or before.joules is None:
            return after.joules if index == 0 else None
        share = (at - before.at) / (after.at - before.at)
        return before.joules + share * (after.joules - before.joules)

    def within(self, began: float, ended: float) -> Sequence[Moment]:
        """Return the readings between two moments, but the first, which is before the command."""
        first, last = bisect.bisect_right(self._ats, began), bisect.bisect_right(self._ats, ended)
        return self._moments[max(1, first) : last]


class _Meter:
    """What one card has taken since the first reading."""

    def __init__(self, card: Card, at: float) -> None:
        self.why = ""
        self.how: Optional[str] = None
        self._joules, self._last, self._first = 0.0, (at, card.power_watts), card.millijoules
        if card.mig:
            self.why = IN_PARTS
        elif card.millijoules is not None:
            self.how = COUNTED
        elif card.power_watts is not None:
            self.how = SAMPLED
        else:
            self.why = "neither a counter of energy ({millijoules}) nor power ({power_watts})".format(**card.absent)

    def add(self, card: Card, at: float) -> Optional[float]:
        """Return the joules until then; None where this reading does not tell."""
        if self.how == SAMPLED and card.power_watts is not None:
            then, watts = self._last
            self._joules += (card.power_watts + (watts or 0.0)) / 2 * (at - then)
            self._last = at, card.power_watts
            return self._joules
        if self.how != COUNTED or card.millijoules is None or self._first is None:
            return None
        joules = (card.millijoules - self._first) / 1000
        if joules < self._joules:
            self.how, self.why = None, "the card's counter of energy went back: the driver was loaded anew"
            return None
        self._joules = joules
        return joules


class Sampler:
    """Used for one command: made just before it, and ended just after."""

    def __init__(self, before: Conditions, uuids: Tuple[str, ...]) -> None:
        self._uuids = uuids
        self._watch: Optional[Watch] = None
        self._timeline: Optional[Timeline] = None
        self._no_energy = _why_not(before, uuids)
        self._begins_at, self._ends_at = 0.0, float("inf")
        if before.gpus and uuids and self._no_energy != PART_OF_CARD:
            self._watch = Watch(uuids)
            first = self._watch.ask(DRIVER_SECONDS, DRIVER_SECONDS)
            if first is None:
                self._no_energy = self._no_energy or self._watch.problem
            else:
                self._timeline = Timeline(first)
        self._asked_at = 0.0 if self._timeline is None else self._timeline.first.at

    def begin(self, began: float) -> None:
        """Count from this moment on, at which the command begins."""
        self._begins_at = began

    def look(self, now: float) -> None:
        """Read what is to be read again by now, as time.monotonic has it. Never hangs."""
        timeline = self._timeline
        if timeline is not None and now - self._asked_at > timeline.period_seconds - SLACK_SECONDS:
            self._take(now, WAIT_SECONDS)

    def end(self, ended: float) -> None:
        """Read once more, the command having ended at that moment; nothing is read after it."""
        self._ends_at = ended
        if self._watch is not None:
            if self._take(ended, END_SECONDS, END_SECONDS) < ended:  # it had been asked for before
                self._take(ended, END_SECONDS, END_SECONDS)
            self._watch.end()

    @property
    def joules(self) -> Optional[float]:
        """What the cards have taken since the command's begin, until the last look at them, or its end."""
        timeline = self._timeline
        if timeline is None or self._no_energy or timeline.last.at < self._begins_at:
            return None
        return _between(timeline, self._begins_at, min(self._ends_at, timeline.last.at))

    @property
    def sampled(self) -> Sampled:
        """What was seen so far."""
        timeline = self._timeline
        why = self._no_energy or (NO_CARD if timeline is None else timeline.no_energy)
        watts = [] if timeline is None else [each.power_watts for each in timeline.first.cards]
        known = [each for each in watts if each is not None]
        idle = sum(known) if timeline is not None and len(known) == len(watts) else None
        no_idle = None
        if idle is None:
            absent = {} if timeline is None else timeline.first.cards[watts.index(None)].absent
            no_idle = absent.get("power_watts", why)
        return Sampled(
            gpu_uuids=self._uuids,
            how=None if timeline is None else timeline.how,
            idle_watts=idle,
            no_energy=why,
            no_idle=no_idle,
            cards=() if timeline is None else summaries(self._uuids, timeline.within(self._begins_at, self._ends_at)),
        )

    def has_read(self, moment: float) -> bool:
        """Whether more cannot be known of what was until then: the cards were read after it, or are read no more."""
        timeline = self._timeline
        return timeline is None or self._no_energy is not None or timeline.last.at >= min(moment, self._ends_at)

    def span(self, name: str, *times: Tuple[float, float]) -> Tuple[Optional[float], Tuple[CardSpan, ...]]:
        """Return what the cards took and did from each begin to its end; no card where no reading fell into it."""
        timeline = self._timeline
        if timeline is None:
            return None, ()
        parts = [None if self._no_energy else _between(timeline, *each) for each in times]
        known = [each for each in parts if each is not None]
        joules = sum(known) if len(known) == len(parts) else None
        moments = [moment for each in times for moment in timeline.within(*each)]
        cards = range(len(self._uuids)) if moments else ()
        return joules, tuple(_of_span(name, [each.cards[index] for each in moments]) for index in cards)

    def _take(self, now: float, wait_seconds: float, patience_seconds: float = DRIVER_SECONDS) -> float:
        """Take a reading, where one comes in time; return its moment."""
        if self._watch is None or self._timeline is None:
            return now
        self._asked_at = now
        reading = self._watch.ask(wait_seconds, patience_seconds)
        if reading is not None:
            self._timeline.add(reading)
            return reading.at
        if self._watch.problem is not None:
            self._no_energy = self._no_energy or self._watch.problem
        return now


def _between(timeline: Timeline, began: float, ended: float) -> Optional[float]:
    first, last = timeline.joules_at(began), timeline.joules_at(ended)
    return None if first is None or last is None else max(0.0, last - first)


def _why_not(before: Conditions, uuids: Tuple[str, ...]) -> Optional[str]:
    """Say why it is clear before the first reading that what the cards take can't be known; None: it is not."""
    if any(each.startswith(INSTANCE) for each in uuids):
        return PART_OF_CARD
    if not before.gpus:  # a driver that hangs is waited for once
        return f"{NO_CARD}: {before.gpus_reason}"
    silent = [each.absent["uuid"] for each in before.gpus if each.uuid is None]
    if silent:
        return f"a card does not tell which one it is: {silent[0]}"
    return None if uuids else NO_CARD


def summaries(uuids: Sequence[str], moments: Sequence[Moment]) -> Tuple[CardSummary, ...]:
    """Sum up each card's readings; nothing where there is none."""
    found = enumerate(uuids) if moments else ()
    return tuple(_summary(uuid, [each.cards[index] for each in moments]) for index, uuid in found)


def _summary(uuid: str, cards: Sequence[Card]) -> CardSummary:
    courses: Dict[str, Any] = {field: _course([getattr(each, field) for each in cards]) for field in COURSES}
    reasons = [each.throttle_reasons for each in cards if each.throttle_reasons is not None]
    names = dict.fromkeys(name for each in reasons for name in each)
    courses["throttled"] = (
        {name: sum(name in each for each in reasons) / len(reasons) for name in names} if reasons else None
    )
    whys = {**cards[-1].absent, "throttled": cards[-1].absent.get("throttle_reasons", NO_READING)}
    values = {field: (value, whys.get(field, NO_READING)) for field, value in courses.items()}
    return CardSummary(uuid=uuid, samples=len(cards), spans=(), **files.known(values))


def _course(values: Sequence[Optional[float]]) -> Optional[Course]:
    known = [float(each) for each in values if each is not None]
    return Course(min(known), statistics.median(known), max(known)) if known else None


def _of_span(name: str, cards: Sequence[Card]) -> CardSpan:
    return CardSpan(
        span=name,
        samples=len(cards),
        sm_hertz=_median([each.sm_hertz for each in cards]),
        power_watts=_median([each.power_watts for each in cards]),
        busy_share=_median([each.busy_share for each in cards]),
    )


def _median(values: Sequence[Optional[float]]) -> Optional[float]:
    course = _course(values)
    return None if course is None else course.median
