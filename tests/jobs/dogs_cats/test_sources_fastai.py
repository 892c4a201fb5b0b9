"""The fastai source: its archive from a local server, unpacked without trusting it."""

import hashlib
import tarfile
from collections.abc import Iterator
from pathlib import Path

import pytest

from jobs.dogs_cats.sources import photos
from jobs.dogs_cats.sources.fastai_archive import FastaiArchive
from stages.errors import FaceoffError
from tests.jobs.dogs_cats.helper_http import FileServer, serving
from tests.jobs.dogs_cats.helper_photos import jpeg, odd_member, photo_set, tgz_of, tree

WHOLE = photo_set()


@pytest.fixture
def server() -> Iterator[FileServer]:
    with serving(FileServer()) as server:
        yield server


def offer(server: FileServer, tmp_path: Path, archive: bytes) -> FastaiArchive:
    """The source, for an archive that the server has."""
    server.files["/dogscats.tgz"] = archive
    return FastaiArchive(
        downloads_dir=tmp_path / "data/downloads",
        url=f"{server.url}/dogscats.tgz",
        size_bytes=len(archive),
        first_mib_md5=hashlib.md5(archive[: 1 << 20], usedforsecurity=False).hexdigest(),
        promised={"train": 6, "valid": 6},
    )


def place(source: FastaiArchive, tmp_path: Path) -> dict[str, bytes]:
    photos.place(source, tmp_path / "data/photos")
    return tree(tmp_path / "data/photos")


def failure(source: FastaiArchive, tmp_path: Path) -> str:
    with pytest.raises(FaceoffError) as caught:
        photos.place(source, tmp_path / "data/photos")
    assert not (tmp_path / "data/photos").exists()
    assert "\n" not in str(caught.value)
    return str(caught.value)


@pytest.mark.parametrize("prefix", ["", "dogscats/", "./dogscats/"])
def test_only_the_four_folders_count(server: FileServer, tmp_path: Path, prefix: str) -> None:
    others = {
        **photo_set(prefix=f"{prefix}sample/"),
        **photo_set(prefix=f"{prefix}dogscats/"),  # the nested copy
        f"{prefix}test1/1.jpg": jpeg(),
        f"{prefix}models/224.h5": b"weights",
        f"{prefix}train/cats/.hidden": b"",
    }
    source = offer(server, tmp_path, tgz_of({**photo_set(prefix=prefix), **others}))
    assert place(source, tmp_path) == WHOLE
    assert sorted(path.name for path in (tmp_path / "data/photos").iterdir()) == ["train", "valid"]


def test_interrupted(server: FileServer, tmp_path: Path) -> None:
    source = offer(server, tmp_path, tgz_of({**photo_set(prefix="dogscats/"), "more": bytes(range(256)) * 1000}))
    (source.downloads_dir).mkdir(parents=True)
    arrived = server.files["/dogscats.tgz"][:3000]
    (source.downloads_dir / "dogscats.tgz.part").write_bytes(arrived)
    assert place(source, tmp_path) == WHOLE
    assert server.asked == [("/dogscats.tgz", "bytes=3000-")]


def test_a_link_beside_the_photos_is_not_followed(server: FileServer, tmp_path: Path) -> None:
    link = odd_member("valid", tarfile.SYMTYPE, str(tmp_path))
    assert place(offer(server, tmp_path, tgz_of(WHOLE, link)), tmp_path) == WHOLE
    assert not (tmp_path / "cats").exists()


def test_a_wrong_count_says_what_was_found(server: FileServer, tmp_path: Path) -> None:
    line = failure(offer(server, tmp_path, tgz_of(dict(list(WHOLE.items())[1:]))), tmp_path)
    assert "expected 6 train and 6 valid photos, found 5 train and 6 valid: delete" in line
    assert "data/downloads/dogscats.tgz and run again" in line


def test_damaged_photos_come_back_without_the_network(server: FileServer, tmp_path: Path) -> None:
    source = offer(server, tmp_path, tgz_of(WHOLE))
    place(source, tmp_path)
    server.status = 503
    (tmp_path / "data/photos/train/cats/cat.0.jpg").write_bytes(b"")
    assert place(source, tmp_path) == WHOLE
