"""Reading the matrix's results: only what belongs to the present params, data set and cell counts."""

import dataclasses
import hashlib
from datetime import UTC, datetime, timedelta

import pytest

from stages import codec, records
from stages.harness.results import read as cells
from stages.records import Cell
from tests import results

CELL = Cell("host", "fp32", 16, 1)
FUTURE = (datetime.now(UTC) + timedelta(hours=1)).isoformat(timespec="seconds")
TRAIN, EVALUATE = results.trained(CELL), results.evaluated(CELL)


@pytest.fixture(autouse=True)
def _empty_folder(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)


def read():
    machine_sha256 = codec.fingerprint(results.machine())
    present = cells.Present(results.RECIPE, results.CONTAINER, results.DATASET_SHA256, machine_sha256, None, None)
    return cells.read(CELL, present)


def test_a_whole_cell_is_ok_and_has_both_records():
    results.write_cell(TRAIN, EVALUATE)
    assert read() == cells.Result(CELL, "ok", None, TRAIN, EVALUATE)


def test_a_missing_result_is_named():
    assert read() == cells.Result(CELL, "missing", "metrics/host/fp32-bs16/train-1.json was not written")


def test_a_training_without_its_evaluation_is_no_result():
    results.write_cell(TRAIN, EVALUATE)
    CELL.evaluate_path.unlink()
    found = read()
    assert (found.status, found.train) == ("missing", None)
    assert str(CELL.evaluate_path) in found.reason


def test_status_and_reason_of_the_cell_are_kept():
    train = results.not_run(TRAIN, "unsupported", "no mixed precision on a CPU")
    results.write_cell(train, results.not_run(EVALUATE, "unsupported", "no mixed precision on a CPU"))
    assert read() == cells.Result(CELL, "unsupported", "no mixed precision on a CPU")


def test_why_a_training_gave_nothing_outweighs_its_missing_evaluation():
    codec.write(CELL.train_path, results.not_run(TRAIN, "failed", "killed"))
    assert read() == cells.Result(CELL, "failed", "killed")


def test_a_failed_evaluation_leaves_no_time():
    results.write_cell(TRAIN, results.not_run(EVALUATE, "failed", "out of memory"))
    assert read() == cells.Result(CELL, "failed", "out of memory")


def changed_recipe(**changes):
    return dataclasses.replace(results.RECIPE, **changes)


@pytest.mark.parametrize(
    ("train", "evaluate", "named"),
    [
        (results.trained(CELL, recipe=changed_recipe(size=224)), EVALUATE, "recipe.size 224, now 96"),
        (
            dataclasses.replace(TRAIN, container=records.Container("auto", "1g", None, 2.0)),
            EVALUATE,
            "train-1.json: measured with container.cpus 2.0, now None",
        ),
        (dataclasses.replace(TRAIN, dataset_sha256="0" * 64), EVALUATE, "dataset_sha256: measured on another data set"),
        (dataclasses.replace(TRAIN, machine_sha256="0" * 64), EVALUATE, "machine_sha256: measured on another machine"),
        (
            dataclasses.replace(TRAIN, image_sha256="0" * 64),
            EVALUATE,
            "image_sha256: measured in another image than that of metrics/host/image.json",
        ),
        (
            dataclasses.replace(TRAIN, facts_sha256="0" * 64),
            EVALUATE,
            "facts_sha256: measured in another environment than that of metrics/host/facts.json",
        ),
        (dataclasses.replace(TRAIN, epochs=TRAIN.epochs[:-1]), EVALUATE, "2 of 3 epochs"),
        (TRAIN, dataclasses.replace(EVALUATE, started_at="2026-01-02T03:04:04+00:00"), "older than the training"),
        (TRAIN, dataclasses.replace(EVALUATE, started_at="yesterday"), "'yesterday'"),
        (dataclasses.replace(TRAIN, started_at="tomorrow"), EVALUATE, "'tomorrow'"),
        (TRAIN, dataclasses.replace(EVALUATE, started_at=FUTURE), "is yet to come"),
        (dataclasses.replace(TRAIN, started_at=FUTURE), EVALUATE, "is yet to come"),
    ],
)
def test_a_result_of_other_params_is_refused_by_name(train, evaluate, named):
    results.write_cell(train, evaluate)
    found = read()
    assert (found.status, found.train, found.evaluate) == ("refused", None, None)
    assert named in found.reason and found.reason.startswith("metrics/host/fp32-bs16/")


