"""data/photos: written once, looked at photo by photo, and listed."""

import dataclasses
import hashlib
import json
import shutil
from collections import Counter
from collections.abc import Mapping, Sequence
from pathlib import Path
from types import MappingProxyType
from typing import NamedTuple, Protocol

from jobs.dogs_cats.photos import DOWNLOADS, LISTING, Photo
from jobs.dogs_cats.sources import layout, reading
from jobs.dogs_cats.sources.progress import in_parallel
from stages import codec
from stages.codec import RecordError
from stages.errors import FaceoffError

NAMES_SHOWN = 5


class Fetched(NamedTuple):
    """What a source put there."""

    source: str  # its name for the listing
    left_out: Mapping[str, str] = MappingProxyType({})  # what it did not take: why


class Source(Protocol):
    """Where photos come from."""

    @property
    def classes(self) -> tuple[str, ...]:
        """Return the classes' names, sorted; known without a network."""

    def identity(self) -> str:
        """Return what decides which photos these are; known without a network. The same identity, the same photos."""

    def fetch(self, destination: Path) -> Fetched:
        """Put the photos below train/CLASS and valid/CLASS of the empty folder `destination`.

        Raises FaceoffError where they can't be had or are not what the source promises.
        """


@dataclasses.dataclass(frozen=True)
class Receipt:
    """downloads/photos.json: which photos were written, and what was left out. It is written after them."""

    identity: str  # of the source
    source: str  # e.g. 'kaggle lingjin525/dogs-and-cats-fastai version 1'
    photos: tuple[Photo, ...]  # sorted by path
    rare: tuple[str, ...]  # those that not every Pillow may read
    left_out: dict[str, str]  # file, or whole folder, that is no photo to train on: why


def place(source: Source, photos_dir: Path) -> Receipt:
    """Have the source's photos in `photos_dir`, and nothing else; those that are there and intact are kept.

    Written beside it first and renamed when whole: a run that fails leaves the old photos, or none, never a part.
    """
    identity = source.identity()
    partial = photos_dir.with_name(photos_dir.name + ".partial")
    if partial.exists():  # a killed run's
        shutil.rmtree(partial)
    kept = _kept(photos_dir, identity)
    if kept is not None:
        print(f"kept the {len(kept.photos):,} photos of {photos_dir}")
        return kept
    partial.mkdir(parents=True)
    try:
        receipt = inspect(partial, identity, source.classes, source.fetch(partial))
    except BaseException:
        shutil.rmtree(partial, ignore_errors=True)  # it may be what fills the disk
        raise
    if photos_dir.exists():
        shutil.rmtree(photos_dir)
    partial.rename(photos_dir)
    codec.write(_receipt_path(photos_dir), receipt)
    return receipt


def written(source: Source, photos_dir: Path) -> bool:
    """Return whether the photos in `photos_dir` are this source's, by its receipt alone: they are not looked at."""
    try:
        receipt = json.loads(_receipt_path(photos_dir).read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return False
    return photos_dir.exists() and bool(
        receipt.get("identity") == source.identity()
    )  # decoding 25,000 records would take a second


def _receipt_path(photos_dir: Path) -> Path:
    return photos_dir.parent / DOWNLOADS / LISTING


def _kept(photos_dir: Path, identity: str) -> Receipt | None:
    """Return the receipt of what lies in `photos_dir`, if of this identity and every byte is as it was written."""
    try:
        receipt = codec.read(_receipt_path(photos_dir), Receipt)
    except RecordError:
        return None
    if receipt.identity != identity:
        return None
    expected = {photos_dir / photo.path: photo.sha256 for photo in receipt.photos}
    found = layout.files(photos_dir)
    hashes = in_parallel(sha256_of, found, "checking photos")
    if dict(zip(found, hashes, strict=True)) == expected:
        return receipt
    print(f"{photos_dir} is not as it was written: writing it anew")
    return None


def sha256_of(path: Path) -> str:
    """Return the digest of a file's content."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def inspect(root: Path, identity: str, classes: Sequence[str], fetched: Fetched) -> Receipt:
    """Decode and hash every photo. What some image may not read is named, with the reason, and removed.

    Raises FaceoffError where a split has no photo of a class left.
    """
    paths = layout.files(root)
    photos, rare, left_out = [], [], dict(fetched.left_out)
    warned: dict[str, str] = {}
    for path, look in zip(paths, reading.look_at(paths, root), strict=True):
        name = path.relative_to(root).as_posix()
        if look.why is not None:
            left_out[name] = look.why
            path.unlink()
            continue
        photos.append(Photo(name, path.stat().st_size, sha256_of(path)))
        rare += [name] if look.is_rare else []
        warned |= {name: look.warning} if look.warning else {}
    photos.sort(key=lambda photo: photo.path)
    photos_first = sorted(left_out.items(), key=lambda each: (each[1] == reading.NO_PHOTO, each))
    printable = {_printable(name): why for name, why in photos_first}
    receipt = Receipt(identity, fetched.source, tuple(photos), tuple(sorted(rare)), printable)
    counts = folder_counts(receipt)
    for split in layout.SPLITS:
        for label in classes:
            if f"{split}/{label}" not in counts:
                said = f"{fetched.source}: {split} holds no photo of {label} that decodes: both splits need every class"
                raise FaceoffError("; ".join([said, *describe("left out", receipt.left_out)]))
    for line in describe("taken, though Pillow warns of", warned):
        print(line)
    return receipt


def _printable(name: str) -> str:
    return "".join(each if each.isprintable() else each.encode("unicode_escape").decode("ascii") for each in name)


def describe(what: str, found: Mapping[str, str]) -> list[str]:
    """Return one line on the files that this was found of, or none."""
    if not found:
        return []
    shown = ", ".join(f"{name} ({why})" for name, why in list(found.items())[:NAMES_SHOWN])
    more = f", and {len(found) - NAMES_SHOWN:,} more" if len(found) > NAMES_SHOWN else ""
    return [f"{what} {len(found):,}: {shown}{more}"]


def in_both_splits(receipt: Receipt) -> dict[str, str]:
    """Return the photos of valid that train holds too, byte for byte: where it lies in valid, and where in train."""
    train, valid = ([each for each in receipt.photos if each.path.startswith(f"{split}/")] for split in layout.SPLITS)
    there = {photo.sha256: photo.path for photo in train}
    return {photo.path: there[photo.sha256] for photo in valid if photo.sha256 in there}


def folder_counts(receipt: Receipt) -> dict[str, int]:
    """Return how many photos each class has in each split: {'train/cats': 280}."""
    return Counter("/".join(photo.path.split("/")[:2]) for photo in receipt.photos)
