"""What every learner keeps, fastai 2 on this machine and fastai 1 in a container of cuda-10.0 alike."""

import csv

import pytest

from stages.codec import read
from stages.records import Cell, EvaluateResult, TrainResult
from tests import real_engine
from tests.project import cell_stage, make_project, stage

TRAIN_PHOTOS, VALID_PHOTOS = 40, 12
IMAGES = ["host", pytest.param("cuda-10.0", marks=pytest.mark.engine)]


@pytest.fixture(scope="module", params=IMAGES)
def run(request, tmp_path_factory):
    """A project in which both precisions of one image were trained and evaluated."""
    image = request.param
    if image != "host":
        real_engine.connect()
    folder = make_project(
        tmp_path_factory.mktemp(image),
        [image],
        dataset={"train_photos": TRAIN_PHOTOS, "valid_photos": VALID_PHOTOS},
        recipe={"arch": "resnet18", "pretrained": False, "size": 32, "unfrozen_epochs": 2, "workers": 1},
    )
    stage(folder, "download")
    stage(folder, "machine")
    stage(folder, "image", image)
    for precision in ("fp32", "mixed"):
        cell_stage(folder, "train", image, precision)
        cell_stage(folder, "evaluate", image, precision)
    return image, folder


@pytest.mark.slow
class TestLearner:
    def test_fp32_records_every_epoch_raw(self, run):
        image, folder = run
        result = read(folder / Cell(image, "fp32", 16, 1).train_path, TrainResult)
        assert (result.status, result.algorithm) == ("ok", "fp32")
        assert [(epoch.phase, epoch.index) for epoch in result.epochs] == [
            ("frozen", 0),
            ("unfrozen", 0),
            ("unfrozen", 1),
        ]
        for epoch in result.epochs:
            assert epoch.train_images == TRAIN_PHOTOS // 16 * 16  # a last batch that is not whole is dropped
            assert epoch.epoch_seconds == pytest.approx(epoch.train_seconds + epoch.valid_seconds)
            assert epoch.train_images_per_second == pytest.approx(epoch.train_images / epoch.train_seconds)
            assert epoch.peak_process_memory_bytes > 100_000_000
        assert sum(epoch.epoch_seconds for epoch in result.epochs) + result.import_seconds < result.wall_seconds

    def test_mixed_is_never_a_silent_fp32(self, run):
        image, folder = run
        result = read(folder / Cell(image, "mixed", 16, 1).train_path, TrainResult)
        if result.status == "ok":
            assert result.algorithm != "fp32" and result.reason is None
        else:
            assert result.status == "unsupported" and "CUDA GPU" in result.reason
            assert result.epochs == () and result.algorithm is None

    def test_unsupported_leaves_no_model_and_no_predictions(self, run):
        image, folder = run
        for precision in ("fp32", "mixed"):
            cell = Cell(image, precision, 16, 1)
            result = read(folder / cell.evaluate_path, EvaluateResult)
            with (folder / cell.predictions_path).open() as file:
                rows = list(csv.DictReader(file))
            models = [path.name for path in (folder / cell.model_dir).iterdir()]
            ended_well = result.status == "ok"
            assert models == (["model.pth"] if ended_well else [])
            assert len(rows) == (VALID_PHOTOS if ended_well else 0)

    def test_accuracies_are_those_of_the_predictions(self, run):
        image, folder = run
        cell = Cell(image, "fp32", 16, 1)
        result = read(folder / cell.evaluate_path, EvaluateResult)
        with (folder / cell.predictions_path).open() as file:
            rows = list(csv.DictReader(file))
        for suffix, accuracy in (("", result.accuracy), ("_tta", result.accuracy_tta)):
            right = [max(("cats", "dogs"), key=lambda name: float(row[name + suffix])) == row["label"] for row in rows]
            assert sum(right) / len(right) == pytest.approx(accuracy)
            assert all(
                float(row["cats" + suffix]) + float(row["dogs" + suffix]) == pytest.approx(1, abs=1e-4) for row in rows
            )
        assert [row["photo"] for row in rows] == sorted(row["photo"] for row in rows)
        assert result.predict_tta_seconds > result.predict_seconds
