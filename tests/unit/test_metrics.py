"""From results to metrics: the arithmetic, on results written out by hand."""

import dataclasses

import pytest

from stages.contract import Span
from stages.harness.results import metrics
from stages.harness.results.read import CellResult
from stages.records import WALL, Cell, Metric
from tests import results
from tests.faceoffs import face_off

CELL = Cell("host", "fp32-bs16", 1)


def ran(seconds=10.0, train=(), evaluate=()):
    """A cell that ran whole: each epoch took `seconds`, the prediction 3 s."""
    return CellResult(
        CELL, "ok", None, results.trained(CELL, seconds, **dict(train)), results.evaluated(CELL, 3.0, **dict(evaluate))
    )


def values(result, job=results.JOB):
    return metrics.values(result, job)


def test_the_total_is_the_sum_of_the_spans_that_the_job_names():
    found = values(ran())
    assert [found[name] for name in ("head_seconds", "body_seconds", "predict_seconds")] == [10, 20, 3]
    assert found["total_seconds"] == 33
    assert values(ran(), dataclasses.replace(results.JOB, total=("body",)))["total_seconds"] == 20


def test_of_a_job_that_says_nothing_it_is_the_wall_clock_of_its_command():
    result = CellResult(CELL, "ok", None, *results.silent(CELL, 12.5))
    assert values(result, results.SILENT_JOB) == {
        "total_seconds": 12.5,
        "peak_process_memory_bytes": 900 * results.MIB,
    }
    assert [*metrics.declared(results.SILENT_JOB, [result])] == ["total_seconds", "peak_process_memory_bytes"]


def test_what_is_not_evaluated_yet_has_what_its_training_tells():
    result = dataclasses.replace(ran(train={"metrics": {"loss": 0.5}}), status="trained", evaluate=None)
    job = dataclasses.replace(results.JOB, metrics={**results.JOB.metrics, "loss": Metric("nats", "lower")})
    assert {*values(result, job)} == {"head_seconds", "body_seconds", "samples_per_second", "loss"}
    wall = dataclasses.replace(job, total=("wall",))
    assert values(result, wall)["total_seconds"] == 37


def test_samples_per_second_are_of_the_steps_of_the_training_alone():
    assert values(ran())["samples_per_second"] == pytest.approx(320 / 9)
    predicted = Span("predict", 3.0, samples=96)
    assert values(ran(evaluate={"spans": (predicted,)}))["samples_per_second"] == pytest.approx(320 / 9)
    without_split = Span("head", 10.0, samples=320), Span("body", 5.0)  # the second says no samples
    assert values(ran(train={"spans": without_split}))["samples_per_second"] == 32


def test_a_metric_that_the_job_did_not_say_is_not_there():
    found = values(ran(train={"spans": (Span("head", 1.0), Span("body", 1.0))}, evaluate={"metrics": {}}))
    assert "accuracy" not in found and "samples_per_second" not in found


def test_what_both_stages_say_is_the_evaluations_and_of_bytes_the_larger():
    job = dataclasses.replace(
        results.JOB, metrics={"accuracy": Metric("share", "higher"), "gpu_bytes": Metric("bytes", "lower")}
    )
    both = ran(
        train={"metrics": {"accuracy": 0.9, "gpu_bytes": 7.0}},
        evaluate={"metrics": {"accuracy": 0.8, "gpu_bytes": 5.0}},
    )
    assert (values(both, job)["accuracy"], values(both, job)["gpu_bytes"]) == (0.8, 7.0)


def test_peak_memory_is_the_highest_of_training_and_evaluation():
    assert values(ran())["peak_process_memory_bytes"] == 950 * results.MIB


def test_metrics_are_declared_in_their_order_and_only_those_that_a_cell_has():
    job = dataclasses.replace(
        results.JOB, metrics={"tokens_per_second": Metric("tokens/s", "higher", timed=True), **results.JOB.metrics}
    )
    found = metrics.declared(job, [ran(train={"metrics": {"tokens_per_second": 9.0}})])
    assert [*found] == [
        "total_seconds", "head_seconds", "body_seconds", "predict_seconds", "samples_per_second", "tokens_per_second",
        "accuracy", "peak_process_memory_bytes",
    ]  # fmt: skip
    assert [*metrics.timed(found)][-2:] == ["samples_per_second", "tokens_per_second"]
    assert "tokens_per_second" not in metrics.declared(job, [ran()])


