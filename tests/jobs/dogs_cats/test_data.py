"""Archives that are cut off, changed or hostile, and downloads that are killed: by the job's own command, from a server
of the test's own; kagglehub is the real one."""

import contextlib
import dataclasses
import gzip
import hashlib
import os
import shutil
import signal
import stat
import struct
import subprocess
import sys
import tarfile
import time
import zipfile
import zlib
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from jobs.dogs_cats.photos import LISTING
from jobs.dogs_cats.sources.photos import Receipt
from stages import codec
from tests.jobs.dogs_cats.by_hand import ByHand, by_hand
from tests.jobs.dogs_cats.downloads import from_server, kaggle_environment
from tests.jobs.dogs_cats.helper_http import FileServer, Kaggle, serving
from tests.jobs.dogs_cats.helper_photos import jpeg, odd_member, photo_set, tgz_of, tree, write_tree, zip_of

WHOLE = photo_set()
MORE = os.urandom(8 << 20)  # beside the photos, so that there is something to interrupt
KAGGLES = Path("cache/datasets/lingjin525/dogs-and-cats-fastai")


@dataclasses.dataclass
class Download:
    """The job in a folder of its own, and the server that it asks."""

    job: ByHand
    server: FileServer
    archive: bytes
    environment: dict[str, str]

    def offer(self, archive: bytes) -> None:
        self.archive = archive
        if isinstance(self.server, Kaggle):
            self.server.offer(archive)
        self.server.files["/dogscats.tgz"] = archive

    def start(self) -> subprocess.Popen[str]:
        command = [sys.executable, str(from_server(self.server, self.job.folder, self.archive))]
        environment = os.environ | self.job.environment("download") | self.environment
        return subprocess.Popen(command, cwd=self.job.folder, env=environment, stdout=-1, stderr=-1, text=True)

    def succeed(self) -> str:
        """What it prints; the photos are those of the server's archive then."""
        process = self.start()
        said, errors = process.communicate()
        assert process.returncode == 0, errors
        assert tree(self.job.data / "photos") == WHOLE
        assert not (self.job.data / "photos.partial").exists()
        return said

    def fail(self) -> str:
        """The one line that it ends with; no photo and no listing lies there then."""
        process = self.start()
        _, errors = process.communicate()
        assert process.returncode == 1 and "Traceback" not in errors, errors
        [line] = [line for line in errors.splitlines() if line.startswith("faceoff: ")]
        assert Kaggle.SIGNATURE not in errors
        for name in ("photos", LISTING, "photos.partial"):
            assert not (self.job.data / name).exists()
        return line

    def left(self) -> list[str]:
        """Files of what was downloaded and unpacked, by their path in the job's folder."""
        places = [path for top in ("data", "cache") for path in (self.job.folder / top).rglob("*")]
        return sorted(str(path.relative_to(self.job.folder)) for path in places if path.is_file() or path.is_symlink())


@contextlib.contextmanager
def downloading(folder: Path, source: str) -> Iterator[Download]:
    job = by_hand(folder / "job", {"source": source})
    with serving(Kaggle() if source == "kaggle" else FileServer()) as server:
        made = Download(job, server, b"", kaggle_environment(job.data.parent))
        for name in ("KAGGLE_API_TOKEN", "KAGGLE_USERNAME", "KAGGLE_KEY"):
            made.environment[name] = ""
        made.offer(zip_of(WHOLE) if source == "kaggle" else tgz_of(WHOLE))
        yield made


@pytest.fixture
def kaggle(tmp_path: Path) -> Iterator[Download]:
    with downloading(tmp_path, "kaggle") as made:
        yield made


@pytest.fixture
def fastai(tmp_path: Path) -> Iterator[Download]:
    with downloading(tmp_path, "fastai") as made:
        yield made


# ----------------------------------------------------------------------------------------- cut off, changed, no archive


def test_kaggles_archive_that_is_not_the_one_of_its_checksum(kaggle: Download) -> None:
    whole = kaggle.archive
    kaggle.server.files[Kaggle.ARCHIVE] = whole[:1000] + b"\0\0" + whole[1002:]
    assert "does not match Kaggle's checksum and was deleted: run again" in kaggle.fail()
    assert kaggle.left() == []
    kaggle.offer(whole)
    kaggle.succeed()


@pytest.mark.parametrize("archive", [zip_of(WHOLE)[:-2000], b"<html>come back later</html>"], ids=["cut off", "none"])
def test_kaggles_archive_that_no_program_can_read(kaggle: Download, archive: bytes) -> None:
    kaggle.offer(archive)
    line = kaggle.fail()
    assert "what arrived is not readable (" in line and "was deleted: run again" in line
    assert kaggle.left() == []


