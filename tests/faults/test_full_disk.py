"""A disk that fills for real: no half file is taken for a whole one, the space comes back, and the next run goes on."""

import dataclasses
import subprocess
import sys
from pathlib import Path

import pytest

from stages import codec, records
from stages.errors import FaceoffError
from stages.records import Cell
from tests import attempts
from tests.jobs.dogs_cats.downloads import in_project, kaggle_environment
from tests.jobs.dogs_cats.helper_http import FileServer, Kaggle, serving
from tests.jobs.dogs_cats.helper_photos import photo_set, tgz_of, tree, zip_of
from tests.mounts import mounting
from tests.project import DOGS_CATS, make_project

CELL = Cell("host", "plain", 1)
DOWNLOAD, TRAIN = "-m stages.download", f"-m stages.inside host --result {CELL.result_path('train')}"  # as in dvc.yaml
MORE = b"".join(bytes([index % 251]) * 1000 for index in range(6000))  # 6 MB beside the photos

# The command on a file system with {free} bytes left, then, with more room, once more. In between: what it left there.
FILLS_AND_GOES_ON = """
rm -rf before after
cp -a {disk} before
mount -t tmpfs -o size=200m tmpfs {disk}
cp -a before/. {disk}
head -c $(($(stat --file-system --format='%a * %S' {disk}) - {free})) /dev/zero >{disk}/filler
code=0; {python} {command} >first.out 2>first.err || code=$?
echo $code >first.code
find {disk} -type f ! -name filler -newer before.stamp >left
stat --file-system --format='%a %S' {disk} >free
[ ! -e {result} ] || cp {result} failed.json
rm {disk}/filler
{python} {command}
cp -a {disk} after
"""
MIB = 2**20


@dataclasses.dataclass
class Outcome:
    """What the first run ended with, and what it left on the disk; the second ended well."""

    code: int
    line: str
    left: list[str]
    free_bytes: int
    second: str  # its output


def fill(folder: Path, free_bytes: int, disk: str, command: str, **environment: str) -> Outcome:
    (folder / disk).mkdir(exist_ok=True)
    (folder / "before.stamp").touch()
    named = {"disk": disk, "python": sys.executable, "command": command, "result": CELL.result_path("train")}
    script = FILLS_AND_GOES_ON.format(free=free_bytes, **named)
    done = mounting(script, folder, **environment)
    assert done.returncode == 0, done.stdout + done.stderr + (folder / "first.err").read_text()
    errors = (folder / "first.err").read_text()
    assert "Traceback" not in errors
    [line] = dict.fromkeys(line for line in errors.splitlines() if line.startswith("faceoff: "))  # each once
    blocks, block_bytes = (folder / "free").read_text().split()
    left = (folder / "left").read_text().split()
    return Outcome(int((folder / "first.code").read_text()), line, left, int(blocks) * int(block_bytes), done.stdout)


def of_photos(folder: Path, **dataset: object) -> Path:
    """A project whose job downloads these photos, and no weights."""
    variants = {"plain": {"precision": "fp32", "batch_size": 16}}
    section = {"dataset": {**DOGS_CATS["dataset"], **dataset}}
    return make_project(folder, ["host"], job="dogs_cats", variants=variants, dogs_cats=section)


def manifest(folder: Path) -> records.Manifest:
    return codec.read(folder / "after/manifest.json", records.Manifest)


# ------------------------------------------------------------------------------------------------------- downloading


def test_photos_that_find_no_room(tmp_path):
    folder = of_photos(tmp_path, train_photos=300)
    found = fill(folder, 3 * MIB, "data", DOWNLOAD)
    assert found.code == 1 and "No space left on device: make room on that disk, then run again" in found.line
    assert found.left == [] and found.free_bytes > 2.9 * MIB
    assert len(tree(folder / "after/dogs_cats/photos")) == 316 <= manifest(folder).files


def test_fastais_archive_goes_on_from_what_found_room(tmp_path):
    folder = of_photos(tmp_path, source="fastai")
    archive = tgz_of({**photo_set(), "more": MORE}, level=0)
    with serving(FileServer()) as server:
        server.files["/dogscats.tgz"] = archive
        in_project(server, folder, archive)
        found = fill(folder, 3 * MIB, "data", DOWNLOAD)
    assert found.code == 1 and found.line.endswith(
        "make room on that disk, then run again; what was downloaded is kept"
    )
    assert found.left == ["data/dogs_cats/downloads/dogscats.tgz.part"]
    first, again = server.asked
    assert first[1] is None and 2 * MIB < int(again[1].strip("bytes=-")) <= 3 * MIB
    assert tree(folder / "after/dogs_cats/photos") == photo_set()