def test_spread_is_the_sample_standard_deviation_and_one_sample_has_none():
    assert metrics.summary({"1": 10.0}).spread is None
    assert metrics.summary({"1": 10.0, "2": 12.0, "3": 14.0}).spread == pytest.approx(2.0)


def test_the_order_of_the_runs_is_when_they_began_and_not_their_numbers():
    """A repeat that was measured again lies at the end, and on the clock of another time zone too."""
    first, second, third = face_off(host=[10.0, 10.0, 10.0])
    again = dataclasses.replace(first, train=dataclasses.replace(first.train, started_at="2026-01-02T01:10:00-02:00"))
    places = metrics.moments([again, second, third], metrics.TOTAL)
    assert sorted(places, key=places.get) == [second.cell, third.cell, first.cell]


@pytest.mark.parametrize("of_evaluation", ["predict_seconds", "accuracy"])
def test_what_the_evaluation_alone_tells_has_its_moment(of_evaluation):
    first, second = face_off(host=[10.0, 10.0])
    late = dataclasses.replace(
        second, evaluate=dataclasses.replace(second.evaluate, started_at="2026-01-02T09:04:05+00:00")
    )
    of_training, found = (metrics.moments([first, late], name) for name in (metrics.TOTAL, of_evaluation))
    assert of_training[late.cell] == pytest.approx(2 / 60)
    assert found[late.cell] == pytest.approx(6 - 1 / 60)


def test_curves_are_means_over_the_repeats_that_have_the_span():
    whole = ran()
    shorter = ran(train={"spans": (results.span("head", 1.0, values={"train_loss": 0.5}), Span("body", 1.0))})
    head, *body = metrics.curve([whole, shorter])
    assert (head.epoch, head.span) == (1, "head")
    assert head.values == {"train_loss": pytest.approx(0.6), "valid_loss": 0.6, "accuracy": 0.9}
    assert [point.epoch for point in body] == [2, 3]
    assert body[-1].values["train_loss"] == pytest.approx(0.7 / 3)


def energies(train=None, evaluate=None):
    return values(ran(train={"energy": train}, evaluate={"energy": evaluate}))


def test_energy_is_that_of_what_the_total_is_made_of():
    train, evaluate = results.energy(1500.0, head=300.0, body=900.0), results.energy(400.0, predict=60.0)
    found = energies(train, evaluate)
    assert found["energy_joules"] == 1260
    assert found["joules_per_sample"] == 1200 / (3 * 320)
    whole = dataclasses.replace(results.JOB, total=WALL)
    assert values(ran(train={"energy": train}), whole)["energy_joules"] == 1500


@pytest.mark.parametrize(
    ("train", "evaluate"),
    [
        (None, results.energy(400.0, predict=60.0)),
        (results.energy(1500.0, head=300.0, body=900.0), None),
        (results.energy(1500.0, head=300.0), results.energy(400.0, predict=60.0)),
    ],
    ids=["not of the training", "not of the evaluation", "not of a span"],
)
def test_energy_of_which_a_part_is_not_known_is_none(train, evaluate):
    assert "energy_joules" not in energies(train, evaluate)


def test_energy_a_sample_is_of_spans_that_all_say_their_samples():
    spans = (*(results.span("body", 5.0) for _ in range(2)), Span("head", 5.0))
    energy = results.energy(900.0, head=100.0, body=320.0)
    assert values(ran(train={"spans": spans, "energy": energy}))["joules_per_sample"] == 0.5


def test_energy_has_paired_ratios():
    """Timed, so that a setting that takes less in each repeat is compared with the baseline, and less is better."""
    found = metrics.declared(results.JOB, [ran(train={"energy": results.energy(9.0, body=9.0), "cpu_joules": 5.0})])
    assert {name: found[name].better for name in ("joules_per_sample", "cpu_joules")} == {
        "joules_per_sample": "lower",
        "cpu_joules": "lower",
    }
    assert {"joules_per_sample", "cpu_joules"} <= {*metrics.timed(found)}
