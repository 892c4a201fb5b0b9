"""The photos of the listing as a training's input, and what of them is not as it was downloaded."""

import hashlib
import os
import shutil
import time
from dataclasses import replace
from pathlib import Path

import pytest

from jobs.dogs_cats import parameters
from jobs.dogs_cats.photos import LISTING, Photo, Photos, load
from stages.codec import write
from stages.errors import FaceoffError
from tests.project import DOGS_CATS

DATA = Path("data")
PHOTOS = DATA / "photos"
CHOICE = parameters.choice(DOGS_CATS, {"precision": "fp32", "batch_size": 2}, "variants.plain")


@pytest.fixture
def photos(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    names = ["train/cats/a b.jpg", "train/cats/b.jpg", "train/dogs/c.jpg", "valid/cats/d.jpg", "valid/dogs/e.jpg"]
    for name in names:
        path = PHOTOS / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(b"photo")
    as_if_later()
    sha256 = hashlib.sha256(b"photo").hexdigest()
    write(DATA / LISTING, Photos(tuple(Photo(name, 5, sha256) for name in names)))
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
    found = load(DATA, CHOICE, 43)
    assert found.valid == [3, 4] and found.train == [0, 1, 2]
    assert found.classes == ["cats", "dogs"] and found.seed == 43


def test_photos_that_were_deleted_with_their_listing_are_told_with_the_cure(photos):
    shutil.rmtree(DATA)
    with pytest.raises(FaceoffError, match=r"^data/photos\.json: missing: run `\.venv/bin/dvc repro -s -f download`$"):
        load(DATA, CHOICE, 43)


def test_missing_photo_is_named(photos):
    (PHOTOS / "train/dogs/c.jpg").unlink()
    with pytest.raises(FaceoffError, match=r"c\.jpg: photos.json names it, and it cannot be read \(No such file"):
        load(DATA, CHOICE, 43)


def test_changed_photo_is_named(photos):
    (PHOTOS / "valid/cats/d.jpg").write_bytes(b"another")
    with pytest.raises(
        FaceoffError, match=r"valid/cats/d\.jpg: it changed after the download: run `.venv/bin/dvc repro -s -f"
    ):
        load(DATA, CHOICE, 43)


def renamed(photo):
    other = photo.with_name(".other")
    other.write_bytes(b"other")
    os.utime(other, ns=(0, 0))
    other.replace(photo)


def with_its_folder(photo):
    """A folder that was made before the listing was written, under the name of the right one."""
    other = photo.parent.with_name("other")
    shutil.copytree(photo.parent, other)
    (other / photo.name).write_bytes(b"other")
    as_if_later()
    os.utime(DATA / LISTING)  # the listing is newer than all photos of both folders
    as_if_later()
    shutil.rmtree(photo.parent)
    other.rename(photo.parent)


@pytest.mark.parametrize("change", [renamed, with_its_folder])
def test_a_photo_of_the_same_size_that_changed_is_named(photos, change):
    as_if_later()
    change(PHOTOS / "valid/cats/d.jpg")
    with pytest.raises(FaceoffError, match=r"valid/cats/d\.jpg: it changed after the download"):
        load(DATA, CHOICE, 43)


def test_photos_that_were_only_touched_or_copied_are_as_they_were(photos):
    as_if_later()
    (PHOTOS / "valid/cats/d.jpg").touch()
    load(DATA, CHOICE, 43)
    shutil.copytree("data", "copy")
    shutil.rmtree("data")
    Path("copy").rename("data")
    load(DATA, CHOICE, 43)


def test_batch_larger_than_the_training_photos_is_refused(photos):
    with pytest.raises(FaceoffError, match="batch_size 4 is more than the 3 training photos"):
        load(DATA, replace(CHOICE, batch_size=4), 43)


def test_learning_rate_rises_for_at_least_a_step(photos):
    found = load(DATA, replace(CHOICE, recipe=replace(CHOICE.recipe, unfrozen_epochs=6, pct_start=0.05)), 43)
    steps = 6 * (3 // 2)
    assert int(steps * found.warm_up_share("unfrozen")) >= 1
