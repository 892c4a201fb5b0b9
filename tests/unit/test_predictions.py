"""Predictions of the same items: McNemar's exact test."""

import dataclasses

import pytest

from tests.faceoffs import compared, face_off, predicting


def told(repeats=1, **wrong):
    found = face_off(**{image: [10.0] * repeats for image in wrong})
    return {image: said.predictions for image, said in compared(predicting(found, **wrong)).items()}


def test_items_that_changed_side_are_counted():
    said = told(host=(0, 1, 2), other=(2, 3, 4, 5))["other"]
    assert (said.items, said.only_here_right, said.only_baseline_right) == (400, 2, 3)
    assert said.verdict == "no difference shown"


@pytest.mark.parametrize(
    ("host", "other", "p_value", "verdict"),
    [
        ((), range(6), 2 / 2**6, "worse"),
        (range(6), (), 2 / 2**6, "better"),
        ((), range(5), 2 / 2**5, "no difference shown"),
        (range(3), range(3), 1.0, "no difference shown"),
    ],
)
def test_the_exact_p_value_is_that_of_a_fair_coin(host, other, p_value, verdict):
    said = told(host=host, other=other)["other"]
    assert said.p_value == pytest.approx(p_value)
    assert said.verdict == verdict


def test_repeats_that_predict_the_same_are_no_more_evidence():
    """The same network ten times over: five items stay five items."""
    once, often = (told(repeats, host=(), other=range(5))["other"] for repeats in (1, 10))
    assert once == often


def test_a_item_counts_for_the_side_that_predicts_right_in_more_repeats():
    found = predicting(face_off(host=[10.0] * 3, other=[10.0] * 3), host=(), other=(0, 1))
    found[-1] = dataclasses.replace(found[-1], right=dict.fromkeys(found[-1].right, True))  # the third repeat
    found[0] = dataclasses.replace(found[0], right={item: item != "item-1" for item in found[0].right})
    said = compared(found)["other"].predictions
    # item-0: wrong twice here, never there. item-1: wrong twice here, once there.
    assert (said.only_here_right, said.only_baseline_right) == (0, 2)


def test_holm_corrects_for_the_settings_that_are_compared():
    alone = told(host=(), a=range(6))["a"]
    among = told(host=(), a=range(6), b=(), c=())["a"]
    assert among.p_value == pytest.approx(3 * alone.p_value)
    assert (alone.verdict, among.verdict) == ("worse", "no difference shown")


def test_without_predictions_of_both_nothing_is_said():
    found = predicting(face_off(host=[10.0], other=[10.0]), host=(), other=())
    bare = [dataclasses.replace(each, right=None) if each.cell.image == "host" else each for each in found]
    assert compared(bare)["other"].predictions is None
