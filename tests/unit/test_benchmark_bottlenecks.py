"""Trainings with a planted cause, on a stand-in for a GPU: at least 19 of 20 of each kind are told right."""

import pytest

from benchmarks import bottlenecks

TRAININGS = 20


@pytest.fixture(scope="module")
def answers():
    return bottlenecks.answers(TRAININGS, seed=7)


@pytest.mark.parametrize("sign", ["marks", "kernels", "batches"])
@pytest.mark.parametrize("kind", ["input-bound", "copy-bound", "launch-bound", "compute-bound", "balanced"])
def test_of_a_planted_kind_nineteen_of_twenty_are_told_right(answers, kind, sign):
    kinds = answers[kind, sign]
    assert len(kinds) >= TRAININGS and kinds.count(kind) >= bottlenecks.RIGHT * len(kinds), kinds
