"""What is made of readings of cards: sums, courses, warnings, and reasons."""

import dataclasses

import pytest

from stages.records import CardSpan
from stages.workload.probes.watch import Card, Reading
from stages.workload.supervisor import sampled, sampling
from stages.workload.supervisor.progress import Arrival, Taken
from stages.workload.supervisor.sampling import Sampled, Timeline, Until
from tests import results

CARD = Card(None, 100.0, 345_000_000, 405_000_000, 36, 0.5, (), False, {"millijoules": "the driver answers: no"})
COUNTING = CARD._replace(millijoules=7_000_000, absent={})


def reading(at: float, *cards: Card) -> Reading:
    return Reading(at, cards)


def test_a_counter_is_read_off_between_two_readings() -> None:
    found = Timeline(reading(10.0, COUNTING))
    found.add(reading(12.0, COUNTING._replace(millijoules=7_400_000)))
    found.add(reading(13.0, COUNTING._replace(millijoules=7_500_000)))
    assert (found.how, found.last.joules) == ("counted", 500.0)
    assert [found.joules_at(at) for at in (9.0, 10.0, 11.0, 12.5, 13.0)] == [0.0, 0.0, 200.0, 450.0, 500.0]
    assert found.joules_at(13.1) is None  # nothing was read after it


def test_power_is_summed_up_over_the_time_and_a_reading_that_failed_is_passed_over() -> None:
    found = Timeline(reading(0.0, CARD))
    found.add(reading(1.0, CARD._replace(power_watts=300.0)))
    found.add(reading(2.0, CARD._replace(power_watts=None)))
    found.add(reading(3.0, CARD._replace(power_watts=300.0)))
    assert (found.how, found.last.joules, found.joules_at(2.0)) == ("sampled", 800.0, 500.0)


def test_cards_add_up_and_one_that_is_sampled_has_all_called_so() -> None:
    found = Timeline(reading(0.0, COUNTING, CARD))
    found.add(reading(2.0, COUNTING._replace(millijoules=7_050_000), CARD))
    assert (found.how, found.last.joules) == ("sampled", 250.0)


@pytest.mark.parametrize(
    ("first", "second", "why"),
    [
        (COUNTING, COUNTING._replace(millijoules=5), "the card's counter of energy went back"),
        (COUNTING._replace(mig=True), COUNTING, "the card is in parts (MIG)"),
        (
            CARD._replace(power_watts=None, absent={"millijoules": "no permission", "power_watts": "none either"}),
            CARD,
            "neither a counter of energy (no permission) nor power (none either)",
        ),
    ],
)
def test_energy_that_cannot_be_known_has_a_reason(first: Card, second: Card, why: str) -> None:
    found = Timeline(reading(0.0, first))
    found.add(reading(1.0, second))
    assert found.no_energy is not None and found.no_energy.startswith(why)
    assert found.joules_at(0.5) is None and found.last.joules is None


def test_a_long_command_is_read_less_often_and_its_energy_stays_whole(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sampling, "MOST", 16)
    found = Timeline(reading(0.0, CARD))
    for look in range(1, 201):
        if look / 2 - found.last.at >= found.period_seconds:
            found.add(reading(look / 2, CARD))
    assert found.last.at >= 90 and found.last.joules == 100 * found.last.at and found.joules_at(50.0) == 5_000
    assert found.period_seconds == 16 * sampling.PERIOD_SECONDS and len(found.within(0.0, 100.0)) <= 16


def test_readings_that_take_much_are_made_less_often() -> None:
    periods = []
    for cost in (0.0002, 0.001, 0.1):
        found = Timeline(Reading(0.0, (CARD,), cost))
        for at in range(1, 40):
            found.add(Reading(float(at), (CARD,), cost))
        periods.append(found.period_seconds)
    assert periods == [0.5, pytest.approx(1.15), 2.0]


def test_the_first_reading_is_before_the_command_and_counts_for_no_course() -> None:
    found = Timeline(reading(0.0, CARD._replace(sm_hertz=1)))
    for moment, megahertz in ((1.0, 345), (2.0, 345), (3.0, 1980)):
        found.add(reading(moment, CARD._replace(sm_hertz=megahertz * 10**6, throttle_reasons=("x",) * (moment > 2))))
    (card,) = sampling.summaries(("GPU-1",), found.within(-1.0, 9.0))
    assert card.sm_hertz is not None and dataclasses.astuple(card.sm_hertz) == (345e6, 345e6, 1980e6)
    assert (card.samples, card.throttled) == (3, {"x": pytest.approx(1 / 3)})


def test_what_a_card_does_not_tell_is_null_with_its_reason() -> None:
    silent = CARD._replace(busy_share=None, throttle_reasons=None, absent={"busy_share": "a", "throttle_reasons": "b"})
    (card,) = sampling.summaries(("GPU-1",), [sampling.Moment(1.0, 0.0, (silent,))])
    assert (card.busy_share, card.throttled, card.absent) == (None, None, {"busy_share": "a", "throttled": "b"})


# ---------------------------------------------------------------------------------------------------- of attempts


SEEN = Sampled(("GPU-1",), "counted", 31.0, None, None, (results.card("GPU-1", 1980e6),))


def taken(joules: float | None, *spans: float | None, clock: float = 1980e6, seen: Sampled = SEEN) -> Taken:
    its = (CardSpan("body", 20, clock, 150.0, 0.9),)
    span = results.span("body", 1.0)
    arrivals = tuple(Arrival.packed(span, Until(results.LOAD, each), each, its) for each in spans)
    return Taken(seen, Until(results.LOAD, joules), arrivals)


def test_attempts_add_up() -> None:
    found, _ = sampled.energy([taken(100.0, 80.0), taken(50.0, 30.0, 10.0)])
    assert found is not None
    assert (found.joules, found.spans_joules, found.idle_watts) == (150.0, {"body": 120.0}, 31.0)
    assert [len(card.spans) for card in sampled.cards([taken(100.0, 80.0), taken(50.0, 30.0, 10.0)])] == [1, 2]


def test_an_attempt_whose_energy_is_not_known_makes_the_whole_unknown_and_is_named() -> None:
    assert sampled.energy([taken(None, 80.0), taken(50.0)]) == (
        None,
        "attempt 1 was cut off before what it took was read",
    )
    why = dataclasses.replace(SEEN, no_energy="the driver went", how=None)
    assert sampled.energy([taken(50.0), taken(None, seen=why)]) == (None, "the driver went")


def test_a_span_whose_energy_is_not_known_leaves_out_its_name() -> None:
    found, _ = sampled.energy([taken(100.0, 80.0, None)])
    assert found is not None and found.spans_joules == {}


def test_a_clock_that_was_lower_in_the_first_span_is_a_warning() -> None:
    slow, fast = taken(9.0, 1.0, clock=345e6), taken(9.0, 1.0, 1.0)
    ramped = slow._replace(arrivals=(*slow.arrivals, *fast.arrivals))
    (line,) = sampled.warnings([ramped])
    assert line == (
        "GPU-1: its clock was 345 MHz in the first span (body) and 1,980 MHz later: the card was still speeding up"
    )
    assert sampled.warnings([fast]) == ()


def test_heat_that_held_the_clocks_down_for_long_is_a_warning_and_a_power_limit_is_none() -> None:
    card = dataclasses.replace(SEEN.cards[0], throttled={"software power cap": 0.9, "software thermal slowdown": 0.3})
    (line,) = sampled.warnings([taken(9.0, 1.0, seen=dataclasses.replace(SEEN, cards=(card,)))])
    assert line == "GPU-1: its clocks were held down in 30% of the readings (software thermal slowdown)"
