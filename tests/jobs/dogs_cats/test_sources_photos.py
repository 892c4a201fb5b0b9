"""Photos are written once, whole or not at all; what does not decode is named and left out; the listing is true."""

import hashlib
import io
import os
import struct
import zlib
from pathlib import Path

import pytest
from PIL import Image

from jobs.dogs_cats.sources import photos
from jobs.dogs_cats.sources.folder import Folder
from jobs.dogs_cats.sources.photos import Fetched, Receipt
from jobs.dogs_cats.sources.synthetic import Synthetic
from stages import codec
from stages.errors import FaceoffError
from tests.jobs.dogs_cats.helper_photos import jpeg, photo_set, tree, write_tree

WHOLE = photo_set()


def folder_with(tmp_path: Path, more: dict[str, bytes]) -> Folder:
    return Folder(write_tree(tmp_path / "mine", {**WHOLE, **more}))


def stamps(root: Path) -> dict[str, tuple[int, int]]:
    """What changes when a file is written again."""
    return {str(path): (path.stat().st_ino, path.stat().st_mtime_ns) for path in root.rglob("*") if path.is_file()}


def test_the_listing_is_that_of_the_files(tmp_path: Path) -> None:
    listed = photos.place(folder_with(tmp_path, {}), tmp_path / "photos")
    expected = sorted((name, len(content), hashlib.sha256(content).hexdigest()) for name, content in WHOLE.items())
    assert [(photo.path, photo.size_bytes, photo.sha256) for photo in listed.photos] == expected
    codec.write(tmp_path / "photos.json", listed)
    assert codec.read(tmp_path / "photos.json", Receipt) == listed


def test_the_counts(tmp_path: Path) -> None:
    source = folder_with(tmp_path, {"valid/dogs/dog.9.jpg": jpeg(200), "valid/dogs/dog.8.jpg": b""})
    listed = photos.place(source, tmp_path / "photos")
    assert photos.folder_counts(listed) == {"train/cats": 3, "train/dogs": 3, "valid/cats": 3, "valid/dogs": 4}
    assert listed.left_out == {"valid/dogs/dog.8.jpg": "empty file"}


def test_photos_of_valid_that_train_holds_too_are_named(tmp_path: Path) -> None:
    """Of whichever class, and however often: accuracy counts what was learnt by heart."""
    learnt = {"valid/dogs/again.jpg": "train/cats/cat.0.jpg", "valid/cats/same.jpg": "train/dogs/dog.1.jpg"}
    twice_in_valid = {"valid/cats/cat.77.jpg": jpeg(77), "valid/dogs/cat.77.jpg": jpeg(77)}
    source = folder_with(tmp_path, {**{valid: WHOLE[train] for valid, train in learnt.items()}, **twice_in_valid})
    assert photos.in_both_splits(photos.place(source, tmp_path / "photos")) == learnt


BROKEN_PNG = b"\x89PNG\r\n\x1a\n" + b"\0\0\0\rIHDR" + bytes(40)


@pytest.mark.parametrize(
    ("content", "reason"),
    [
        (b"", "empty file"),
        (b"<html>404</html>", "no JPEG, PNG, BMP, GIF or WEBP"),
        (jpeg(size=(320, 240))[:-4000], "truncated"),
        (BROKEN_PNG, ""),
        (
            b"%!PS-Adobe-3.0 EPSF-3.0\n%%BoundingBox: 0 0 9 9\n",
            "no JPEG, PNG, BMP, GIF or WEBP",
        ),  # Pillow would run Ghostscript
    ],
    ids=["empty", "text", "truncated", "broken png", "postscript"],
)
def test_what_does_not_decode_is_named_and_left_out(tmp_path: Path, content: bytes, reason: str) -> None:
    source = folder_with(tmp_path, {"train/dogs/bad.jpg": content})
    listed = photos.place(source, tmp_path / "photos")
    assert list(listed.left_out) == ["train/dogs/bad.jpg"]
    assert reason in listed.left_out["train/dogs/bad.jpg"]
    assert [photo.path for photo in listed.photos] == sorted(WHOLE)
    assert tree(tmp_path / "photos") == WHOLE
    [line] = photos.describe("left out", listed.left_out)
    assert line.startswith("left out 1: train/dogs/bad.jpg (")


def test_a_long_list_of_left_out_photos_is_one_short_line() -> None:
    [line] = photos.describe("left out", {f"train/cats/{number}.jpg": "empty file" for number in range(700)})
    assert line.startswith("left out 700: train/cats/0.jpg (empty file)") and line.endswith("and 695 more")
    assert photos.describe("left out", {}) == []


