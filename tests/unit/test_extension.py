"""How many repeats are added, and what is said of it."""

import dataclasses

from stages.harness.comparison.more_repeats import extension, unsettled
from stages.harness.results.read import CellResult
from stages.records import Cell
from tests import comparisons, results

REPEAT_SECONDS = 2 * (39 + 12)  # two settings, training and evaluation each


def run(verdict="inconclusive", more=4, repeats=3):
    """A comparison of two settings, the second with this verdict, and its cells: each repeat takes 2 * 51 s."""
    compared = comparisons.pair(verdict, 1.1, repeats)
    baseline, other = compared.settings
    total = dataclasses.replace(other.ratios["total_seconds"], more_repeats=more)
    other = dataclasses.replace(other, ratios={**other.ratios, "total_seconds": total})
    cells = [Cell(image, "fp32-bs16", repeat) for repeat in range(1, repeats + 1) for image in ("host", "cuda-10.0")]
    found = [
        CellResult(
            cell, "ok", None, results.trained(cell, wall_seconds=39.0), results.evaluated(cell, wall_seconds=12.0)
        )
        for cell in cells
    ]  # fmt: skip
    return dataclasses.replace(compared, settings=(baseline, other)), found


def test_as_many_as_are_asked_for_where_there_is_time():
    planned = extension(*run(more=2), seconds_left=4 * REPEAT_SECONDS + 1)
    assert planned.repeats == 2
    assert planned.words == ("not settled: cuda-10.0/fp32-bs16, 2 more repeats asked for; adding 2, at about 1:42 each")


def test_at_most_as_many_again_as_there_are_and_then_a_new_look():
    planned = extension(*run(more=270), seconds_left=1e6)
    assert planned.repeats == 3
    assert planned.words.endswith("270 more repeats asked for; adding 3, and then a new look, at about 1:42 each")


def test_fewer_where_there_is_time_for_fewer():
    planned = extension(*run(more=4), seconds_left=3 * REPEAT_SECONDS - 1)
    assert planned.repeats == 2
    assert "adding 2, for which there is time" in planned.words


def test_none_where_the_time_is_spent():
    planned = extension(*run(), seconds_left=-5.0)
    assert planned.repeats == 0
    assert "no time left: give it more with `make until HOURS=...`" in planned.words


def test_as_many_again_where_no_number_is_known_to_do():
    planned = extension(*run(more=None), seconds_left=1e6)
    assert planned.repeats == 3
    assert planned.words == (
        "not settled: cuda-10.0/fp32-bs16, for which even 1000 repeats would not do by what is known so far; "
        "adding 3, and then a new look, at about 1:42 each"
    )


def test_what_is_settled_or_cannot_be_settled_by_repeats_asks_for_none():
    assert unsettled(run("slower", None)[0]) == []
    assert unsettled(run("cannot say", None)[0]) == []
    assert len(unsettled(run("cannot say", 2, repeats=1)[0])) == 1
