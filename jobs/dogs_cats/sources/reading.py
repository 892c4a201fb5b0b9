"""What each file is to Pillow: a photo that every image reads, with a warning perhaps, or left out with the reason."""

import struct
import threading
import unicodedata
import warnings
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import NamedTuple

from PIL import Image, UnidentifiedImageError

from jobs.dogs_cats.sources import layout
from jobs.dogs_cats.sources.progress import in_parallel
from stages.contract import printable

# What the Pillow of every image reads, back to the 6.2 of the legacy ones.
FORMATS = ("JPEG", "PNG", "BMP", "GIF", "WEBP")
JPEGS = ("JPEG", "MPO")  # the latter has more than one photo, of which the first is taken
SCAN, END = b"\xda", b"\xff\xd9"  # markers of a JPEG: the pixels begin, and end
BMP_HEADERS_BYTES, BMP_COMPRESSIONS = (12, 40, 64, 108, 124), (0, 3)  # which 6.2 knows: none, and colours by masks
MOST_PIXELS = 89_478_485  # of more, every Pillow warns as of an attack, and refuses twice as many
NO_PHOTO, NONE_OF_THEM = "no photo", "no {}, {}, {}, {} or {}".format(*FORMATS)


class Look(NamedTuple):
    """What was found of a file."""

    why: str | None  # it is left out; None: it is taken
    warning: str | None  # Pillow's
    is_rare: bool  # not every Pillow may read it: each image's own is asked


class _Heard(threading.local):
    """What Pillow said of the photo that a thread has at hand."""

    def __init__(self) -> None:
        self.warnings = list[str]()


def look_at(paths: Sequence[Path], root: Path) -> list[Look]:
    """Decode every file as the learners do."""
    with _warnings_heard() as heard:

        def look(path: Path) -> Look:
            heard.warnings.clear()
            why, kind = _complaint(path, root)
            is_sure = kind == "PNG" or (kind in JPEGS and _is_sound(path.read_bytes()))
            return Look(why, printable("; ".join(heard.warnings)) or None, not is_sure)

        return in_parallel(look, paths, "decoding photos")


@contextmanager
def _warnings_heard() -> Iterator[_Heard]:
    """Hear the warnings, each in its thread; of large photos there are none, their pixels are counted."""
    heard, most = _Heard(), Image.MAX_IMAGE_PIXELS
    with warnings.catch_warnings():
        warnings.simplefilter("always")
        warnings.showwarning = lambda message, *_, **__: heard.warnings.append(str(message))
        Image.MAX_IMAGE_PIXELS = None
        try:
            yield heard
        finally:
            Image.MAX_IMAGE_PIXELS = most


def _complaint(path: Path, root: Path) -> tuple[str | None, str | None]:
    """Say why the file is no photo to train on, or None; and what it is, as far as that is known."""
    categories = {unicodedata.category(each) for each in str(path.relative_to(root))}
    if "Cs" in categories:  # what Python makes of such bytes
        return "the file's name is not UTF-8", None
    if "Cc" in categories:
        return "the file's name has a control character", None
    kind = None
    try:
        with Image.open(path, formats=FORMATS) as image:
            kind = image.format
            pixels = image.width * image.height
            if pixels > MOST_PIXELS:
                most = f"{MOST_PIXELS / 1e6:.0f} up to which Pillow decodes without a warning"
                return f"{pixels / 1e6:,.0f} megapixels, more than the {most}: make it smaller", kind
            if kind == "BMP" and not _is_plain_bmp(path):
                return "a packed or unusual BMP, which older Pillows such as cuda-10.0's do not read", kind
            image.convert("RGB")
    except UnidentifiedImageError:
        if not layout.is_named_as_photo(path):
            return NO_PHOTO, None
        return "empty file" if path.stat().st_size == 0 else NONE_OF_THEM, None
    except OSError as error:
        if error.errno is not None:  # the disk's, not the photo's
            raise
        return str(error), kind
    except Exception as error:  # Pillow's plugins raise nearly anything for a damaged file
        return f"{type(error).__name__}: {error}", kind
    return None, kind


def _is_plain_bmp(path: Path) -> bool:
    with path.open("rb") as file:
        header_bytes, compression = struct.unpack("<14xI12xI", file.read(34))
    return header_bytes in BMP_HEADERS_BYTES and (header_bytes == 12 or compression in BMP_COMPRESSIONS)


def _is_sound(jpeg: bytes) -> bool:
    """Say whether one marker follows another up to the pixels, and their end is there; newer Pillows mend some."""
    at = 2
    while jpeg[at : at + 1] == b"\xff":
        marker, length = jpeg[at + 1 : at + 2], int.from_bytes(jpeg[at + 2 : at + 4])
        at += 2 + length
        if marker == SCAN:
            return END in jpeg[at:]
    return False
