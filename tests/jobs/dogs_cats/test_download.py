"""The download stage as DVC runs it: a process of its own."""

import json
import re
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
import yaml

from jobs.dogs_cats.sources import photos
from jobs.dogs_cats.sources.synthetic import Synthetic
from stages import codec, records
from tests.jobs.dogs_cats.helper_photos import photo_set, tree, write_tree

REPOSITORY = Path(__file__).parents[2]
COMMAND = [sys.executable, "-m", "stages.download"]


@pytest.fixture
def project(tmp_path: Path) -> Path:
    """A folder to run the stage in."""
    root = tmp_path / "project"
    (root / "docker/host").mkdir(parents=True)
    (root / "docker/host/image.yaml").write_text("run: host\n")
    (root / "stages").symlink_to(REPOSITORY / "stages")
    shutil.copy(REPOSITORY / "params.yaml", root)
    set_params(root, dataset={"train_photos": 8, "valid_photos": 4}, recipe={"pretrained": False})
    return root


def set_params(root: Path, **sections: dict[str, object]) -> None:
    document = yaml.safe_load((root / "params.yaml").read_text())
    for name, changes in sections.items():
        document[name].update(changes)
    (root / "params.yaml").write_text(yaml.safe_dump(document))


def run(root: Path) -> subprocess.CompletedProcess[str]:
    return subprocess.run(COMMAND, cwd=root, capture_output=True, text=True, check=False)


def test_it_writes_photos_weights_and_records_of_them(project: Path) -> None:
    set_params(project, recipe={"pretrained": True})
    done = run(project)
    assert (done.returncode, done.stderr) == (0, "")
    manifest = codec.read(project / records.MANIFEST_PATH, records.Manifest)
    dataset = codec.read(project / records.DATASET_PATH, records.Dataset)
    assert [photo.path for photo in manifest.photos] == sorted(tree(project / records.PHOTOS_DIR))
    assert dataset == photos.dataset_of(manifest, dataset.weights_sha256)
    assert [path.name for path in (project / records.WEIGHTS_DIR).iterdir()] == ["tf_efficientnet_lite0.pth"]
    assert done.stdout.splitlines()[:3] == [
        "source: synthetic 8 train and 4 valid photos, seed 42",
        "  train: 4 cats, 4 dogs",
        "  valid: 2 cats, 2 dogs",
    ]
    assert re.search(r"^12 photos, \d\d\d(\.\d)? KiB, ready in ", done.stdout, re.MULTILINE)


def test_a_second_run_keeps_the_photos_and_writes_the_same_records(project: Path) -> None:
    run(project)
    photo = next((project / records.PHOTOS_DIR).rglob("*.jpg"))
    stamp = photo.stat().st_mtime_ns
    first = [(project / path).read_bytes() for path in (records.MANIFEST_PATH, records.DATASET_PATH)]
    assert "kept the 12 photos" in run(project).stdout
    assert photo.stat().st_mtime_ns == stamp
    assert [(project / path).read_bytes() for path in (records.MANIFEST_PATH, records.DATASET_PATH)] == first


def test_without_pretraining_the_weights_folder_is_empty(project: Path) -> None:
    run(project)
    assert list((project / records.WEIGHTS_DIR).iterdir()) == []
    assert json.loads((project / records.DATASET_PATH).read_text())["weights_sha256"] is None


def test_it_says_what_it_left_out(project: Path) -> None:
    mine = write_tree(project / "mine", {**photo_set(), "train/cats/bad.jpg": b"no"})
    set_params(project, dataset={"source": "folder", "folder": str(mine)})
    assert "left out 1 that do not decode: train/cats/bad.jpg (not a photo" in run(project).stdout


def test_a_failing_run_takes_the_old_records_with_it(project: Path) -> None:
    run(project)
    set_params(project, dataset={"source": "folder", "folder": "nowhere"})
    failed = run(project)
    assert failed.returncode == 1
    assert failed.stderr == (
        "faceoff: params.yaml: dataset.folder: nowhere is not a folder: name one that holds photos\n"
    )
    assert not (project / records.MANIFEST_PATH).exists()
    assert not (project / records.DATASET_PATH).exists()


def test_a_typo_is_found_before_anything_is_touched(project: Path) -> None:
    run(project)
    set_params(project, dataset={"sede": 1})
    failed = run(project)
    assert failed.returncode == 1
    assert failed.stderr.startswith("faceoff: params.yaml: dataset: unknown key 'sede'")
    assert (project / records.MANIFEST_PATH).exists()


def test_a_place_that_can_not_be_written_is_one_line(project: Path) -> None:
    (project / "data").write_text("in the way")
    failed = run(project)
    assert failed.returncode == 1
    assert failed.stderr.startswith("faceoff: data")
    assert failed.stderr.count("\n") == 1


def begun(project: Path, photos_drawn: int) -> subprocess.Popen[str]:
    """The stage as a process that has drawn this many photos, and not nearly all."""
    set_params(project, dataset={"train_photos": 80, "valid_photos": 20})
    process = subprocess.Popen(COMMAND, cwd=project, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True)
    deadline = time.monotonic() + 60
    while len(list(project.glob("data/photos.partial/train/*/*.jpg"))) < photos_drawn:
        assert process.poll() is None and time.monotonic() < deadline, "it never began to draw"
        time.sleep(0.005)
    return process


def test_killed_in_the_middle_the_next_run_gives_a_right_result(project: Path, tmp_path: Path) -> None:
    process = begun(project, photos_drawn=10)
    process.kill()
    process.communicate()
    partial = project / "data/photos.partial"
    assert len(list(partial.rglob("*.jpg"))) < 100, "it was killed too late to say anything"
    assert not (project / records.MANIFEST_PATH).exists()
    assert not (project / records.PHOTOS_DIR).exists()
    assert run(project).returncode == 0
    expected = photos.place(Synthetic({"train": 80, "valid": 20}, 42), tmp_path / "expected")
    assert codec.read(project / records.MANIFEST_PATH, records.Manifest) == expected
    assert tree(project / records.PHOTOS_DIR) == tree(tmp_path / "expected")
    assert not partial.exists()


def test_ctrl_c_ends_it_with_one_line(project: Path) -> None:
    process = begun(project, photos_drawn=5)
    process.send_signal(signal.SIGINT)
    _, complaint = process.communicate(timeout=60)
    assert (process.returncode, complaint) == (130, "faceoff: SIGINT: stopping\n")
    assert len(list(project.rglob("*.jpg"))) < 100, "it went on to the end"
    assert not (project / records.MANIFEST_PATH).exists()
