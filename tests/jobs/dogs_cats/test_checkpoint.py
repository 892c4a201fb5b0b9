"""A checkpoint is whole, or it is named and not used."""

import os
from pathlib import Path

import pytest
import torch

from jobs.dogs_cats import checkpoint
from jobs.dogs_cats.checkpoint import NAME, Progress

PROGRESS = Progress(spans=3, phase="unfrozen", done=2, longest_seconds=1.5, peak_gpu_memory_bytes=7)


def kept(folder: Path) -> Path:
    checkpoint.save(folder, PROGRESS, {"weights": torch.arange(1000.0), "random": [1, (2, 3)]})
    return folder / NAME


def test_what_was_kept_comes_back(tmp_path: Path) -> None:
    kept(tmp_path)
    progress, state = checkpoint.load(tmp_path)
    assert progress == PROGRESS
    assert torch.equal(state["weights"], torch.arange(1000.0)) and state["random"] == [1, (2, 3)]
    assert [path.name for path in tmp_path.iterdir()] == [NAME]


def test_where_there_is_none_a_training_begins_without_a_word(tmp_path: Path, capsys: pytest.CaptureFixture) -> None:
    assert checkpoint.load(tmp_path) == (Progress(), {})
    assert capsys.readouterr().err == ""


@pytest.mark.parametrize(
    ("harm", "says"),
    [
        (lambda whole: whole[:-100], "damaged: its sha256 is another"),
        (lambda whole: whole[:2000] + b"?" + whole[2001:], "damaged: its sha256 is another"),
        (lambda whole: b"", "damaged: it does not begin as a checkpoint does"),
        (lambda whole: os.urandom(5000), "damaged: it does not begin as a checkpoint does"),
        (lambda whole: whole.replace(b"checkpoint 1 ", b"checkpoint 9 ", 1), "of another version (format 9, now 1)"),
    ],
)
def test_a_damaged_one_is_named_and_not_used(harm, says: str, tmp_path: Path, capsys: pytest.CaptureFixture) -> None:
    path = kept(tmp_path)
    path.write_bytes(harm(path.read_bytes()))
    assert checkpoint.load(tmp_path) == (Progress(), {})
    assert capsys.readouterr().err == f"{path} is not used: {says}; the training begins anew\n"


def test_without_room_the_one_before_stays(
    tmp_path: Path, capsys: pytest.CaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = kept(tmp_path)
    before = path.read_bytes()

    def full(*_: object) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(torch, "save", full)
    checkpoint.save(tmp_path, Progress(spans=4), {})
    assert path.read_bytes() == before and [each.name for each in tmp_path.iterdir()] == [NAME]
    assert (
        "not written ([Errno 28] No space left on device); the training goes on without it" in capsys.readouterr().err
    )