def test_what_is_no_photo_by_name_and_content_is_named_as_such_after_the_photos(tmp_path: Path) -> None:
    more = {"train/cats/Thumbs.db": b"\xd0\xcf\x11\xe0 thumbnails", "train/dogs/half.jpg": jpeg()[:300]}
    listed = photos.place(folder_with(tmp_path, more), tmp_path / "photos")
    assert list(listed.left_out) == ["train/dogs/half.jpg", "train/cats/Thumbs.db"]
    assert listed.left_out["train/cats/Thumbs.db"] == "no photo"


def packed_bmp() -> bytes:
    """4 x 1 pixels, run-length encoded."""
    header = struct.pack("<IiiHHIIiiII", 40, 4, 1, 1, 8, 1, 4, 2835, 2835, 256, 0)
    begins = 14 + len(header) + 1024
    return b"BM" + struct.pack("<IHHI", begins + 4, 0, 0, begins) + header + bytes(1024) + b"\4\1\0\1"


def test_what_an_older_images_pillow_does_not_read_is_left_out_though_this_one_does(tmp_path: Path) -> None:
    Image.open(io.BytesIO(packed_bmp())).convert("RGB")
    listed = photos.place(folder_with(tmp_path, {"train/cats/rle8.bmp": packed_bmp()}), tmp_path / "photos")
    assert list(listed.left_out) == ["train/cats/rle8.bmp"]
    assert "which older Pillows such as cuda-10.0's do not read" in listed.left_out["train/cats/rle8.bmp"]


def test_of_what_pillow_warns_it_is_told_once_by_name(tmp_path: Path, capfd: pytest.CaptureFixture[str]) -> None:
    palette, exif = io.BytesIO(), io.BytesIO()
    Image.linear_gradient("L").convert("P").save(palette, "PNG", transparency=bytes(256))
    Image.new("RGB", (9, 9)).save(exif, "JPEG", exif=b"Exif\0\0II*\0\x08\0\0\0\x03\0\x12\x01")
    more = {"train/cats/palette.png": palette.getvalue(), "train/dogs/badexif.jpg": exif.getvalue()}
    source = folder_with(tmp_path, more)
    listed = photos.place(source, tmp_path / "photos")
    assert listed.left_out == {} and set(more) < {photo.path for photo in listed.photos}
    printed, errors = capfd.readouterr()
    [line] = printed.splitlines()
    assert line.startswith("taken, though Pillow warns of 2: train/cats/palette.png (Palette images with Transparency ")
    assert ", train/dogs/badexif.jpg (Corrupt EXIF data. " in line and errors == ""
    photos.place(source, tmp_path / "photos")
    assert "Pillow" not in capfd.readouterr().out


def test_the_listing_tells_which_photos_an_image_may_not_read(tmp_path: Path) -> None:
    gif, large = io.BytesIO(), jpeg(size=(320, 240))
    Image.new("P", (9, 9)).save(gif, "GIF")
    tables = large.index(b"\xff\xc4")
    rare = {
        "train/cats/moving.gif": gif.getvalue(),
        "train/cats/no_end.jpg": jpeg()[:-2],  # of which the last bytes happen to be enough
        "train/cats/no_marker.jpg": large[:tables] + b"\x55" + large[tables + 1 :],  # 6.2: 'broken data stream'
    }
    source = folder_with(tmp_path, {**rare, "train/dogs/more_after_it.jpg": large + b"more"})
    listed = photos.place(source, tmp_path / "photos")
    assert listed.rare == tuple(rare)
    assert photos.place(source, tmp_path / "photos").rare == listed.rare


def test_other_formats_and_odd_names_are_photos_too(tmp_path: Path) -> None:
    def image(mode: str, kind: str) -> bytes:
        buffer = io.BytesIO()
        Image.new(mode, (9, 9)).save(buffer, kind)
        return buffer.getvalue()

    odd = {
        "train/cats/Kätzchen im Garten.JPEG": jpeg(50),
        "train/cats/no suffix": jpeg(51),
        """train/cats/it's "$(touch x)" `y`;&|<>*?.jpg""": jpeg(52),
        "train/cats/-rf.jpg": jpeg(53),
        "train/cats/palette.png": image("P", "PNG"),
        "train/cats/alpha.png": image("LA", "PNG"),
        "train/cats/grey of 16 bits.png": image("I;16", "PNG"),
        "train/cats/print.jpg": image("CMYK", "JPEG"),
        "train/cats/moving.gif": image("P", "GIF"),
        "train/cats/new.webp": image("RGB", "WEBP"),
    }
    listed = photos.place(folder_with(tmp_path, odd), tmp_path / "photos")
    assert listed.left_out == {}
    assert tree(tmp_path / "photos") == {**WHOLE, **odd}


def test_a_name_that_is_not_utf8_is_left_out(tmp_path: Path) -> None:
    source = folder_with(tmp_path, {})
    Path(os.fsdecode(bytes(source.folder) + b"/train/cats/caf\xe9.jpg")).write_bytes(jpeg(60))
    listed = photos.place(source, tmp_path / "photos")
    assert listed.left_out == {"train/cats/caf\\udce9.jpg": "the file's name is not UTF-8"}