@pytest.mark.parametrize("free_bytes", [3 * MIB, 9 * MIB], ids=["downloading", "unpacking"])
def test_kaggles_archive_goes_on_from_what_found_room(tmp_path, free_bytes):
    folder = of_photos(tmp_path, source="kaggle")
    archive = zip_of({**photo_set(), "test1/1.bin": MORE}, level=0)
    environment = kaggle_environment(folder)
    with serving(Kaggle()) as server:
        server.offer(archive)
        in_project(server, folder, archive)
        found = fill(folder, free_bytes, "cache", DOWNLOAD, **environment)
    assert found.code == 1 and f"{folder}/cache: No space left on device: make room on that disk" in found.line
    assert found.left == ["cache/datasets/lingjin525/dogs-and-cats-fastai/3.archive"]
    asked = [how for path, how in server.asked if path == Kaggle.ARCHIVE]
    if free_bytes == 3 * MIB:
        assert MIB < int(asked[-1].strip("bytes=-")) <= 3 * MIB
    else:
        assert asked[0] is None and found.free_bytes > 2 * MIB, "what was unpacked is still there"
    assert tree(folder / "data/dogs_cats/photos") == photo_set()


# ---------------------------------------------------------------------------------------------------------- training


SAVES = """
import os, sys
path = os.environ["FACEOFF_OUTPUT"] + "/model"
try:
    open(path, "wb").write(bytes(4_000_000))
except OSError as error:
    os.unlink(path)
    sys.exit(f"no model: {error.strerror}")
"""


@pytest.fixture
def trainable(tmp_path):
    """A project whose job writes a model of 4 MB."""
    root = attempts.make(tmp_path)
    attempts.is_run(root, SAVES)
    return root


def test_a_model_that_finds_no_room_is_no_result(trainable):
    found = fill(trainable, 2 * MIB, "models", TRAIN)
    assert found.code == 1
    failed = codec.read(trainable / "failed.json", records.Result)
    assert failed.status == "failed" and f"faceoff: {failed.reason}" == found.line
    assert "no model: No space left on device" in (trainable / "first.err").read_text()
    assert not [each for each in found.left if each.startswith(str(CELL.output_dir) + "/")]
    assert (trainable / "after" / CELL.output_dir.relative_to("models") / "model").stat().st_size == 4_000_000


def test_a_result_that_finds_no_room_is_not_there(trainable):
    (trainable / CELL.result_path("train")).parent.mkdir(parents=True)  # or its folder would be free
    found = fill(trainable, 0, "metrics", TRAIN)
    assert found.code == 1
    assert f"{CELL.steps_path}: not written: No space left on device: make room on that disk" in found.line  # the first
    assert found.left == [] and found.free_bytes == 0
    path = trainable / "after" / CELL.result_path("train").relative_to("metrics")
    assert codec.read(path, records.Result).status == "ok"


def test_a_record_that_finds_no_room_leaves_the_one_that_was_there(tmp_path):
    folder = make_project(tmp_path, ["host"])
    (folder / "write.py").write_text(WRITE)
    old = records.Manifest("old", "0" * 64, 0, 0)
    codec.write(folder / "small/manifest.json", old)
    found = fill(folder, 64 * 1024, "small", "write.py")
    assert found.code == 1 and found.line.startswith("faceoff: small/manifest.json: not written: No space left")
    assert found.left == [] and found.free_bytes == 64 * 1024
    assert codec.read(folder / "first.json", records.Manifest) == old
    assert codec.read(folder / "after/manifest.json", records.Manifest).job.startswith("new")


def test_a_full_disk_that_nothing_foresaw_is_one_line(tmp_path):
    script = f"from stages.errors import run_entry; run_entry(lambda: Path('/dev/full').write_text('{'x' * 9999}'))"
    command = [sys.executable, "-c", f"from pathlib import Path; {script}"]
    done = subprocess.run(command, capture_output=True, text=True)
    said = "faceoff: No space left on device: make room on that disk, then run again\n"
    assert (done.returncode, done.stderr) == (1, said)


def test_why_a_cell_failed_is_not_hidden_by_a_disk_that_is_full():
    from stages.workload.supervisor.reasons import recorded

    with pytest.raises(FaceoffError, match="the reason"), recorded(Path("/dev/full")):
        raise FaceoffError("the reason")


WRITE = """
import shutil
from pathlib import Path
from stages import codec, records
from stages.errors import run_entry

def main():
    if not Path("first.json").exists():
        shutil.copy("small/manifest.json", "first.json")
    try:
        codec.write(Path("small/manifest.json"), records.Manifest("new" * 100_000, "1" * 64, 0, 0))
    finally:
        shutil.copy("small/manifest.json", "first.json" if Path("small/filler").exists() else "second.json")
    return 0

run_entry(main)
"""
