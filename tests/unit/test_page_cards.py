"""What cards did, as the page and the tidy table show it."""

import csv
import dataclasses
import io
import re

import pytest

from stages import records
from stages.harness import formatting
from stages.harness.report import page, tidy
from stages.harness.report.page import cards
from stages.harness.results.read import CellResult
from stages.records import Attempt, Cell
from tests import comparisons, results
from tests.faceoffs import changed, compared, face_off, noisy
from tests.page import pages

CELL = Cell("host", "fp32-bs16", 1)


def ran(*clocks: float, repeat: int = 1, **fields) -> CellResult:
    cell = Cell("host", "fp32-bs16", repeat)
    its = {"cards": (results.card("GPU-1", *clocks),), "energy": results.energy(900.0, body=900.0), **fields}
    return CellResult(cell, "ok", None, results.trained(cell, **its), results.evaluated(cell))


def test_a_card_that_speeds_up_in_the_first_epoch_is_visible():
    found = cards.rows([ran(345e6, 1980e6, 1980e6), ran(375e6, 1980e6, 1980e6, repeat=2)])
    assert [(row.when, row.clock) for row in found] == [
        ("1: body", "360 MHz"),
        ("2: body", "1,980 MHz"),
        ("3: body", "1,980 MHz"),
        ("the whole command", "1,980 MHz (345 MHz to 1,980 MHz)"),
    ]
    assert (found[-1].power, found[-1].busy, found[-1].held) == ("150 W", "90%", "software power cap in 25%")


def test_many_spans_are_put_together_after_the_first():
    found = cards.rows([ran(*[1e9] * 40)])
    assert [row.when for row in found][-3:] == ["6: body", "7 to 40", "the whole command"] and len(found) == 8


def test_trainings_in_several_attempts_are_left_out():
    attempts = (Attempt(0, 41.0, results.LOAD),) * 2
    assert cards.rows([ran(1e9, attempts=attempts)]) == []


def test_the_page_says_what_the_energy_is_of():
    assert cards.energy_words([ran(1e9)]) == (
        "Energy is that of all cards that a command could see, whatever else ran on them, by the cards' own counters. "
        "What they take idle is in it: just before the commands they drew 31 W."
    )
    sampled = ran(1e9, energy=dataclasses.replace(results.energy(), how="sampled"))
    assert "by the cards' own counters; of 1 training sampled: power" in cards.energy_words([ran(1e9), sampled])
    assert cards.energy_words([ran(1e9, energy=None)]) == ""  # it saw no card
    unknown = cards.energy_words([ran(1e9), ran(1e9, energy=None, gpu_uuids=("GPU-1",))])
    assert unknown.endswith(" Energy is not known of some trainings: the job does not say it.")
    cpus = cards.energy_words([ran(1e9, energy=None, cpu_joules=5.0)])
    assert cpus.startswith("Energy of the CPUs is that of all processor packages") and "idle" in cpus


def test_the_tidy_table_has_a_row_for_each_card_span_and_value():
    text = tidy.text(results.JOB, results.machine(), [ran(345e6, 1980e6)], results.VARIANTS, {}, {})
    rows = [row for row in csv.DictReader(io.StringIO(text)) if row["card"]]
    assert {row["card"] for row in rows} == {"GPU-1"} and len(rows) == 6
    clocks = [
        (row["span_number"], row["span"], float(row["value"])) for row in rows if row["metric"] == "card_sm_hertz"
    ]
    assert clocks == [("1", "body", 345e6), ("2", "body", 1980e6)]


def test_the_page_shows_spans_clocks_and_energy():
    compared, image = comparisons.pair(), results.profile("host")
    own = {"cards": (results.card("GPU-1", 345e6, 1980e6),), "energy": results.energy()}
    cells = [CellResult(each.cell, "ok", None, results.trained(CELL, **own)) for each in pages.cells_of(compared)]
    text = page.html(compared, cells, pages.params_of(compared), {"host": image}, {})
    assert "What the card did" in text and "just before the commands they drew 31 W" in text
    assert re.search(r"1: body.*345 MHz.*2: body.*1,980 MHz.*software power cap in 25%", text, re.DOTALL)


def test_a_page_without_cards_says_nothing_of_them():
    assert "What the card did" not in pages.html(comparisons.pair())


def test_energy_is_compared_in_pairs_with_an_interval():
    """A setting of the same time that takes a fifth less energy: the time is equivalent, the energy is not."""
    found = face_off(host=noisy(10.0, 8), other=noisy(10.0, 8, seed=1))
    for image, watts in (("host", 100.0), ("other", 80.0)):
        found = changed(found, image, lambda train, watts=watts: with_energy(train, watts))
    ratio = compared(found, job=dataclasses.replace(results.JOB, total=records.WALL))["other"].ratios["energy_joules"]
    assert len(ratio.pairs) == 8 and ratio.low < ratio.mean < ratio.high
    assert ratio.mean == pytest.approx(0.8, rel=0.01) and ratio.verdict == "faster"
    assert (
        formatting.verdict("energy_joules", ratio.verdict) == "less"
        and formatting.verdict("head_seconds", "slower") == "slower"
    )


def with_energy(train, watts):
    return dataclasses.replace(
        train,
        energy=results.energy(watts * train.command_seconds),
        absent={name: why for name, why in train.absent.items() if name != "energy"},
    )