def test_a_result_that_was_copied_from_another_cell_is_refused():
    other = Cell("host", "fp32", 16, 2)
    results.write_cell(results.trained(other), results.evaluated(other))
    other.train_path.rename(CELL.train_path)
    other.evaluate_path.rename(CELL.evaluate_path)
    assert read().reason.startswith(f"{CELL.train_path}: is of host/fp32-bs16, repeat 2")


def test_a_time_zone_does_not_make_an_evaluation_older():
    results.write_cell(TRAIN, dataclasses.replace(EVALUATE, started_at="2026-01-02T02:05:05-01:00"))
    assert read().status == "ok"


def test_half_a_file_is_refused():
    results.write_cell(TRAIN, EVALUATE)
    CELL.train_path.write_text(CELL.train_path.read_text()[:100])
    assert read().status == "refused"


HEADER = "photo,label,cats,dogs,cats_tta,dogs_tta"


def predict(*lines, **said):
    text = "\n".join((HEADER, *lines)) + "\n"
    sha256 = hashlib.sha256(text.encode()).hexdigest()
    results.write_cell(TRAIN, dataclasses.replace(EVALUATE, predictions_sha256=sha256, **said))
    CELL.predictions_path.write_text(text)


def test_which_photos_were_told_right_is_what_the_prediction_with_tta_says():
    predict(
        "valid/cats/cat.1.jpg,cats,0.1,0.9,0.8,0.2",
        "valid/dogs/dog.1.jpg,dogs,0.1,0.9,0.6,0.4",
        photos=2,
        accuracy_tta=0.5,
    )
    assert read().right == {"valid/cats/cat.1.jpg": True, "valid/dogs/dog.1.jpg": False}


def test_predictions_without_a_photo_are_none():
    predict()
    assert (read().status, read().right) == ("ok", None)


CAT = "valid/cats/cat.1.jpg,cats,"


@pytest.mark.parametrize(
    "line",
    [CAT + "0.1", CAT + "0,1,high,0.2", CAT + "0,1,nan,0.2", CAT + "0,1,-1,2", CAT + "0,1,inf,0", CAT + "0,1,1\0,0"],
)
def test_half_a_prediction_is_refused_by_its_line(line):
    predict(line)
    assert (read().status, read().reason) == (
        "refused",
        f"{CELL.predictions_path}, line 2: not a prediction; measure again with `dvc repro`",
    )


def test_predictions_that_are_no_text_are_refused():
    predict()
    content = HEADER.encode() + b"\n\xff\xfe\n"
    sha256 = hashlib.sha256(content).hexdigest()
    results.write_cell(TRAIN, dataclasses.replace(EVALUATE, predictions_sha256=sha256))
    CELL.predictions_path.write_bytes(content)
    assert read().reason.startswith(f"{CELL.predictions_path}, line ")


LINES = [f"valid/cats/cat.{number}.jpg,cats,0.9,0.1,0.9,0.1" for number in range(40)]


def test_predictions_that_are_not_those_that_were_counted_are_refused():
    predict(*LINES, photos=40, accuracy_tta=1.0)
    assert read().status == "ok"
    predict(*LINES[:-1], photos=40, accuracy_tta=1.0)
    assert read().reason.startswith(f"{CELL.predictions_path}: of 39 photos, and {CELL.evaluate_path} says 40; measure")
    predict(*LINES, photos=40, accuracy_tta=0.9)
    assert "40 told right, and metrics/host/fp32-bs16/evaluate-1.json: accuracy_tta says 36" in read().reason


@pytest.mark.parametrize(
    ("change", "problem"),
    [
        (lambda path: path.unlink(), "No such file or directory"),
        (lambda path: path.write_text(""), "not the predictions of which"),
        (lambda path: path.write_text(HEADER + "\n"), "not the predictions of which"),
        (lambda path: path.write_text(swapped(path.read_text())), "not the predictions of which"),
    ],
    ids=["gone", "empty", "without a photo", "of two photos, swapped"],
)
def test_predictions_that_were_changed_are_refused(change, problem):
    predict(*LINES[:-1], "valid/cats/cat.40.jpg,cats,0.1,0.9,0.1,0.9", photos=40, accuracy_tta=39 / 40)
    assert read().status == "ok"
    change(CELL.predictions_path)
    assert (read().status, read().right) == ("refused", None)
    assert read().reason.startswith(f"{CELL.predictions_path}: {problem}")


def swapped(text):
    """As many told right, but others: the accuracy stays and McNemar's test lies."""
    return text.replace("cat.0.", "cat.x.").replace("cat.40.", "cat.0.").replace("cat.x.", "cat.40.")
