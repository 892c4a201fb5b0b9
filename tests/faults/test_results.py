"""Results that lie: refused by the commands that DVC runs, by file and key, in a line."""

import dataclasses
import json
import shutil
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest

from stages import codec, records
from stages.harness.params import schema
from stages.records import Cell
from tests import project, results


def rewritten(path: Path, change: Callable[[dict[str, Any]], object]) -> None:
    """The file with another content, as by hand: the digest stays what it was."""
    document = json.loads(path.read_text())
    change(document)
    path.write_text(json.dumps(document))


def of_older_schema(cell: Cell) -> str:
    rewritten(cell.result_path("train"), lambda document: document.update(schema_version=codec.SCHEMA_VERSION - 1))
    return (
        f"{cell.result_path('train')}: not of schema version {codec.SCHEMA_VERSION}; made by another version of faceoff"
    )


def by_hand(cell: Cell) -> str:
    rewritten(cell.result_path("train"), lambda document: document["spans"][0].update(seconds=9.0))
    path = cell.result_path("train")
    return f"{path}: digest: not that of what else the file holds: it was changed after it was written"


def not_a_number(cell: Cell) -> str:
    rewritten(
        cell.result_path("train"), lambda document: document["spans"][1]["values"].update(train_loss=float("nan"))
    )
    return f"{cell.result_path('train')}: spans[1].values['train_loss']: expected a finite number, found nan"


def negative(cell: Cell) -> str:
    rewritten(cell.result_path("evaluate"), lambda document: document.update(command_seconds=-3.0))
    return f"{cell.result_path('evaluate')}: command_seconds: expected 0 or more, found -3.0"


def yet_to_come(cell: Cell) -> str:
    tomorrow = (datetime.now(UTC) + timedelta(days=1)).isoformat(timespec="seconds")
    whole = codec.read(cell.result_path("evaluate"), records.Result)
    codec.write(cell.result_path("evaluate"), dataclasses.replace(whole, started_at=tomorrow))
    return f"{cell.result_path('evaluate')}: started_at: {tomorrow} is yet to come"


def without_a_key(cell: Cell) -> str:
    rewritten(cell.result_path("evaluate"), lambda document: document.pop("spans"))
    return f"{cell.result_path('evaluate')}: key 'spans' is missing"


def without_an_inner_key(cell: Cell) -> str:
    rewritten(cell.result_path("train"), lambda document: document["spans"][1].pop("seconds"))
    return f"{cell.result_path('train')}: spans[1]: key 'seconds' is missing"


def with_a_key_of_its_own(cell: Cell) -> str:
    rewritten(cell.result_path("train"), lambda document: document.update(speedup=2.0))
    return f"{cell.result_path('train')}: unknown key 'speedup'"


def cut_short(cell: Cell) -> str:
    cell.result_path("train").write_bytes(cell.result_path("train").read_bytes()[:300])
    return f"{cell.result_path('train')}: not readable as JSON"


def no_text(cell: Cell) -> str:
    cell.result_path("train").write_bytes(b"\xff\xfe\0")
    return f"{cell.result_path('train')}: not readable as JSON"


def of_another_cell(cell: Cell) -> str:
    shutil.copy(dataclasses.replace(cell, repeat=1).result_path("train"), cell.result_path("train"))
    return f"{cell.result_path('train')}: is of host/fp32-bs16, repeat 1, train"


def other_predictions(cell: Cell) -> str:
    cell.predictions_path.write_text(cell.predictions_path.read_text() + "one,a,a\n")
    path = cell.result_path("evaluate")
    return f"{cell.predictions_path}: not the predictions of which {path} has the sha256"


def other_steps(cell: Cell) -> str:
    cell.steps_path.write_text(cell.steps_path.read_text() + "head,1\n")
    return f"{cell.steps_path}: not the steps of which {cell.result_path('train')} has the sha256"


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
    other_steps,
)
TRUE_REPEATS = 2


@pytest.fixture
def measured(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> list[Cell]:
    """A project in which each of these cells has a result, and which is the present folder."""
    repeats = list(range(1, TRUE_REPEATS + len(LIES) + 1))
    variants = {"fp32-bs16": {"precision": "fp32", "batch_size": 16}}
    made = project.make_project(tmp_path / "project", ["host"], job="toy", variants=variants, repeats=repeats)
    project.write_job(made, "toy", results.TOY)
    monkeypatch.chdir(made)
    results.measure()
    return schema.load().cells()


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
    assert list(setting.metrics["total_seconds"].samples) == ["1", "2"]


@pytest.mark.parametrize("path", [records.JOB_PATH, records.MANIFEST_PATH, records.profile_path("host")], ids=str)
def test_a_record_that_all_results_lean_on_ends_the_comparison_in_a_line(measured: list[Cell], path: Path) -> None:
    codec.write(records.profile_path("host"), results.profile("host"))
    rewritten(path, lambda document: document.update(schema_version=codec.SCHEMA_VERSION - 1))
    done = project.run_stage(Path(), "compare")
    assert (done.returncode, done.stdout) == (1, "")
    assert done.stderr.startswith(f"faceoff: {path}: not of schema version") and done.stderr.count("\n") == 1
    assert not records.COMPARISON_PATH.exists()