def test_a_photo_of_too_many_pixels_is_left_out_by_their_number_and_the_limit(tmp_path: Path) -> None:
    buffer = io.BytesIO()
    Image.new("1", (9_500, 9_500)).save(buffer, "PNG")
    large = buffer.getvalue()
    header = large[12:16] + struct.pack(">II", 95_000, 95_000) + large[24:29]  # an edge of 95,000 pixels, and its CRC
    huge = large[:12] + header + struct.pack(">I", zlib.crc32(header)) + large[33:]
    source = folder_with(tmp_path, {"train/cats/large.png": large, "train/cats/huge.png": huge})
    listed = photos.place(source, tmp_path / "photos")
    assert sorted(listed.left_out) == ["train/cats/huge.png", "train/cats/large.png"]
    limit = "more than the 89 up to which Pillow decodes without a warning: make it smaller"
    assert listed.left_out == {
        "train/cats/huge.png": f"9,025 megapixels, {limit}",
        "train/cats/large.png": f"90 megapixels, {limit}",
    }
    codec.write(tmp_path / "photos.json", listed)


def test_a_class_without_photos_is_an_error(tmp_path: Path) -> None:
    broken = {name: b"" for name in WHOLE if name.startswith("valid/dogs")}
    with pytest.raises(FaceoffError, match="valid holds no photo of dogs that decodes"):
        photos.place(folder_with(tmp_path, broken), tmp_path / "photos")
    assert not (tmp_path / "photos").exists()


def test_the_folder_itself_is_only_read(tmp_path: Path) -> None:
    source = folder_with(tmp_path, {"train/cats/bad.jpg": b""})
    before = stamps(source.folder)
    photos.place(source, tmp_path / "photos")
    assert stamps(source.folder) == before
    assert not set(stamps(tmp_path / "photos").values()) & set(before.values()), "a copy is no link"


def test_a_second_run_writes_nothing(tmp_path: Path) -> None:
    source = folder_with(tmp_path, {"train/cats/bad.jpg": b""})
    first = photos.place(source, tmp_path / "photos")
    before = stamps(tmp_path / "photos")
    assert photos.place(source, tmp_path / "photos") == first
    assert stamps(tmp_path / "photos") == before


@pytest.mark.parametrize("harm", ["changed", "deleted", "added"])
def test_photos_that_are_not_as_written_are_written_anew(tmp_path: Path, harm: str) -> None:
    source = folder_with(tmp_path, {})
    first = photos.place(source, tmp_path / "photos")
    victim = tmp_path / "photos/train/cats/cat.1.jpg"
    if harm == "changed":
        victim.write_bytes(jpeg(90))
    elif harm == "deleted":
        victim.unlink()
    else:
        victim.with_name("cat.77.jpg").write_bytes(jpeg(91))
    assert photos.place(source, tmp_path / "photos") == first
    assert tree(tmp_path / "photos") == WHOLE


def test_a_changed_folder_is_copied_again(tmp_path: Path) -> None:
    photos.place(folder_with(tmp_path, {}), tmp_path / "photos")
    more = {"train/cats/cat.50.jpg": jpeg(92)}
    photos.place(folder_with(tmp_path, more), tmp_path / "photos")
    assert tree(tmp_path / "photos") == {**WHOLE, **more}


def test_another_seed_or_source_replaces(tmp_path: Path) -> None:
    first = photos.place(Synthetic({"train": 2, "valid": 2}, 1), tmp_path / "photos")
    second = photos.place(Synthetic({"train": 2, "valid": 2}, 2), tmp_path / "photos")
    assert {photo.path for photo in first.photos} == {photo.path for photo in second.photos}
    assert not {photo.sha256 for photo in first.photos} & {photo.sha256 for photo in second.photos}
    photos.place(folder_with(tmp_path, {}), tmp_path / "photos")
    assert tree(tmp_path / "photos") == WHOLE


def test_a_failing_source_leaves_the_old_photos_as_they_were(tmp_path: Path) -> None:
    class Failing:
        def identity(self) -> str:
            return "failing"

        classes = ("cats", "dogs")

        def fetch(self, destination: Path) -> Fetched:
            write_tree(destination, {"train/cats/cat.0.jpg": jpeg()})
            raise FaceoffError("no more")

    source = folder_with(tmp_path, {})
    first = photos.place(source, tmp_path / "photos")
    with pytest.raises(FaceoffError, match="no more"):
        photos.place(Failing(), tmp_path / "photos")
    before = stamps(tmp_path / "photos")
    assert photos.place(source, tmp_path / "photos") == first
    assert stamps(tmp_path / "photos") == before
