"""Results that lie, and photos that changed: refused by the commands that DVC runs, by file and key, in a line."""

import dataclasses
import json
import os
import shutil
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest

from stages import codec, records
from stages.harness.params import schema
from stages.records import Cell
from tests import project, results, training


def rewritten(path: Path, change: Callable[[dict[str, Any]], object]) -> None:
    """The file with another content, as by hand: the digest stays what it was."""
    document = json.loads(path.read_text())
    change(document)
    path.write_text(json.dumps(document))


def of_older_schema(cell: Cell) -> str:
    rewritten(cell.train_path, lambda document: document.update(schema_version=codec.SCHEMA_VERSION - 1))
    return f"{cell.train_path}: not of schema version {codec.SCHEMA_VERSION}; made by another version of faceoff"


def by_hand(cell: Cell) -> str:
    rewritten(cell.train_path, lambda document: document["epochs"][0].update(epoch_seconds=9.0))
    return f"{cell.train_path}: digest: not that of what else the file holds: it was changed after it was written"


def not_a_number(cell: Cell) -> str:
    rewritten(cell.train_path, lambda document: document["epochs"][1].update(train_loss=float("nan")))
    return f"{cell.train_path}: epochs[1].train_loss: expected a finite number, found nan"


def negative(cell: Cell) -> str:
    rewritten(cell.evaluate_path, lambda document: document.update(predict_tta_seconds=-3.0))
    return f"{cell.evaluate_path}: predict_tta_seconds: expected 0 or more, found -3.0"


def yet_to_come(cell: Cell) -> str:
    tomorrow = (datetime.now(UTC) + timedelta(days=1)).isoformat(timespec="seconds")
    whole = codec.read(cell.evaluate_path, records.EvaluateResult)
    codec.write(cell.evaluate_path, dataclasses.replace(whole, started_at=tomorrow))
    return f"{cell.evaluate_path}: started_at: {tomorrow} is yet to come"


def without_a_key(cell: Cell) -> str:
    rewritten(cell.evaluate_path, lambda document: document.pop("predict_tta_seconds"))
    return f"{cell.evaluate_path}: key 'predict_tta_seconds' is missing"


def without_an_inner_key(cell: Cell) -> str:
    rewritten(cell.train_path, lambda document: document["epochs"][1].pop("split"))
    return f"{cell.train_path}: epochs[1]: key 'split' is missing"


def with_a_key_of_its_own(cell: Cell) -> str:
    rewritten(cell.train_path, lambda document: document.update(speedup=2.0))
    return f"{cell.train_path}: unknown key 'speedup'"


def cut_short(cell: Cell) -> str:
    cell.train_path.write_bytes(cell.train_path.read_bytes()[:300])
    return f"{cell.train_path}: not readable as JSON"


def no_text(cell: Cell) -> str:
    cell.train_path.write_bytes(b"\xff\xfe\0")
    return f"{cell.train_path}: not readable as JSON"


def of_another_cell(cell: Cell) -> str:
    shutil.copy(dataclasses.replace(cell, repeat=1).train_path, cell.train_path)
    return f"{cell.train_path}: is of host/fp32-bs16, repeat 1"


def other_predictions(cell: Cell) -> str:
    cell.predictions_path.write_text(cell.predictions_path.read_text() + "train/cats/cat.0.jpg,cats,1,0,1,0\n")
    return f"{cell.predictions_path}: not the predictions of which {cell.evaluate_path} has the predictions_sha256"


LIES = (
    of_older_schema,
    by_hand,
    not_a_number,
    negative,
    yet_to_come,
    without_a_key,
    without_an_inner_key,
    with_a_key_of_its_own,
    cut_short,
    no_text,
    of_another_cell,
    other_predictions,
)
TRUE_REPEATS = 2


@pytest.fixture
def measured(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> list[Cell]:
    """A project in which each of these cells has a result, and which is the present folder."""
    repeats = list(range(1, TRUE_REPEATS + len(LIES) + 1))
    monkeypatch.chdir(project.make_project(tmp_path / "project", ["host"], precisions=["fp32"], repeats=repeats))
    results.write_dataset()
    codec.write(records.MACHINE_PATH, results.machine())
    wanted = schema.load()
    for cell in wanted.cells():
        results.write_cell(results.trained(cell, recipe=wanted.recipe), results.evaluated(cell))
    return list(wanted.cells())


def test_every_result_that_lies_is_refused_by_file_and_key_and_counts_for_nothing(measured: list[Cell]) -> None:
    expected = [lie(cell) for lie, cell in zip(LIES, measured[TRUE_REPEATS:], strict=True)]
    done = project.run_stage(Path(), "compare")
    assert done.returncode == 0, done.stderr
    said = done.stderr.splitlines()
    assert len(said) == len(expected)
    for line, reason in zip(said, expected, strict=True):
        assert line.startswith(f"faceoff: refused: {reason}")
    [setting] = codec.read(records.COMPARISON_PATH, records.Comparison).settings
    assert sorted(setting.reasons, key=int) == [str(cell.repeat) for cell in measured[TRUE_REPEATS:]]
    assert list(setting.figures["total_seconds"].samples) == ["1", "2"]


@pytest.mark.parametrize("path", [records.DATASET_PATH, records.profile_path("host")], ids=str)
def test_a_record_that_all_results_lean_on_ends_the_comparison_in_a_line(measured: list[Cell], path: Path) -> None:
    codec.write(records.profile_path("host"), results.profile("host"))
    rewritten(path, lambda document: document.update(schema_version=codec.SCHEMA_VERSION - 1))
    done = project.run_stage(Path(), "compare")
    assert (done.returncode, done.stdout) == (1, "")
    assert done.stderr.startswith(f"faceoff: {path}: not of schema version") and done.stderr.count("\n") == 1
    assert not records.COMPARISON_PATH.exists()


# ------------------------------------------------------------------------------------------------- photos that change


def in_place(photo: Path) -> None:
    """Other bytes of the same number, and the old times."""
    times, size_bytes = photo.stat(), photo.stat().st_size
    photo.write_bytes(bytes(size_bytes))
    os.utime(photo, ns=(times.st_atime_ns, times.st_mtime_ns))


@pytest.mark.slow  # each imports torch
@pytest.mark.parametrize(("change", "says"), [(in_place, "it changed after the download"), (Path.unlink, "cannot be")])
def test_a_photo_that_changed_after_the_download_is_found_before_the_training(
    tmp_path: Path, change: Callable[[Path], object], says: str
) -> None:
    folder = project.make_project(
        tmp_path / "project",
        ["host"],
        dataset={"train_photos": 16, "valid_photos": 4},
        recipe={"arch": "resnet18", "pretrained": False, "size": 32, "workers": 0},
    )
    project.stage(folder, "download")
    project.stage(folder, "machine")
    codec.write(folder / records.image_path("host"), results.image("host"))
    photo = records.PHOTOS_DIR / "valid/cats/cat.8.jpg"
    change(folder / photo)
    done = training.run(folder, "host")
    assert done.returncode == 1
    [line] = [line for line in done.stderr.splitlines() if line.startswith("faceoff: ")]
    assert f"{photo}: " in line and says in line and line.endswith("run `dvc repro -s -f download`")
    assert "Traceback" not in done.stderr
    assert training.result(folder, "host").status == "failed"
