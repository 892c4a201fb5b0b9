"""How the settings of a run are laid side by side: which are compared with which, and what is said where one is not."""

import dataclasses

import pytest

from stages.harness.comparison import compare
from tests import results
from tests.faceoffs import compared, face_off, noisy


def test_only_repeats_that_both_ran_whole_are_paired():
    found = face_off(host=[10.0, 10.0, "missing", 10.0, 10.0], other=[20.0, 20.0, 20.0, 20.0, "missing"])
    ratio = compared(found)["other"].ratios["frozen_seconds"]
    assert ratio.pairs == {"1": 2.0, "2": 2.0, "4": 2.0}


def test_no_common_repeat_is_no_ratio():
    said = compared(face_off(host=["missing", 10.0], other=[10.0, "missing"]))["other"]
    assert (said.verdict, said.ratios) == ("cannot say", {})
    assert said.words == "cannot say: it has no repeat in common with the baseline"


def test_the_baseline_is_compared_with_nothing():
    said = compared(face_off(host=[10.0]))["host"]
    assert (said.verdict, said.words, said.ratios, said.accuracy) == ("baseline", "the baseline", {}, None)


def test_a_cell_that_did_not_run_whole_is_a_reason_and_never_a_number():
    said = compared(face_off(host=[10.0, 10.0], other=["unsupported", "unsupported"]))["other"]
    assert (said.status, said.figures, said.ratios) == ("unsupported", {}, {})
    assert said.reasons == {"1": "unsupported: the reason", "2": "unsupported: the reason"}


def test_without_a_baseline_nothing_is_compared():
    said = compared(face_off(host=["missing"] * 3, other=noisy(10.0, 3)))
    assert (said["other"].verdict, said["other"].ratios) == ("cannot say", {})
    assert said["other"].words == "cannot say: the baseline has no repeat in common with it"
    assert said["other"].figures["total_seconds"].mean == pytest.approx(33, rel=0.01)


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
    assert compare.setting_status(statuses) == expected


def test_settings_keep_the_order_of_the_matrix():
    assert list(compared(face_off(host=[10.0] * 2, b=[10.0] * 2, a=[10.0] * 2))) == ["host", "b", "a"]


def test_what_differs_is_not_known_without_both_profiles():
    found = face_off(host=[10.0], other=[10.0])
    assert compared(found, profiles={"host": results.profile("host")})["other"].differences == ()


def test_a_network_that_lies_otherwise_in_memory_is_a_difference():
    found = face_off(host=noisy(10, 3), other=noisy(10, 3))
    other = [
        dataclasses.replace(each, train=dataclasses.replace(each.train, memory_format="contiguous"))
        if each.cell.image == "other"
        else each
        for each in found
    ]
    assert compared(other)["other"].differences == ("memory format contiguous, not channels_last",)
    assert compared(found)["other"].differences == ()
