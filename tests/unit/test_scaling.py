"""A setting with more GPUs than the baseline is told to scale weakly or strongly, or that this can't be told."""

import dataclasses

import pytest

from stages.harness.comparison import compare, scaling
from stages.harness.params.schema import CompareParams
from stages.harness.results.read import CellResult
from stages.records import Cell, Variant
from tests import results

RULES = CompareParams("host/fp32-bs16", 0.02, (), 0)


def cells(variant, gpus, samples, seconds, cards=(), steps=20, **parameters):
    """Three repeats whose passes had so many samples, on all processes, in so many seconds."""
    found = []
    for repeat in (1, 2, 3):
        one = Cell("host", variant, repeat)
        took = seconds * (1 + 0.001 * repeat)
        changes = {"samples": samples, "steps": steps, "split": None}
        spans = (
            results.span("body", took, **changes),
            results.span("validation", 0.01, samples=7, steps=1, split=None),
        )
        owner = results.belongs(one, variant=Variant({"batch_size": 16, **parameters}, {}, gpus))
        train = results.trained(one, spans=spans, gpu_uuids=cards, belongs=owner)
        found.append(CellResult(one, "ok", None, train, results.evaluated(one)))
    return found


ONE = cells("fp32-bs16", 1, 320, 10.0)


def said(other, job=results.JOB):
    job = dataclasses.replace(job, total=("body",))
    return compare.compare([*ONE, *other], RULES, {}, job)[1].explanation


def test_as_many_samples_for_each_process_are_weak_scaling():
    assert said(cells("fp32-bs64", 2, 640, 11.0))[0] == (
        "Weak scaling: 2 processes in place of 1, and 32 samples a step in place of 16: "
        "1.80 times the samples/s, 90% of the baseline's for each process."
    )


def test_as_many_samples_in_all_are_strong_scaling():
    other = cells("fp32-bs64", 2, 320, 6.0, steps=20, batch_size=8)
    assert said(other)[0] == (
        "Strong scaling: 2 processes in place of 1, for the same 16 samples a step: "
        "1.67 times the samples/s, 83% of the baseline's for each process."
    )


def test_any_other_batch_is_neither():
    assert said(cells("fp32-bs64", 4, 480, 6.0))[0] == (
        "4 processes in place of 1, and 24 samples a step in place of 16: neither weak scaling, which has 64, "
        "nor strong, which has 16."
    )


def test_without_samples_it_is_said_that_it_cannot_be_told():
    assert said(cells("fp32-bs64", 2, None, 6.0))[0] == (
        "2 processes in place of 1: whether this is weak or strong scaling cannot be told: the samples and "
        "steps of a span are not known."
    )


def test_they_are_gpus_where_both_had_one():
    one, two = (
        cells("fp32-bs16", 1, 320, 10.0, cards=("GPU-a",)),
        cells("fp32-bs64", 2, 640, 11.0, cards=("GPU-a", "b")),
    )
    assert scaling.sentences(two, one, {}) == [
        "Weak scaling: 2 GPUs in place of 1, and 32 samples a step in place of 16."
    ]


@pytest.mark.parametrize(
    "other",
    [
        cells("fp32-bs64", 1, 320, 10.0),
        cells("fp32-bs64", 2, 640, 10.0, batch_size=8, precision="mixed"),
        cells("fp32-bs64", 2, 640, 10.0, precision="mixed"),
        cells("fp32-bs64", 2, 640, 10.0, workers=3),
        cells("fp32-bs64", 2, 640, 10.0, batch_size=48),
        [dataclasses.replace(each, cell=Cell("old", "fp32-bs64", 1)) for each in cells("fp32-bs64", 2, 640, 10.0)],
    ],
)
def test_what_differs_in_more_or_not_in_gpus_is_no_scaling(other):
    assert scaling.sentences(other, ONE, {}) == []
