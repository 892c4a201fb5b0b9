"""From results to figures and outcomes: the arithmetic, on results written out by hand."""

import dataclasses

import pytest

from stages.harness import comparison
from stages.harness.cells import Result
from stages.records import Cell
from tests import results

BASELINE = "host/fp32-bs16"


def ran(seconds, image="host", repeat=1, recipe=results.RECIPE, precision="fp32"):
    """A cell that ran whole: each epoch took `seconds`, one prediction with TTA 3 s."""
    cell = Cell(image, precision, 16, repeat)
    return Result(cell, "ok", None, results.trained(cell, seconds, recipe), results.evaluated(cell, 3.0))


def did_not(status, image="host", repeat=1):
    return Result(Cell(image, "fp32", 16, repeat), status, "why")


def compared(*given):
    return {setting.setting: setting for setting in comparison.compare(given, BASELINE)}


def test_the_total_is_all_training_phases_and_one_prediction_with_tta():
    figures = comparison.summaries([ran(10.0)])
    assert figures["frozen_seconds"].mean == 10
    assert figures["unfrozen_seconds"].mean == 20
    assert figures["predict_tta_seconds"].mean == 3
    assert figures["total_seconds"].mean == 33


def test_images_per_second_leave_validation_out():
    assert comparison.summaries([ran(10.0)])["train_images_per_second"].mean == pytest.approx(320 / 9)


def test_a_phase_without_epochs_and_a_gpu_that_is_not_there_have_no_figure():
    recipe = dataclasses.replace(results.RECIPE, frozen_epochs=0)
    figures = comparison.summaries([ran(10.0, recipe=recipe)])
    assert "frozen_seconds" not in figures and "peak_gpu_memory_bytes" not in figures
    assert figures["total_seconds"].mean == 23


def test_peak_memory_is_the_highest_of_training_and_prediction():
    assert comparison.summaries([ran(10.0)])["peak_process_memory_bytes"].mean == 950 * results.MIB


def test_spread_is_the_sample_standard_deviation_and_one_sample_has_none():
    assert comparison.summary({"1": 10.0}).spread is None
    assert comparison.summary({"1": 10.0, "2": 12.0, "3": 14.0}).spread == pytest.approx(2.0)


def test_ratios_pair_the_same_repeat_and_leave_unpaired_ones_out():
    ratio = comparison.ratio({"1": 20.0, "2": 5.0, "4": 1.0}, {"1": 10.0, "2": 10.0, "3": 1.0})
    assert ratio.pairs == {"1": 2.0, "2": 0.5}
    assert ratio.mean == pytest.approx(1.0)  # geometric: the arithmetic mean would say 1.25
    assert (ratio.lowest, ratio.highest) == (0.5, 2.0)


def test_one_pair_has_a_ratio_but_no_spread_and_no_verdict():
    ratio = comparison.ratio({"1": 20.0}, {"1": 10.0})
    assert (ratio.mean, ratio.lowest, ratio.highest) == (2.0, None, None)
    assert comparison.outcome(ratio) == "undecided"


def test_no_common_repeat_is_no_ratio():
    assert comparison.ratio({"1": 20.0}, {"2": 10.0}) is None


def test_a_figure_of_zero_has_no_ratio():
    assert comparison.ratio({"1": 0.0}, {"1": 0.0}) is None
    assert comparison.ratio({"1": 0.0}, {"1": 1.0}) is None


@pytest.mark.parametrize(
    ("seconds", "expected"),
    [((9.0, 9.5, 9.9), "faster"), ((10.1, 12.0, 11.0), "slower"), ((9.0, 9.5, 10.1), "undecided")],
)
def test_faster_and_slower_need_every_repeat(seconds, expected):
    baseline = [ran(10.0, repeat=repeat) for repeat in (1, 2, 3)]
    other = [ran(each, "cuda-10.0", repeat) for repeat, each in enumerate(seconds, start=1)]
    setting = compared(*baseline, *other)["cuda-10.0/fp32-bs16"]
    assert setting.outcome == expected
    assert len(setting.ratios["total_seconds"].pairs) == 3


def test_the_baseline_is_compared_with_nothing():
    setting = compared(ran(10.0))[BASELINE]
    assert (setting.outcome, setting.ratios) == ("baseline", {})


def test_a_cell_that_did_not_run_whole_is_a_reason_and_never_a_number():
    given = [ran(10.0), ran(10.0, repeat=2), did_not("unsupported", "cpu", 1), did_not("unsupported", "cpu", 2)]
    setting = compared(*given)["cpu/fp32-bs16"]
    assert (setting.status, setting.figures, setting.ratios) == ("unsupported", {}, {})
    assert setting.reasons == {"1": "unsupported: why", "2": "unsupported: why"}
    assert setting.outcome == "not compared"


def test_without_a_baseline_nothing_is_compared():
    settings = compared(did_not("failed"), ran(10.0, "cpu"))
    assert settings[BASELINE].status == "failed"
    assert (settings["cpu/fp32-bs16"].outcome, settings["cpu/fp32-bs16"].ratios) == ("not compared", {})
    assert settings["cpu/fp32-bs16"].figures["total_seconds"].mean == 33


@pytest.mark.parametrize(
    ("statuses", "expected"),
    [
        (["ok", "ok"], "ok"),
        (["ok", "failed"], "partial"),
        (["missing", "failed"], "failed"),
        (["missing", "refused"], "refused"),
        (["unsupported", "missing"], "unsupported"),
        (["missing"], "missing"),
    ],
)
def test_one_status_for_all_repeats(statuses, expected):
    assert comparison.setting_status(statuses) == expected


def test_settings_keep_the_order_of_the_matrix():
    given = [ran(10.0, image, repeat) for repeat in (1, 2) for image in ("host", "b", "a")]
    assert list(compared(*given)) == ["host/fp32-bs16", "b/fp32-bs16", "a/fp32-bs16"]
