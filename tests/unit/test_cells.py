"""Reading the matrix's results: only what belongs to the present params, job, data and machine counts."""

import dataclasses
import hashlib
from datetime import UTC, datetime, timedelta

import pytest

from stages import codec
from stages.contract import Span
from stages.harness.results import read as reader
from stages.harness.results.read import CellResult, StepTimes
from stages.records import Cell, Metric, Variant, step_times
from tests import results

CELL = Cell("host", "fp32-bs16", 1)
FUTURE = (datetime.now(UTC) + timedelta(hours=1)).isoformat(timespec="seconds")
TRAIN, EVALUATE = results.trained(CELL), results.evaluated(CELL)
TRAIN_PATH, EVALUATE_PATH = CELL.result_path("train"), CELL.result_path("evaluate")


@pytest.fixture(autouse=True)
def _empty_folder(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)


def read(job=results.JOB):
    return reader.read(CELL, results.belongs(CELL), job)


def test_a_whole_cell_is_ok_and_has_both_records():
    results.write_cell(TRAIN, EVALUATE)
    assert read() == CellResult(CELL, "ok", None, TRAIN, EVALUATE)


def test_a_missing_result_is_named():
    assert read() == CellResult(CELL, "missing", f"{TRAIN_PATH} was not written")


def test_a_training_without_its_evaluation_is_trained_and_keeps_what_it_says():
    codec.write(TRAIN_PATH, TRAIN)
    assert read() == CellResult(CELL, "trained", f"{EVALUATE_PATH} was not written", TRAIN)


def test_status_and_reason_of_the_cell_are_kept():
    train = results.not_run(TRAIN, "unsupported", "no mixed precision on a CPU")
    results.write_cell(train, results.not_run(EVALUATE, "unsupported", "no mixed precision on a CPU"))
    assert read() == CellResult(CELL, "unsupported", "no mixed precision on a CPU")


def test_why_a_training_gave_nothing_outweighs_its_missing_evaluation():
    codec.write(TRAIN_PATH, results.not_run(TRAIN, "failed", "killed"))
    assert read() == CellResult(CELL, "failed", "killed")


def test_a_failed_evaluation_leaves_no_time():
    results.write_cell(TRAIN, results.not_run(EVALUATE, "failed", "out of memory"))
    assert read() == CellResult(CELL, "failed", "out of memory")


def of(**changes):
    return dataclasses.replace(TRAIN, belongs=results.belongs(CELL, **changes))


def variant(**parameters):
    return Variant({**results.VARIANTS["fp32-bs16"].parameters, **parameters}, {})