def cut_off(archive: bytes) -> bytes:
    return archive[:-2000]


def changed_in_the_middle(archive: bytes) -> bytes:
    middle = len(archive) // 2
    return archive[:middle] + bytes([archive[middle] ^ 0xFF]) + archive[middle + 1 :]


def with_another_checksum(archive: bytes) -> bytes:
    return archive[:-8] + bytes([archive[-8] ^ 0xFF]) + archive[-7:]


@pytest.mark.parametrize("damage", [cut_off, changed_in_the_middle, with_another_checksum])
def test_fastais_archive_that_is_damaged(fastai: Download, damage: Callable[[bytes], bytes]) -> None:
    fastai.offer(damage(fastai.archive))
    line = fastai.fail()
    assert (
        "dogscats.tgz: not as it should be (" in line
        and "and deleted: run again, or take dogs_cats.dataset.source: kaggle" in line
    )
    assert fastai.left() == []


def test_fastais_archive_of_another_size_or_beginning(fastai: Download) -> None:
    whole = fastai.archive
    fastai.server.files["/dogscats.tgz"] = whole[:-2000]
    assert f"damaged ({len(whole) - 2000:,} bytes, not {len(whole):,}) and was deleted: run again" in fastai.fail()
    fastai.server.files["/dogscats.tgz"] = changed_in_the_middle(whole)
    assert "damaged (the first MiB's md5 is" in fastai.fail()
    assert fastai.left() == []
    fastai.offer(whole)
    fastai.succeed()


def test_fastais_archive_that_is_another_whole_one_than_the_first(fastai: Download) -> None:
    """It has the size, the first MiB, a right checksum of its own and all photos: only a hash of the whole tells."""
    padding = os.urandom(1 << 20)
    first, other = (
        tgz_of({"more": padding, **WHOLE, "train/cats/cat.0.jpg": jpeg() + end}, level=0) for end in (b"1", b"2")
    )
    assert first[: 1 << 20] == other[: 1 << 20] and len(first) == len(other)
    fastai.offer(first)
    fastai.start().communicate()
    kept = fastai.job.folder / "data/downloads/dogscats.tgz"
    sha256 = hashlib.sha256(first).hexdigest()
    assert kept.with_name("dogscats.tgz.sha256").read_text() == f"{sha256}  dogscats.tgz\n"
    shutil.rmtree(fastai.job.data / "photos")
    fastai.offer(other)
    for found in ("downloaded again", "changed on disk"):
        if found == "downloaded again":
            kept.unlink()
        else:
            kept.write_bytes(other)
        assert "data/downloads/dogscats.tgz.sha256, of the first that" in fastai.fail()
        assert not kept.exists()


# --------------------------------------------------------------------------------------------------- hostile archives


def link(name: str) -> zipfile.ZipInfo:
    member = zipfile.ZipInfo(name)
    member.external_attr = (stat.S_IFLNK | 0o777) << 16
    return member


def said_to_unpack_to(size_bytes: int, content: bytes) -> bytes:
    """A zip whose last member, of this content, is said in both its headers to be of another size."""
    archive = zip_of({**WHOLE, "train/cats/a.jpg": content})
    local, central = archive.rindex(b"PK\x03\x04"), archive.rindex(b"PK\x01\x02")
    for place in (local + 22, central + 24):
        archive = archive[:place] + struct.pack("<I", size_bytes) + archive[place + 4 :]
    return archive


def tar_bomb(name: str) -> bytes:
    """4 GB, of which as much is there as anyone would ever read: 64 MiB that are 0.3 MB when packed."""
    packed = zlib.compressobj(1, wbits=31)
    parts = [packed.compress(odd_member(name, size=4 << 30).tobuf())]
    parts += [packed.compress(bytes(1 << 20)) for _ in range(64)]
    return b"".join((*parts, packed.flush()))


