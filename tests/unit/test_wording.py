"""Values as text."""

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


@pytest.mark.parametrize(
    ("value", "unit", "text"),
    [
        (677.0, "seconds", "11:17"),
        (0.9271, "share", "92.7%"),
        (1.5 * 2**30, "bytes", "1.5 GiB"),
        (97.23, "samples/s", "97.2 samples/s"),
        (1342.1, "samples/s", "1342 samples/s"),
        (0.012345, "points", "0.0123 points"),
        (2.5e7, "tokens/s", "2.5e+07 tokens/s"),
        (845.2, "joules", "845 J"),
        (999.7, "joules", "1 kJ"),
        (12345.0, "joules", "12.3 kJ"),
        (0.0, "joules", "0 J"),
    ],
)
def test_a_value_is_written_in_its_unit(value, unit, text):
    assert formatting.value(value, unit) == text


@pytest.mark.parametrize(
    ("name", "text"),
    [
        ("total_seconds", "total time"),
        ("samples_per_second", "samples/s"),
        ("warm_up_seconds", "warm up"),
        ("peak_gpu_memory_bytes", "peak gpu memory"),
        ("accuracy_top_5", "accuracy top 5"),
        ("_", "_"),
    ],
)
def test_a_metric_is_called_by_its_name_in_words(name, text):
    assert formatting.title(name) == text


def test_spread_is_left_out_for_one_sample_and_a_unit_of_its_own_is_said_once():
    assert formatting.summary(Summary({"1": 63.0}, 63.0, None), "seconds") == "1:03"
    assert formatting.summary(Summary({"1": 63.0, "2": 69.0}, 66.0, 4.243), "seconds") == "1:06 ± 4.24 s"
    assert formatting.summary(Summary({"1": 63.0, "2": 69.0}, 66.0, 4.243), "tokens/s") == "66 ± 4.24 tokens/s"


def test_a_small_p_value_is_not_zero():
    assert (formatting.probability(0.0000001), formatting.probability(0.0312)) == ("<0.001", "0.031")