@pytest.mark.parametrize(
    ("train", "evaluate", "named"),
    [
        (of(variant=variant(precision="mixed")), EVALUATE, "measured with variant precision mixed, now fp32"),
        (of(variant=variant(workers=2)), EVALUATE, "measured with variant workers 2, now left out"),
        (of(variant=dataclasses.replace(variant(), gpus=2)), EVALUATE, "measured with variant gpus 2, now 1"),
        (
            of(variant=dataclasses.replace(variant(), env={"OMP_NUM_THREADS": "1"})),
            EVALUATE,
            "measured with variant env OMP_NUM_THREADS 1, now left out",
        ),
        (
            of(variant=dataclasses.replace(variant(), env={"HF_TOKEN": "abc"})),
            EVALUATE,
            "measured with variant env HF_TOKEN (set), now left out",
        ),
        (
            of(container=dataclasses.replace(results.CONTAINER, cpus=2.0)),
            EVALUATE,
            "train-1.json: measured with container cpus 2.0, now None",
        ),
        (of(job_sha256="0" * 64), EVALUATE, "job_sha256: measured by another job, or another section of it, than that"),
        (of(data_sha256="0" * 64), EVALUATE, "data_sha256: measured on other data than that of data/manifest.json"),
        (of(machine_sha256="0" * 64), EVALUATE, "machine_sha256: measured on another machine"),
        (of(image_sha256="0" * 64), EVALUATE, "in another image than that of metrics/host/image.json"),
        (of(facts_sha256="0" * 64), EVALUATE, "in another environment than that of metrics/host/facts.json"),
        (of(code_sha256="0" * 64), EVALUATE, "code_sha256: measured by other code than that of stages/workload"),
        (
            TRAIN,
            dataclasses.replace(EVALUATE, belongs=of(job_sha256="0" * 64).belongs),
            "evaluate-1.json: job_sha256: measured by another job",
        ),
        (dataclasses.replace(TRAIN, spans=TRAIN.spans[:1]), EVALUATE, "'ok' without a span 'body'"),
        (TRAIN, dataclasses.replace(EVALUATE, started_at="2026-01-02T03:04:04+00:00"), "older than the training"),
        (TRAIN, dataclasses.replace(EVALUATE, output_sha256="0" * 64), "of another model than that of metrics/host"),
        (TRAIN, dataclasses.replace(EVALUATE, started_at="yesterday"), "'yesterday'"),
        (dataclasses.replace(TRAIN, started_at="tomorrow"), EVALUATE, "'tomorrow'"),
        (TRAIN, dataclasses.replace(EVALUATE, started_at=FUTURE), "is yet to come"),
        (dataclasses.replace(TRAIN, started_at=FUTURE), EVALUATE, "is yet to come"),
        (TRAIN, TRAIN, "evaluate-1.json: is of host/fp32-bs16, repeat 1, train"),
    ],
)
def test_a_result_of_something_else_is_refused_by_name(train, evaluate, named):
    codec.write(TRAIN_PATH, train)
    codec.write(EVALUATE_PATH, evaluate)
    codec.write_text(CELL.predictions_path, results.HEADER)
    found = read()
    assert (found.status, found.stages) == ("refused", ())
    assert named in found.reason and found.reason.startswith("metrics/host/fp32-")


def test_a_result_that_was_copied_from_another_cell_is_refused():
    other = Cell("host", "fp32-bs16", 2)
    results.write_cell(results.trained(other), results.evaluated(other))
    other.result_path("train").rename(TRAIN_PATH)
    assert read().reason.startswith(f"{TRAIN_PATH}: is of host/fp32-bs16, repeat 2, train")


def test_a_metric_with_the_name_of_one_that_is_there_by_itself_is_refused():
    results.write_cell(TRAIN, EVALUATE)
    job = dataclasses.replace(results.JOB, metrics={"head_seconds": Metric("seconds", "lower")})
    assert "metric head_seconds of job.yaml is there by itself, for span 'head'" in read(job).reason


def test_of_a_wall_clock_no_span_is_needed():
    train, evaluate = results.silent(CELL)
    results.write_cell(train, evaluate)
    assert reader.read(CELL, train.belongs, results.SILENT_JOB).status == "ok"


def test_a_time_zone_does_not_make_an_evaluation_older():
    results.write_cell(TRAIN, dataclasses.replace(EVALUATE, started_at="2026-01-02T02:05:05-01:00"))
    assert read().status == "ok"


def test_half_a_file_is_refused():
    results.write_cell(TRAIN, EVALUATE)
    TRAIN_PATH.write_text(TRAIN_PATH.read_text()[:100])
    assert read().status == "refused"


# --------------------------------------------------------------------------------------------------------- predictions


def predict(*lines, header=results.HEADER):
    text = header + "".join(f"{line}\n" for line in lines)
    sha256 = hashlib.sha256(text.encode(errors="surrogateescape")).hexdigest()
    results.write_cell(TRAIN, dataclasses.replace(EVALUATE, predictions_sha256=sha256))
    CELL.predictions_path.write_bytes(text.encode(errors="surrogateescape"))


def test_which_items_were_predicted_right():
    predict("one,a,a", "two,b,a", '"three, quoted",b,b')
    assert read().right == {"one": True, "two": False, "three, quoted": True}


def test_further_columns_are_not_read():
    predict("one,a,a,0.9", header="item,label,predicted,share\n")
    assert read().right == {"one": True}