OUTSIDE, LINK, BOMB = "points outside of it", "is a link or a device", "it unpacks to more than 1 GiB, far more than"
ZIPS = {
    "parent": (zip_of(WHOLE, (zipfile.ZipInfo("../../outside.jpg"), b"x")), f"'../../outside.jpg' {OUTSIDE}"),
    "absolute": (zip_of(WHOLE, (zipfile.ZipInfo("/tmp/outside.jpg"), b"x")), f"'/tmp/outside.jpg' {OUTSIDE}"),
    "link": (zip_of(WHOLE, (link("train/cats/a.jpg"), b"/etc/passwd")), f"'train/cats/a.jpg' {LINK}"),
    "declared bomb": (said_to_unpack_to(4_000_000_000, bytes(1 << 20)), BOMB),
    "undeclared bomb": (said_to_unpack_to(10, bytes(64 << 20)), "Bad CRC-32"),
}
TARS = {
    "parent": (tgz_of(WHOLE, odd_member("../outside.jpg")), f"'../outside.jpg' {OUTSIDE}"),
    "absolute": (tgz_of(WHOLE, odd_member("/tmp/outside.jpg")), f"'/tmp/outside.jpg' {OUTSIDE}"),
    "link": (tgz_of(WHOLE, odd_member("train/cats/a.jpg", tarfile.SYMTYPE, "/etc/passwd")), LINK),
    "hard link": (tgz_of(WHOLE, odd_member("train/cats/a.jpg", tarfile.LNKTYPE, "../../outside.jpg")), LINK),
    "declared bomb": (tar_bomb("train/cats/cat.7.jpg"), BOMB),
}
STREAMS = {  # fastai's, which is unpacked in one pass
    "parent inside": (tgz_of(WHOLE, odd_member("train/cats/../../../../outside.jpg")), OUTSIDE),
    "link inside": (tgz_of(WHOLE, odd_member("train/cats/a.jpg", tarfile.SYMTYPE, "cat.0.jpg")), LINK),
    "pipe": (tgz_of(WHOLE, odd_member("train/cats/a.jpg", tarfile.FIFOTYPE)), LINK),
    "device": (tgz_of(WHOLE, odd_member("train/cats/a.jpg", tarfile.CHRTYPE)), LINK),
    "declared bomb beside the photos": (tar_bomb("beside/the/photos"), BOMB),
    "undeclared bomb": (tgz_of(WHOLE) + gzip.compress(bytes(64 << 20)), "there is more after its end"),
}


def refused(download: Download, archive: bytes, says: str) -> None:
    """By name, deleted, and nothing of it is left anywhere."""
    download.offer(archive)
    line = download.fail()
    assert says in line and "deleted" in line
    assert download.left() == []
    assert not list(download.job.folder.parent.rglob("outside.jpg")) and not Path("/tmp/outside.jpg").exists()


@pytest.mark.parametrize(("archive", "says"), ZIPS.values(), ids=ZIPS)
def test_a_hostile_zip_is_refused_by_its_member_and_deleted(kaggle: Download, archive: bytes, says: str) -> None:
    refused(kaggle, archive, says)


@pytest.mark.parametrize(("archive", "says"), (TARS | STREAMS).values(), ids=TARS | STREAMS)
def test_a_hostile_tar_is_refused_by_its_member_and_deleted(fastai: Download, archive: bytes, says: str) -> None:
    refused(fastai, archive, says)


@pytest.mark.parametrize(("archive", "says"), TARS.values(), ids=TARS)
def test_a_hostile_tar_from_kaggle_is_refused_by_its_member_and_deleted(
    kaggle: Download, archive: bytes, says: str
) -> None:
    refused(kaggle, archive, says)


# --------------------------------------------------------------------------------------------- photos that are none


def test_what_is_no_photo_is_left_out_by_name_with_the_reason(kaggle: Download) -> None:
    bad = {"train/cats/cat.0.jpg": b"<html>404</html>", "train/dogs/dog.1.jpg": jpeg(size=(320, 240))[:-4000]}
    kaggle.offer(zip_of(WHOLE | bad))
    process = kaggle.start()
    said, errors = process.communicate()
    assert process.returncode == 0, errors
    assert "left out 2: train/cats/cat.0.jpg (no JPEG, " in said
    assert set(codec.read(kaggle.job.data / "downloads" / LISTING, Receipt).left_out) == set(bad)


GOOD_NAMES = ("-rf {}", "--help{}", "'{}'", '"{}', "$(rm -rf {})", "`{}`", "{} ;&|", "é {}", "🐈{}.jpg", "{}\\n")
BAD_NAMES = ("{}\n", "\r{}", "{}\x1b[2J", "\x7f{}", "{}\udcff", "a\tb{}")


