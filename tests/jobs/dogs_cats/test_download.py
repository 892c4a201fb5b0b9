"""The job's download as a process of its own: photos and weights once, a listing of the photos, numbers of them."""

import re
import signal
import subprocess
import time
from pathlib import Path

import pytest

from jobs.dogs_cats.photos import LISTING, Photos
from jobs.dogs_cats.sources import photos
from jobs.dogs_cats.sources.synthetic import Synthetic
from stages import codec
from tests.jobs.dogs_cats.by_hand import ByHand, by_hand
from tests.jobs.dogs_cats.helper_photos import photo_set, tree, write_tree
from tests.project import ROOT


@pytest.fixture
def job(tmp_path: Path) -> ByHand:
    return by_hand(tmp_path / "job", {"train_photos": 8, "valid_photos": 4})


def test_it_writes_photos_weights_and_a_listing_and_tells_numbers(job: ByHand) -> None:
    job.section["recipe"]["arch"], job.section["recipe"]["pretrained"] = "tf_efficientnet_lite0", True
    code, printed, errors = job.run("download")
    assert (code, errors) == (0, "")
    listed = codec.read(job.data / LISTING, Photos)
    assert [photo.path for photo in listed.photos] == sorted(tree(job.data / "photos"))
    assert [path.name for path in (job.data / "downloads/weights").iterdir()] == ["tf_efficientnet_lite0.pth"]
    assert printed.splitlines()[:3] == [
        "source: synthetic 8 train and 4 valid photos, seed 42",
        "  train: 4 cats, 4 dogs",
        "  valid: 2 cats, 2 dogs",
    ]
    assert re.search(r"^12 photos, \d\d\d(\.\d)? KiB, ready in ", printed, re.MULTILINE)
    told = job.events().facts
    assert told.pop("source") == "synthetic 8 train and 4 valid photos, seed 42"
    assert told == {"classes": 2, "train_photos": 8, "valid_photos": 4, "left_out": 0}


def test_a_second_run_keeps_the_photos_and_writes_the_same_listing(job: ByHand) -> None:
    job.succeed("download")
    photo = next((job.data / "photos").rglob("*.jpg"))
    stamp, first = photo.stat().st_mtime_ns, (job.data / LISTING).read_bytes()
    assert "kept the 12 photos" in job.run("download")[1]
    assert photo.stat().st_mtime_ns == stamp
    assert (job.data / LISTING).read_bytes() == first


def test_weights_are_those_that_any_variant_needs(job: ByHand) -> None:
    variants = [{**job.parameters, "arch": "tf_efficientnet_lite0", "pretrained": True}, job.parameters]
    job.succeed("download", variants=variants)
    assert [path.name for path in (job.data / "downloads/weights").iterdir()] == ["tf_efficientnet_lite0.pth"]
    job.succeed("download")
    assert list((job.data / "downloads/weights").iterdir()) == []


def test_it_says_what_it_left_out(job: ByHand) -> None:
    mine = write_tree(job.folder / "mine", {**photo_set(), "train/cats/bad.jpg": b"no"})
    job.section["dataset"].update({"source": "folder", "folder": str(mine)})
    assert "left out 1: train/cats/bad.jpg (no JPEG, " in job.run("download")[1]
    assert job.events().facts["left_out"] == 1


def test_photos_that_come_or_go_in_the_folder_change_what_the_check_tells_of_it(job: ByHand) -> None:
    mine = write_tree(job.folder / "mine", photo_set())
    job.parameters["batch_size"] = 4
    assert "source" not in job.succeed("check").facts
    job.section["dataset"].update({"source": "folder", "folder": str(mine)})
    first = job.succeed("check").facts["source"]
    assert job.succeed("check").facts["source"] == first
    write_tree(mine, {"train/cats/cat.50.jpg": b"more"})
    assert job.succeed("check").facts["source"] != first
    job.section["dataset"]["folder"] = "nowhere"
    line = f"params.yaml: dogs_cats.dataset.folder: {ROOT}/nowhere is not a folder: name one that holds photos"
    assert job.fail("check") == line


def test_a_failing_run_takes_the_old_listing_with_it(job: ByHand) -> None:
    job.succeed("download")
    job.section["dataset"].update({"source": "folder", "folder": "/nowhere"})
    line = job.fail("download")
    assert line == "params.yaml: dogs_cats.dataset.folder: /nowhere is not a folder: name one that holds photos"
    assert not (job.data / LISTING).exists()


def test_a_place_that_can_not_be_written_is_one_line(job: ByHand) -> None:
    (job.data / "photos").write_text("in the way")
    assert job.fail("download").startswith(str(job.data / "photos"))


def begun(job: ByHand, photos_drawn: int) -> subprocess.Popen[str]:
    """The command as a process that has drawn this many photos, and not nearly all."""
    job.section["dataset"].update({"train_photos": 320, "valid_photos": 80})
    process = job.start("download")
    deadline = time.monotonic() + 60
    while len(list(job.data.glob("photos.partial/train/*/*.jpg"))) < photos_drawn:
        assert process.poll() is None and time.monotonic() < deadline, "it never began to draw"
        time.sleep(0.005)
    return process


def test_killed_in_the_middle_the_next_run_gives_a_right_result(job: ByHand, tmp_path: Path) -> None:
    process = begun(job, photos_drawn=10)
    process.kill()
    process.communicate()
    partial = job.data / "photos.partial"
    assert len(list(partial.rglob("*.jpg"))) < 400, "it was killed too late to say anything"
    assert not (job.data / LISTING).exists() and not (job.data / "photos").exists()
    job.succeed("download")
    expected = photos.place(Synthetic({"train": 320, "valid": 80}, 42), tmp_path / "expected")
    assert codec.read(job.data / LISTING, Photos).photos == expected.photos
    assert tree(job.data / "photos") == tree(tmp_path / "expected")
    assert not partial.exists()


def test_ctrl_c_ends_it_with_one_line(job: ByHand) -> None:
    process = begun(job, photos_drawn=5)
    process.send_signal(signal.SIGINT)
    _, complaint = process.communicate(timeout=60)
    assert (process.returncode, complaint) == (130, "faceoff: interrupted\n")
    assert len(list(job.folder.rglob("*.jpg"))) < 400, "it went on to the end"
    assert not (job.data / LISTING).exists()
