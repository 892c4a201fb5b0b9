"""The fastai source: its archive from a local server, unpacked without trusting it."""

import dataclasses
import gzip
import hashlib
import tarfile
import zlib
from collections.abc import Iterator
from pathlib import Path

import pytest

from stages.errors import FaceoffError
from stages.harness.sources import photos
from stages.harness.sources.fastai_archive import FastaiArchive
from tests.unit.helper_http import FileServer, serving
from tests.unit.helper_photos import jpeg, odd_member, photo_set, tgz_of, tree

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
    assert sorted(path.name for path in (tmp_path / "data/photos").iterdir()) == [".receipt.json", "train", "valid"]


def test_interrupted(server: FileServer, tmp_path: Path) -> None:
    source = offer(server, tmp_path, tgz_of({**photo_set(prefix="dogscats/"), "more": bytes(range(256)) * 1000}))
    (source.downloads_dir).mkdir(parents=True)
    arrived = server.files["/dogscats.tgz"][:3000]
    (source.downloads_dir / "dogscats.tgz.part").write_bytes(arrived)
    assert place(source, tmp_path) == WHOLE
    assert server.asked == [("/dogscats.tgz", "bytes=3000-")]


@pytest.mark.parametrize(
    ("change", "says"),
    [
        ({"size_bytes": 5}, "bytes, not 5"),
        ({"first_mib_md5": "0" * 32}, "the first MiB's md5 is"),
    ],
)
def test_another_file_is_refused(server: FileServer, tmp_path: Path, change: dict[str, object], says: str) -> None:
    source = dataclasses.replace(offer(server, tmp_path, tgz_of(WHOLE)), **change)  # type: ignore[arg-type]
    line = failure(source, tmp_path)
    assert says in line
    assert "was deleted: run again, or take dataset.source: kaggle" in line
    assert list(source.downloads_dir.iterdir()) == []


@pytest.mark.parametrize(
    "member",
    [
        odd_member("../outside.jpg"),
        odd_member("train/cats/../../../../outside.jpg"),
        odd_member("/tmp/absolute.jpg"),
        odd_member("train/cats/link.jpg", tarfile.SYMTYPE, "/etc/passwd"),
        odd_member("train/cats/link.jpg", tarfile.SYMTYPE, "cat.0.jpg"),
        odd_member("train/cats/link.jpg", tarfile.LNKTYPE, "../../outside.jpg"),
        odd_member("train/cats/pipe.jpg", tarfile.FIFOTYPE),
    ],
    ids=["parent", "parent-inside", "absolute", "symlink", "symlink-inside", "hardlink", "pipe"],
)
def test_a_member_that_is_no_file_of_the_archive_is_refused(
    server: FileServer, tmp_path: Path, member: tarfile.TarInfo
) -> None:
    source = offer(server, tmp_path, tgz_of(WHOLE, member))
    assert "not as it should be" in failure(source, tmp_path)
    assert not list(tmp_path.rglob("outside.jpg"))
    assert not list(source.downloads_dir.iterdir())


@pytest.mark.parametrize("name", ["train/cats/cat.7.jpg", "beside/the/photos"])
def test_a_bomb_is_refused_when_its_header_is_read(server: FileServer, tmp_path: Path, name: str) -> None:
    """4 GB that are 4 MB when packed, and the gigabyte that any archive may take is not written either."""
    packed = zlib.compressobj(1, wbits=31)
    archive = [packed.compress(odd_member(name, size=4 << 30).tobuf())]
    archive += [packed.compress(bytes(1 << 20)) for _ in range(64)]  # as far as anyone would ever read
    source = offer(server, tmp_path, b"".join((*archive, packed.flush())))
    assert "it unpacks to more than 1,074 MB, far more than photos would) and deleted" in failure(source, tmp_path)
    assert list(source.downloads_dir.iterdir()) == []


def test_a_bomb_behind_the_archives_end_is_refused(server: FileServer, tmp_path: Path) -> None:
    source = offer(server, tmp_path, tgz_of(WHOLE) + gzip.compress(bytes(64 << 20)))
    assert "there is more after its end" in failure(source, tmp_path)


def test_a_link_beside_the_photos_is_not_followed(server: FileServer, tmp_path: Path) -> None:
    link = odd_member("valid", tarfile.SYMTYPE, str(tmp_path))
    assert place(offer(server, tmp_path, tgz_of(WHOLE, link)), tmp_path) == WHOLE
    assert not (tmp_path / "cats").exists()


@pytest.mark.parametrize("damage", ["the middle", "the checksum", "the end"])
def test_a_damaged_archive_is_deleted(server: FileServer, tmp_path: Path, damage: str) -> None:
    archive = bytearray(tgz_of(WHOLE))
    if damage == "the end":
        archive = archive[:-2000]
    else:
        place_of_it = len(archive) // 2 if damage == "the middle" else -8
        archive[place_of_it] ^= 0xFF
    source = offer(server, tmp_path, bytes(archive))
    assert "and deleted: run again, or take dataset.source: kaggle" in failure(source, tmp_path)
    assert list(source.downloads_dir.iterdir()) == []


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