def test_ten_thousand_odd_names_are_taken_or_left_out_by_name(tmp_path: Path) -> None:
    """A name that would break a line, or a terminal, or is not UTF-8, is left out; any other is as good as the next."""
    mine = write_tree(tmp_path / "mine", WHOLE)
    photo = jpeg(1, (4, 3))
    for number in range(625):
        for pattern in GOOD_NAMES + BAD_NAMES:
            (mine / "train/cats" / pattern.format(number)).write_bytes(photo)
    job = by_hand(tmp_path / "job", {"source": "folder", "folder": str(mine)})
    code, printed, errors = job.run("download")
    assert (code, errors) == (0, "")
    receipt = codec.read(job.data / "downloads" / LISTING, Receipt)
    taken = {f"train/cats/{pattern.format(number)}" for number in range(625) for pattern in GOOD_NAMES}
    assert {each.path for each in receipt.photos} == taken | set(WHOLE)
    assert len(receipt.left_out) == 625 * len(BAD_NAMES)
    [line] = [line for line in printed.split("\n") if line.startswith("left out 3,750: ")]
    assert line.isprintable() and line.endswith("and 3,745 more")


# ------------------------------------------------------------------------------------------------------ interruptions


def stopped_when(download: Download, happened: Callable[[], bool], by: signal.Signals) -> None:
    process = download.start()
    deadline = time.monotonic() + 120
    while not happened():
        assert process.poll() is None and time.monotonic() < deadline, "it never came to that"
        time.sleep(0.001)
    process.send_signal(by)
    process.communicate()
    assert process.returncode == (-by if by == signal.SIGKILL else 128 + by)
    for name in ("photos", LISTING):
        assert not (download.job.data / name).exists()


def asked_for_the_archive(download: Download) -> list[str | None]:
    """From where on, each time."""
    return [how for path, how in download.server.asked if path in (Kaggle.ARCHIVE, "/dogscats.tgz")]


@pytest.mark.parametrize("source", ["kaggle", "fastai"])
def test_a_download_that_is_stopped_and_killed_is_gone_on_with(tmp_path: Path, source: str) -> None:
    with downloading(tmp_path, source) as download:
        more = {"more": MORE, **WHOLE}
        download.offer(zip_of(more) if source == "kaggle" else tgz_of(more, level=0))
        arriving = KAGGLES / "3.archive" if source == "kaggle" else Path("data/downloads/dogscats.tgz.part")
        arriving = download.job.folder / arriving
        download.server.seconds_per_chunk = 0.01
        begins = []
        for by, least_bytes in ((signal.SIGTERM, 1 << 20), (signal.SIGKILL, 4 << 20)):
            stopped_when(download, lambda: arriving.exists() and arriving.stat().st_size >= least_bytes, by)  # noqa: B023
            begins.append(f"bytes={arriving.stat().st_size}-")
        download.server.seconds_per_chunk = 0.0
        download.succeed()
        assert [how for how in asked_for_the_archive(download) if how] == begins


@pytest.mark.parametrize("source", ["kaggle", "fastai"])
def test_what_a_stopped_run_had_unpacked_is_not_taken_for_whole_and_gives_its_room_back(
    tmp_path: Path, source: str
) -> None:
    more = {**WHOLE, **{f"train/cats/more.{number}.txt": b"text" for number in range(5000)}}  # no photos: not counted
    with downloading(tmp_path, source) as download:
        download.offer(zip_of(more) if source == "kaggle" else tgz_of(more))
        unpacked = KAGGLES / "versions/3" if source == "kaggle" else Path("data/photos.partial/.unpacked")
        unpacked = download.job.folder / unpacked
        for by in (signal.SIGTERM, signal.SIGKILL):
            stopped_when(download, (unpacked / "train/cats/more.9.txt").exists, by)
            assert unpacked.exists() == (by == signal.SIGKILL)
        assert len(list(unpacked.rglob("*.*"))) < len(more), "it had unpacked all, so that this test says nothing"
        process = download.start()
        _, errors = process.communicate()
        assert process.returncode == 0, errors
        receipt = codec.read(download.job.data / "downloads" / LISTING, Receipt)
        assert {each.path for each in receipt.photos} == set(WHOLE) and len(receipt.left_out) == 5000
        assert not (download.job.folder / "data/photos.partial").exists()
        assert set(asked_for_the_archive(download)) == {None}, "what had arrived was whole"


def test_room_comes_back_when_the_next_run_wants_other_photos(fastai: Download) -> None:
    """What was killed lies beside photos that are kept."""
    fastai.succeed()
    write_tree(fastai.job.folder / "data/photos.partial", {"train/cats/cat.0.jpg": MORE})
    assert "kept the 12 photos" in fastai.succeed()
