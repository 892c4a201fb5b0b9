"""Figures as text."""

import pytest

from stages.harness import formatting
from stages.records import Summary


@pytest.mark.parametrize(
    ("value", "text"),
    [
        (0.5, "0.50 s"),
        (9.99, "9.99 s"),
        (12.34, "12.3 s"),
        (59.94, "59.9 s"),
        (59.96, "1:00"),
        (677.0, "11:17"),
        (4205, "70:05"),
    ],
)
def test_seconds(value, text):
    assert formatting.seconds(value) == text


def test_spread_is_left_out_for_one_sample():
    assert formatting.time(Summary({"1": 63.0}, 63.0, None)) == "1:03"
    assert formatting.time(Summary({"1": 63.0, "2": 69.0}, 66.0, 4.243)) == "1:06 ± 4.24 s"


def test_a_small_p_value_is_not_zero():
    assert (formatting.probability(0.0000001), formatting.probability(0.0312)) == ("<0.001", "0.031")