def test_predictions_without_an_item_are_none():
    predict()
    assert (read().status, read().right) == ("ok", None)


@pytest.mark.parametrize("line", ["one,a", "one,,a", ",a,a", "one,a,\udcff"])
def test_half_a_prediction_is_refused_by_its_line(line):
    predict(line)
    assert read().status == "refused" and read().reason.endswith("; measure again with `.venv/bin/dvc repro`")
    assert read().reason.startswith(f"{CELL.predictions_path}, line 2: expected an item, its label and what was predic")


def test_an_item_that_stands_twice_and_another_header_are_refused():
    predict("one,a,a", "one,a,b")
    assert f"{CELL.predictions_path}, line 3: expected each item once" in read().reason
    predict("one,a,a", header="item,predicted,label\n")
    assert f"{CELL.predictions_path}, line 1: expected the columns item,label,predicted" in read().reason


@pytest.mark.parametrize(
    ("change", "problem"),
    [
        (lambda path: path.unlink(), "No such file or directory"),
        (lambda path: path.write_text(results.HEADER), "not the predictions of which"),
        (lambda path: path.write_text(path.read_text().replace("one,a,a", "one,a,b")), "not the predictions of which"),
    ],
    ids=["gone", "without an item", "of one item, another"],
)
def test_predictions_that_were_changed_are_refused(change, problem):
    predict("one,a,a", "two,b,a")
    assert read().status == "ok"
    change(CELL.predictions_path)
    assert (read().status, read().right) == ("refused", None)
    assert read().reason.startswith(f"{CELL.predictions_path}: {problem}")


# --------------------------------------------------------------------------------------------------------------- steps

STEPS = (StepTimes("head", (0.1, 0.25)), StepTimes("body, later", (1.0,)), StepTimes("head", (0.000001,)))


def stepped(queued=False):
    train = results.with_steps(TRAIN, STEPS, queued)
    results.write_cell(train, EVALUATE, steps=STEPS)
    return train


def test_steps_are_read_in_the_order_of_their_spans():
    train = stepped()
    assert read() == CellResult(CELL, "ok", None, train, EVALUATE, steps=STEPS)


def test_where_the_steps_were_queued_single_ones_are_not_looked_at():
    stepped(queued=True)
    assert (read().status, read().steps) == ("ok", None)


@pytest.mark.parametrize(
    ("change", "problem"),
    [
        (lambda path: path.unlink(), "No such file or directory; measure again with `.venv/bin/dvc repro -f`"),
        (lambda path: path.write_text(step_times.NONE), "not the steps of which metrics/host/fp32-bs16/train-1.json"),
        (lambda path: path.write_text(path.read_text().replace("25", "24")), "not the steps of which metrics/host/"),
    ],
    ids=["gone", "without a step", "of one step, another"],
)
@pytest.mark.parametrize("queued", [False, True])
def test_steps_that_were_changed_are_refused(change, problem, queued):
    stepped(queued)
    change(CELL.steps_path)
    assert (read().status, read().steps) == ("refused", None)
    assert read().reason.startswith(f"{CELL.steps_path}: {problem}")


@pytest.mark.parametrize("row", ["head,1 -2", "head", "head,1,2", "head,1.5", "head,", 'head,"1'])
def test_a_row_that_is_no_steps_is_refused_by_its_line(row):
    with pytest.raises(codec.RecordError) as caught:
        step_times.rows(f"span,microseconds\nhead,1\n{row}\n", CELL.steps_path)
    assert str(caught.value).startswith(f"{CELL.steps_path}, line 3: ")


def test_steps_without_their_columns_are_refused():
    with pytest.raises(codec.RecordError, match="line 1: expected the columns span,microseconds"):
        step_times.rows("head,1\n", CELL.steps_path)


def test_a_span_of_the_evaluation_may_make_up_the_total():
    results.write_cell(TRAIN, dataclasses.replace(EVALUATE, spans=(Span("other", 1.0),)))
    assert "'ok' without a span 'predict', of which job.yaml's `total` is made" in read().reason
