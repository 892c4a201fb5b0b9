"""The job's own measurements: their limit holds, and what does not work costs its own numbers alone."""

import os
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import pytest
import torch

from jobs.dogs_cats import measurements
from jobs.dogs_cats.measurements import EXPLAINING, OUT_OF_TIME, Part, convolution, files, of_network
from jobs.dogs_cats.measurements.sampling import NotPossible
from stages.contract import JobMeasurement, read_events
from stages.errors import FaceoffError
from tests.jobs.dogs_cats import helper_photos
from tests.jobs.dogs_cats.by_hand import by_hand
from tests.project import DOGS_CATS, ROOT

VARIANTS = [{"precision": name, "batch_size": 4} for name in ("fp32", "mixed")]


@pytest.fixture(scope="module")
def photos(tmp_path_factory: pytest.TempPathFactory) -> list[Path]:
    folder = tmp_path_factory.mktemp("photos")
    paths = [folder / f"{index}.jpg" for index in range(8)]
    for index, path in enumerate(paths):
        path.write_bytes(helper_photos.jpeg(index, (320, 240)))
    return paths


def told(parts: list[Part], seconds: float, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> list[JobMeasurement]:
    monkeypatch.setenv("FACEOFF_EVENTS", str(tmp_path / "events.jsonl"))
    measurements.run(parts, time.monotonic() + seconds)
    return list(read_events(tmp_path / "events.jsonl").measurements)


def test_what_fails_says_why_and_the_others_go_on(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, photos: list[Path]
) -> None:
    good = Part(
        "good", "bytes/s", "files", "read_warm", {"photos": [str(each) for each in photos]}, "wait", {}, EXPLAINING
    )
    none = good._replace(name="none", arguments={"photos": []})
    lost = good._replace(name="lost", arguments={"photos": ["/nowhere.jpg"]})
    found = told([none, lost, good], 3.0, tmp_path, monkeypatch)
    assert [(each.name, bool(each.samples)) for each in found] == [("none", False), ("lost", False), ("good", True)]
    assert found[0].detail == "there are no photos"
    assert found[1].detail.startswith("FileNotFoundError: ")
    assert found[2].explains == "wait" and found[2].detail.startswith("8 files of ")
    [late] = told([good], -1.0, tmp_path, monkeypatch)[3:]
    assert late.samples == () and late.detail == OUT_OF_TIME


@pytest.mark.slow
def test_all_that_the_job_measures(tmp_path: Path) -> None:
    job = by_hand(tmp_path, {"train_photos": 16, "valid_photos": 4})
    job.succeed("download")
    found = {each.name: each for each in job.succeed("measure", variants=VARIANTS, seconds=60).measurements}
    explains = {name: each.explains for name, each in found.items() if each.explains}
    assert explains == {
        "read of photos, cold": "wait",
        "JPEG decode, all usable cores": "wait",
        "convolution, heaviest layer, batch size 4, contiguous, fp32": "compute",
        "convolution, heaviest layer, batch size 4, contiguous, bf16": "compute",
    }
    heaviest = found["convolution, heaviest layer, batch size 4, contiguous, fp32"]
    assert heaviest.applies == {"batch_size": 4, "memory_format": "contiguous", "number_format": "fp32"}
    assert heaviest.detail.startswith("64 to 64 channels, 3 x 3") and all(each > 0 for each in heaviest.samples)
    first = found["convolution, first layer, batch size 4, contiguous, fp32"].detail
    assert first.startswith("3 to 64 channels, 7 x 7, stride 2 on 4 x 3 x 32 x 32, contiguous")


def test_what_a_variant_says_of_its_own_network_is_what_its_measurement_applies_to() -> None:
    own: dict[str, Any] = {"precision": "fp32", "batch_size": 4, "arch": "resnet34"}
    parts = [part for part in of_network(DOGS_CATS, [*VARIANTS, own]) if part.explains]
    plain = {"batch_size": 4, "memory_format": "contiguous", "number_format": "fp32"}
    assert [part.applies for part in parts if part.applies["number_format"] == "fp32"] == [
        plain,
        {**plain, "arch": "resnet34"},
    ]


def test_each_memory_format_that_is_faced_off_is_measured_as_the_learners_name_it() -> None:
    formats = ({"precision": "fp32", "batch_size": 4, "channels_last": each} for each in (False, True))
    parts = [part for part in of_network(DOGS_CATS, [*formats]) if part.explains and part.name.endswith("fp32")]
    assert [(part.arguments["channels_last"], part.applies["memory_format"]) for part in parts] == [
        (False, "contiguous"),
        (True, "channels_last"),
    ]
    assert [part.name.split(", ")[-2] for part in parts] == ["contiguous", "channels_last"]


def test_cold_photos_are_read_from_the_disk(photos: list[Path]) -> None:
    files._drop(photos)
    if files._resident_share(photos) > 0:
        pytest.skip("the file system of temporary files is in memory")
    found = list(files.read_cold([str(photo) for photo in photos], 1.0))
    assert "posix_fadvise" in str(found[0]) and len(found) >= 2
    files._read(photos)
    assert files._resident_share(photos) == 1.0


def test_where_the_kernel_keeps_pages_there_is_no_cold_read() -> None:
    """/dev/shm is a file system in memory."""
    path = Path(f"/dev/shm/faceoff-test-of-cold-reads-{os.getpid()}")
    path.write_bytes(b"x" * 100_000)
    try:
        with pytest.raises(NotPossible, match="keeps 100% of the pages"):
            list(files.read_cold([str(path)], 1.0))
    finally:
        path.unlink()


def test_children_that_decode_do_not_outlive_a_killed_process() -> None:
    script = """
import os, time
from jobs.dogs_cats.measurements import files
def work():
    os.write(1, b"%d\\n" % os.getpid())
    time.sleep(600)
files._at_once(2, work)
"""
    with subprocess.Popen([sys.executable, "-c", script], cwd=ROOT, stdout=subprocess.PIPE, text=True) as process:
        try:
            assert process.stdout is not None
            children = [int(process.stdout.readline()) for _ in range(2)]
        finally:
            process.kill()
            process.wait()
        deadline = time.monotonic() + 60
        while any(is_alive(child) for child in children) and time.monotonic() < deadline:
            time.sleep(0.05)
        assert not any(is_alive(child) for child in children)


def is_alive(pid: int) -> bool:
    """A zombie, which nobody may wait for here, is not."""
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
    except FileNotFoundError:
        return False


def test_every_process_decodes_its_photos_and_one_that_does_not_decode_is_told(
    photos: list[Path], capfd: pytest.CaptureFixture[str]
) -> None:
    detail, *rates = files.decode([str(photo) for photo in photos], 2, 2.0)
    assert str(detail).startswith("Pillow, 2 processes") and all(isinstance(rate, float) for rate in rates)
    broken = photos[0].with_name("broken.jpg")
    broken.write_bytes(photos[0].read_bytes()[:200])
    with pytest.raises(FaceoffError, match=r"broken\.jpg: "):
        list(files.decode([str(broken)], 1, 1.0))
    with pytest.raises(RuntimeError, match="1 of 1 processes failed"):
        list(files.decode([*map(str, photos[:4]), str(broken)], 1, 20.0))
    assert f"{broken}: " in capfd.readouterr().err


def test_tf32_is_allowed_for_what_bears_its_name_alone() -> None:
    """For products and convolutions, whose defaults differ: torch lets cuDNN use it."""

    def allowed() -> tuple[bool, bool]:
        return torch.backends.cuda.matmul.allow_tf32, torch.backends.cudnn.allow_tf32

    before = allowed()
    try:
        convolution._allow_tf32(True)
        assert allowed() == (True, True)
        shape = {"layer": "first", "arch": "resnet18", "size": 32, "channels_last": False, "batch_size": 1}
        list(convolution.convolution(device="cpu", number_format="fp32", seconds=5.0, **shape))
        assert allowed() == (False, False)
    finally:
        torch.backends.cuda.matmul.allow_tf32, torch.backends.cudnn.allow_tf32 = before
