"""From results to figures: the arithmetic, on results written out by hand."""

import dataclasses

import pytest

from stages.harness.results import metrics
from stages.harness.results.read import Result
from stages.records import Cell
from tests import results
from tests.faceoffs import face_off


def ran(seconds, recipe=results.RECIPE):
    """A cell that ran whole: each epoch took `seconds`, one prediction with TTA 3 s."""
    cell = Cell("host", "fp32", 16, 1)
    return Result(cell, "ok", None, results.trained(cell, seconds, recipe), results.evaluated(cell, 3.0))


def test_the_total_is_all_training_phases_and_one_prediction_with_tta():
    found = metrics.summaries([ran(10.0)])
    assert found["frozen_seconds"].mean == 10
    assert found["unfrozen_seconds"].mean == 20
    assert found["predict_tta_seconds"].mean == 3
    assert found["total_seconds"].mean == 33


def test_images_per_second_leave_validation_out():
    assert metrics.summaries([ran(10.0)])["train_images_per_second"].mean == pytest.approx(320 / 9)


def test_a_phase_without_epochs_and_a_gpu_that_is_not_there_have_no_figure():
    recipe = dataclasses.replace(results.RECIPE, frozen_epochs=0)
    found = metrics.summaries([ran(10.0, recipe)])
    assert "frozen_seconds" not in found and "peak_gpu_memory_bytes" not in found
    assert found["total_seconds"].mean == 23


def test_peak_memory_is_the_highest_of_training_and_prediction():
    assert metrics.summaries([ran(10.0)])["peak_process_memory_bytes"].mean == 950 * results.MIB


def test_spread_is_the_sample_standard_deviation_and_one_sample_has_none():
    assert metrics.summary({"1": 10.0}).spread is None
    assert metrics.summary({"1": 10.0, "2": 12.0, "3": 14.0}).spread == pytest.approx(2.0)


def test_the_order_of_the_runs_is_when_they_began_and_not_their_numbers():
    """A repeat that was measured again lies at the end, and on the clock of another time zone too."""
    first, second, third = face_off(host=[10.0, 10.0, 10.0])
    again = dataclasses.replace(first, train=dataclasses.replace(first.train, started_at="2026-01-02T01:10:00-02:00"))
    places = metrics.moments([again, second, third], metrics.TOTAL)
    assert sorted(places, key=places.get) == [second.cell, third.cell, first.cell]


def test_a_prediction_has_the_moment_of_the_evaluation():
    first, second = face_off(host=[10.0, 10.0])
    late = dataclasses.replace(
        second, evaluate=dataclasses.replace(second.evaluate, started_at="2026-01-02T09:04:05+00:00")
    )
    of_training, of_prediction = (
        metrics.moments([first, late], name) for name in (metrics.TOTAL, "predict_tta_seconds")
    )
    assert of_training[late.cell] == pytest.approx(2 / 60)
    assert of_prediction[late.cell] == pytest.approx(6 - 1 / 60)
