"""What every learner keeps, fastai 2 on this machine and fastai 1 in a container of cuda-10.0 alike: as DVC runs it.

On photos of three uneven classes, some of which lie deeper.
"""

import csv
from pathlib import Path

import pytest

from stages.codec import read
from stages.predictions import read_predictions
from stages.records import Cell, Result, step_times
from tests import real_engine
from tests.jobs.dogs_cats.helper_photos import jpeg, write_tree
from tests.project import DOGS_CATS, cell_stage, make_project, stage

CLASSES = {"cats": (20, 6), "dogs": (12, 4), "tits, great and blue": (8, 2)}  # their photos to train on, and others
TRAIN_PHOTOS, VALID_PHOTOS = (sum(counts) for counts in zip(*CLASSES.values(), strict=True))
IMAGES = ["host", pytest.param("cuda-10.0", marks=pytest.mark.engine)]
VARIANTS = {name: {"precision": name, "batch_size": 16, "env": {"OMP_NUM_THREADS": "1"}} for name in ("fp32", "mixed")}


@pytest.fixture(scope="module", params=IMAGES)
def run(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> tuple[str, Path]:
    """A project in which both precisions of one image were trained and evaluated."""
    image = request.param
    if image != "host":
        real_engine.connect()
    photos = {
        f"{split}/{label}/{'deep/' * (number % 2)}{number}.jpg": jpeg(number, (64, 48))
        for label, counts in CLASSES.items()
        for split, count in zip(("train", "val"), counts, strict=True)
        for number in range(count)
    }
    mine = write_tree(tmp_path_factory.mktemp("mine"), photos)
    section = {"dataset": {**DOGS_CATS["dataset"], "source": "folder", "folder": str(mine)}}
    folder = make_project(
        tmp_path_factory.mktemp(image), [image], job="dogs_cats", variants=VARIANTS, dogs_cats=section
    )
    for command in (["machine"], ["job"], ["download"], ["image", image]):
        stage(folder, *command)
    for variant in VARIANTS:
        cell_stage(folder, "train", image, variant)
        cell_stage(folder, "evaluate", image, variant)
    return image, folder


def result(folder: Path, cell: Cell, stage: str) -> Result:
    found: Result = read(folder / cell.result_path(stage), Result)
    return found


@pytest.mark.slow
class TestLearner:
    def test_every_epoch_is_a_span_with_its_steps_split(self, run: tuple[str, Path]) -> None:
        image, folder = run
        found = result(folder, Cell(image, "fp32", 1), "train")
        assert (found.status, found.facts["algorithm"], found.facts["number_format"]) == ("ok", "fp32", "fp32")
        assert [span.name for span in found.spans] == ["frozen", "unfrozen"]
        for span in found.spans:
            assert span.samples == TRAIN_PHOTOS // 16 * 16  # a last batch that is not whole is dropped
            assert span.steps == TRAIN_PHOTOS // 16
            assert span.split is not None and 0 < span.split.seconds < span.seconds
            assert set(span.values) == {"train_loss", "valid_loss", "accuracy"}
        assert found.ceilings is not None

    def test_steps_are_kept_and_make_up_the_split(self, run: tuple[str, Path]) -> None:
        image, folder = run
        cell = Cell(image, "fp32", 1)
        spans, path = result(folder, cell, "train").spans, folder / cell.steps_path
        for span, (name, seconds) in zip(spans, step_times.rows(path.read_text(), path), strict=True):
            assert span.split is not None and (name, len(seconds)) == (span.name, span.steps)
            assert 0.5 * span.split.seconds < sum(seconds) < span.split.seconds + 1e-4
            parts = span.split.wait_seconds + span.split.copy_seconds + span.split.compute_seconds
            assert sum(seconds) > parts - 1e-4

    def test_mixed_is_never_a_silent_fp32(self, run: tuple[str, Path]) -> None:
        image, folder = run
        found = result(folder, Cell(image, "mixed", 1), "train")
        if found.status == "ok":
            assert found.facts["number_format"] in ("fp16", "bf16") and found.facts["algorithm"] != "fp32"
        else:
            assert found.status == "unsupported" and "CUDA GPU" in str(found.reason)
            assert found.spans == ()

    def test_unsupported_leaves_no_model_and_no_predictions(self, run: tuple[str, Path]) -> None:
        image, folder = run
        for variant in VARIANTS:
            cell = Cell(image, variant, 1)
            ended_well = result(folder, cell, "evaluate").status == "ok"
            models = [path.name for path in (folder / cell.output_dir).iterdir()]
            assert models == (["model.pth"] if ended_well else [])
            assert len(predictions(folder, cell)) == (VALID_PHOTOS if ended_well else 0)

    def test_accuracies_are_those_of_the_predictions(self, run: tuple[str, Path]) -> None:
        image, folder = run
        cell = Cell(image, "fp32", 1)
        found, rows = result(folder, cell, "evaluate"), predictions(folder, cell)
        for suffix, metric in (("", "accuracy"), ("_tta", "accuracy_tta")):
            best = [max(CLASSES, key=lambda name: float(row[name + suffix])) for row in rows]
            right = [told == row["label"] for told, row in zip(best, rows, strict=True)]
            assert sum(right) / len(right) == pytest.approx(found.metrics[metric])
            sums = [sum(float(row[name + suffix]) for name in CLASSES) for row in rows]
            assert sums == pytest.approx([1.0] * len(rows), abs=1e-4)
        assert [row["predicted"] for row in rows] == best
        right = read_predictions((folder / cell.predictions_path).read_text(), cell.predictions_path)
        assert sum(right.values()) / VALID_PHOTOS == pytest.approx(found.metrics["accuracy_tta"])
        labels = {label: sum(row["label"] == label for row in rows) for label in CLASSES}
        assert labels == {label: valid for label, (_, valid) in CLASSES.items()}
        assert [row["item"] for row in rows] == sorted(row["item"] for row in rows)
        plain, tta = found.spans
        assert (plain.name, tta.name) == ("predict", "predict_tta") and tta.seconds > plain.seconds


def predictions(folder: Path, cell: Cell) -> list[dict[str, str]]:
    with (folder / cell.predictions_path).open() as file:
        return list(csv.DictReader(file))
