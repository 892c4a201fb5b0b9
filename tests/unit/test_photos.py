from dataclasses import replace
from pathlib import Path

import pytest
import yaml

from stages.codec import decode, write
from stages.errors import FaceoffError
from stages.records import MANIFEST_PATH, PHOTOS_DIR, Cell, Manifest, Photo, Recipe
from stages.workload.photos import job_of

ROOT = Path(__file__).resolve().parents[2]
CELL = Cell("host", "fp32", 2, 1)
RECIPE = decode(Recipe, yaml.safe_load((ROOT / "params.yaml").read_text())["recipe"], "recipe")


@pytest.fixture
def photos(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    names = ["train/cats/a b.jpg", "train/cats/b.jpg", "train/dogs/c.jpg", "valid/cats/d.jpg", "valid/dogs/e.jpg"]
    for name in names:
        path = PHOTOS_DIR / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(b"photo")
    write(MANIFEST_PATH, Manifest("folder", tuple(Photo(name, 5, "0" * 64) for name in names), {}, "f" * 64))
    return tmp_path


def test_split_and_classes_come_from_the_folders(photos):
    job, dataset_sha256 = job_of(CELL, RECIPE)
    assert dataset_sha256 == "f" * 64
    assert job.valid == [3, 4] and job.train == [0, 1, 2]
    assert job.classes == ["cats", "dogs"]


def test_repeats_have_seeds_of_their_own_and_settings_share_them(photos):
    seeds = {(p, r): job_of(Cell("host", p, 2, r), RECIPE)[0].seed for p in ("fp32", "mixed") for r in (1, 2)}
    assert seeds["fp32", 1] == seeds["mixed", 1] != seeds["fp32", 2] == seeds["mixed", 2]


def test_missing_photo_is_named(photos):
    (PHOTOS_DIR / "train/dogs/c.jpg").unlink()
    with pytest.raises(FaceoffError, match=r"train/dogs/c\.jpg: the manifest names it, and it is not there"):
        job_of(CELL, RECIPE)


def test_changed_photo_is_named(photos):
    (PHOTOS_DIR / "valid/cats/d.jpg").write_bytes(b"another")
    with pytest.raises(FaceoffError, match=r"valid/cats/d\.jpg: 7 bytes, and the manifest says 5"):
        job_of(CELL, RECIPE)


def test_batch_larger_than_the_training_photos_is_refused(photos):
    with pytest.raises(FaceoffError, match="batch_sizes: 4 is more than the 3 training photos"):
        job_of(replace(CELL, batch_size=4), RECIPE)


def test_learning_rate_rises_for_at_least_a_step(photos):
    job, _ = job_of(CELL, replace(RECIPE, unfrozen_epochs=6, pct_start=0.05))
    steps = 6 * (3 // 2)
    assert int(steps * job.warm_up_share("unfrozen")) >= 1
