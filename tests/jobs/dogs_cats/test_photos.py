"""The photos of the manifest as a job's input, and what of them is not as the manifest says."""

import hashlib
import os
import shutil
import time
from dataclasses import replace
from pathlib import Path

import pytest
import yaml

from jobs.dogs_cats.photos import job_of
from stages.codec import decode, write
from stages.errors import FaceoffError
from stages.records import MANIFEST_PATH, PHOTOS_DIR, Cell, Manifest, Photo, Recipe

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
    as_if_later()
    sha256 = hashlib.sha256(b"photo").hexdigest()
    write(MANIFEST_PATH, Manifest("folder", tuple(Photo(name, 5, sha256) for name in names), {}, "f" * 64))
    return tmp_path


def as_if_later() -> None:
    """Waits until a file's time of change is another one than that of what was written before."""
    probe = Path("probe")
    probe.touch()
    before = probe.stat().st_ctime_ns
    while probe.stat().st_ctime_ns == before:
        time.sleep(0.001)
        probe.touch()
    probe.unlink()


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
    with pytest.raises(FaceoffError, match=r"c\.jpg: the manifest names it, and it cannot be read \(No such file"):
        job_of(CELL, RECIPE)


def test_changed_photo_is_named(photos):
    (PHOTOS_DIR / "valid/cats/d.jpg").write_bytes(b"another")
    with pytest.raises(FaceoffError, match=r"valid/cats/d\.jpg: it changed after the download: run `dvc repro -s -f"):
        job_of(CELL, RECIPE)


def renamed(photo):
    other = photo.with_name(".other")
    other.write_bytes(b"other")
    os.utime(other, ns=(0, 0))
    other.replace(photo)


def with_its_folder(photo):
    """A folder that was made before the manifest was written, under the name of the right one."""
    other = photo.parent.with_name("other")
    shutil.copytree(photo.parent, other)
    (other / photo.name).write_bytes(b"other")
    as_if_later()
    os.utime(MANIFEST_PATH)  # the manifest is newer than all photos of both folders
    as_if_later()
    shutil.rmtree(photo.parent)
    other.rename(photo.parent)


@pytest.mark.parametrize("change", [renamed, with_its_folder])
def test_a_photo_of_the_same_size_that_changed_is_named(photos, change):
    as_if_later()
    change(PHOTOS_DIR / "valid/cats/d.jpg")
    with pytest.raises(FaceoffError, match=r"valid/cats/d\.jpg: it changed after the download"):
        job_of(CELL, RECIPE)


def test_photos_that_were_only_touched_or_copied_are_as_they_were(photos):
    as_if_later()
    (PHOTOS_DIR / "valid/cats/d.jpg").touch()
    job_of(CELL, RECIPE)
    shutil.copytree("data", "copy")
    shutil.rmtree("data")
    Path("copy").rename("data")
    job_of(CELL, RECIPE)


def test_batch_larger_than_the_training_photos_is_refused(photos):
    with pytest.raises(FaceoffError, match="batch_sizes: 4 is more than the 3 training photos"):
        job_of(replace(CELL, batch_size=4), RECIPE)


def test_learning_rate_rises_for_at_least_a_step(photos):
    job, _ = job_of(CELL, replace(RECIPE, unfrozen_epochs=6, pct_start=0.05))
    steps = 6 * (3 // 2)
    assert int(steps * job.warm_up_share("unfrozen")) >= 1
