"""Downloads resume, are checked, and fail in one line that says what to do."""

import errno
import re
from collections.abc import Iterator
from pathlib import Path

import pytest

from jobs.dogs_cats.sources.http import CHUNK_BYTES, download
from stages import codec, watched
from stages.errors import FaceoffError
from tests.jobs.dogs_cats.helper_http import FileServer, refused_url, serving

CONTENT = bytes(range(256)) * 2000


@pytest.fixture
def server() -> Iterator[FileServer]:
    with serving(FileServer()) as server:
        server.files["/file.bin"] = CONTENT
        yield server


def fetch(url: str, target: Path) -> None:
    download(url, target, lambda path: None if path.read_bytes() == CONTENT else "other bytes", "go elsewhere")


def test_it_arrives_whole(server: FileServer, tmp_path: Path) -> None:
    fetch(f"{server.url}/file.bin", tmp_path / "deep" / "file.bin")
    assert (tmp_path / "deep" / "file.bin").read_bytes() == CONTENT
    assert [path.name for path in (tmp_path / "deep").iterdir()] == ["file.bin"]


def test_a_cut_connection_is_taken_up_again(server: FileServer, tmp_path: Path, capsys: pytest.CaptureFixture) -> None:
    server.cut_after = 3 * CHUNK_BYTES + 100
    fetch(f"{server.url}/file.bin", tmp_path / "file.bin")
    assert (tmp_path / "file.bin").read_bytes() == CONTENT
    assert server.asked == [("/file.bin", None), *(("/file.bin", f"bytes={n * CHUNK_BYTES}-") for n in (3, 6))]
    assert capsys.readouterr().out.splitlines() == [
        "downloading file.bin: 0 B of 500 KiB",
        "the connection broke off after 192 KiB: going on from there",
        "downloading file.bin: 192 KiB of 500 KiB",
        "the connection broke off after 384 KiB: going on from there",
        "downloading file.bin: 384 KiB of 500 KiB",
    ]


def test_a_log_says_how_far_it_is_and_how_long_it_will_take(
    server: FileServer, tmp_path: Path, capsys: pytest.CaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(watched, "FIRST_SECONDS", 0.05)
    server.seconds_per_chunk = 0.1
    fetch(f"{server.url}/file.bin", tmp_path / "file.bin")
    first, *others = capsys.readouterr().out.splitlines()
    assert first == "downloading file.bin: 0 B of 500 KiB" and len(others) >= 2
    for line in others:
        assert re.fullmatch(r"downloading file\.bin: \d+(\.\d)? KiB of 500 KiB, \d+ s left", line)


def test_a_connection_that_brings_no_more_leaves_no_file_and_the_next_run_goes_on(
    server: FileServer, tmp_path: Path
) -> None:
    target = tmp_path / "file.bin"
    target.with_name("file.bin.part").write_bytes(CONTENT[: 3 * CHUNK_BYTES])
    server.cut_after = 100
    with pytest.raises(FaceoffError, match=r"the connection broke off; the 192 KiB that arrived are kept: run again"):
        fetch(f"{server.url}/file.bin", target)
    assert not target.exists()
    server.cut_after = None
    fetch(f"{server.url}/file.bin", target)
    assert target.read_bytes() == CONTENT
    assert server.asked == [("/file.bin", f"bytes={3 * CHUNK_BYTES}-")] * 2


def test_a_server_without_ranges_starts_anew(server: FileServer, tmp_path: Path) -> None:
    server.ranges = False
    (tmp_path / "file.bin.part").write_bytes(CONTENT[:1000])
    fetch(f"{server.url}/file.bin", tmp_path / "file.bin")
    assert (tmp_path / "file.bin").read_bytes() == CONTENT


def test_a_part_that_is_whole_is_taken_as_it_is(server: FileServer, tmp_path: Path) -> None:
    (tmp_path / "file.bin.part").write_bytes(CONTENT)
    fetch(f"{server.url}/file.bin", tmp_path / "file.bin")
    assert (tmp_path / "file.bin").read_bytes() == CONTENT


@pytest.mark.parametrize("arrived", [b"x" * 1000, b"x" * 2 * len(CONTENT)], ids=["shorter", "longer"])
def test_a_damaged_file_is_deleted_and_the_next_run_gets_it(server: FileServer, tmp_path: Path, arrived: bytes) -> None:
    (tmp_path / "file.bin.part").write_bytes(arrived)
    with pytest.raises(FaceoffError, match=r"damaged \(other bytes\) and was deleted: run again, or go elsewhere"):
        fetch(f"{server.url}/file.bin", tmp_path / "file.bin")
    assert list(tmp_path.iterdir()) == []
    fetch(f"{server.url}/file.bin", tmp_path / "file.bin")
    assert (tmp_path / "file.bin").read_bytes() == CONTENT


@pytest.mark.parametrize(
    ("status", "says"),
    [(403, r"refuses it \(403\)"), (404, r"not there \(404\)"), (503, r"answers with an error \(503\)")],
)
def test_a_refusal_says_which(server: FileServer, tmp_path: Path, status: int, says: str) -> None:
    server.status = status
    with pytest.raises(FaceoffError, match=says + ": go elsewhere") as caught:
        fetch(f"{server.url}/file.bin", tmp_path / "file.bin")
    assert "\n" not in str(caught.value)
    assert not (tmp_path / "file.bin").exists()


def test_nobody_listening(tmp_path: Path) -> None:
    with pytest.raises(FaceoffError, match=r"no connection \(Connection refused\): run again to go on"):
        fetch(f"{refused_url()}/file.bin", tmp_path / "file.bin")


def test_a_name_that_does_not_resolve(tmp_path: Path) -> None:
    with pytest.raises(FaceoffError, match=r"no connection \(.+\): run again to go on") as caught:
        fetch("http://nowhere.invalid/file.bin", tmp_path / "file.bin")
    assert "\n" not in str(caught.value)


def test_a_full_disk(server: FileServer, tmp_path: Path) -> None:
    (tmp_path / "file.bin.part").symlink_to("/dev/full")
    with pytest.raises(OSError, match="No space left") as caught:
        fetch(f"{server.url}/file.bin", tmp_path / "file.bin")
    assert caught.value.errno == errno.ENOSPC
    assert codec.refusal(caught.value) == "No space left on device: make room on that disk, then run again"
