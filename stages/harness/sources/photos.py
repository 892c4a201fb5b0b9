"""data/photos: written once, looked at photo by photo, and listed in a manifest."""

import dataclasses
import hashlib
import json
import shutil
import unicodedata
import warnings
from collections.abc import Sequence
from pathlib import Path
from typing import Protocol

from PIL import Image, UnidentifiedImageError

from stages import codec
from stages.codec import RecordError
from stages.errors import FaceoffError
from stages.harness.sources import layout
from stages.harness.sources.progress import in_parallel
from stages.records import Dataset, Manifest, Photo

RECEIPT = ".receipt.json"
# What the Pillow of every image reads, back to the 6.2 of the legacy ones.
FORMATS = ("JPEG", "PNG", "BMP", "GIF", "WEBP")
NAMES_SHOWN = 5


class Source(Protocol):
    """Where photos come from."""

    def identity(self) -> str:
        """What decides which photos these are; known without a network. The same identity, the same photos."""

    def fetch(self, destination: Path) -> str:
        """Put the photos into train/{cats,dogs} and valid/{cats,dogs} of the empty folder `destination`.

        Returns the source's name for the manifest. Raises FaceoffError where they can't be had or are not what the
        source promises.
        """


@dataclasses.dataclass(frozen=True)
class Receipt:
    """data/photos/.receipt.json: what was written there. It arrives with the photos, in one rename."""

    identity: str
    manifest: Manifest


def place(source: Source, photos_dir: Path) -> Manifest:
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
        manifest = inspect(partial, source.fetch(partial))
        codec.write(partial / RECEIPT, Receipt(identity, manifest))
    except BaseException:
        shutil.rmtree(partial, ignore_errors=True)  # it may be what fills the disk
        raise
    if photos_dir.exists():
        shutil.rmtree(photos_dir)
    partial.rename(photos_dir)
    return manifest


def written(source: Source, photos_dir: Path) -> bool:
    """Whether the photos in `photos_dir` are this source's, by its receipt alone: they are not looked at."""
    try:
        receipt = json.loads((photos_dir / RECEIPT).read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return False
    return bool(receipt.get("identity") == source.identity())  # decoding 25,000 records would take a second


def _kept(photos_dir: Path, identity: str) -> Manifest | None:
    """The manifest of what lies in `photos_dir`, if it is of this identity and every byte is as it was written."""
    try:
        receipt = codec.read(photos_dir / RECEIPT, Receipt)
    except RecordError:
        return None
    if receipt.identity != identity:
        return None
    expected = {photos_dir / photo.path: photo.sha256 for photo in receipt.manifest.photos}
    found = layout.files(photos_dir)
    hashes = in_parallel(sha256_of, found, "checking photos")
    if dict(zip(found, hashes, strict=True)) == expected:
        return receipt.manifest
    print(f"{photos_dir} is not as it was written: writing it anew")
    return None


def sha256_of(path: Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def inspect(root: Path, source: str) -> Manifest:
    """Decode and hash every photo of the four folders. What doesn't decode is named, with the reason, and removed.

    Raises FaceoffError where a folder has no photo left.
    """
    paths = layout.files(root)
    with warnings.catch_warnings():
        warnings.simplefilter("error", Image.DecompressionBombWarning)  # of a photo that unpacks to gigabytes
        complaints = in_parallel(_complaint, paths, "decoding photos")
    photos, left_out = [], {}
    for path, complaint in zip(paths, complaints, strict=True):
        name = path.relative_to(root).as_posix()
        if complaint is None:
            photos.append(Photo(name, path.stat().st_size, sha256_of(path)))
        else:
            left_out["".join(each if each.isprintable() else _escaped(each) for each in name)] = complaint
            path.unlink()
    photos.sort(key=lambda photo: photo.path)
    manifest = Manifest(source, tuple(photos), left_out, manifest_sha256(photos))
    for folder, count in _folder_counts(manifest).items():
        if count == 0:
            raise FaceoffError(f"{source}: {folder} holds no photo that decodes: both splits need both classes")
    return manifest


def manifest_sha256(photos: Sequence[Photo]) -> str:
    """Of a line `<path> <sha256>` per photo."""
    lines = "".join(f"{photo.path} {photo.sha256}\n" for photo in photos)
    return hashlib.sha256(lines.encode("utf-8")).hexdigest()


def _complaint(path: Path) -> str | None:
    """Why the file is no photo to train on, or None."""
    categories = {unicodedata.category(each) for each in path.name}
    if "Cs" in categories:  # what Python makes of such bytes
        return "the file's name is not UTF-8"
    if "Cc" in categories:
        return "the file's name has a control character"
    if path.stat().st_size == 0:
        return "empty file"
    try:
        with Image.open(path, formats=FORMATS) as image:
            image.convert("RGB")  # decodes every pixel, and does what the learners do
    except UnidentifiedImageError:
        return "not a photo: no " + ", ".join(FORMATS)
    except OSError as error:
        if error.errno is not None:  # the disk's, not the photo's
            raise
        return str(error)
    except Exception as error:  # Pillow's plugins raise nearly anything for a damaged file
        return f"{type(error).__name__}: {error}"
    return None


def _escaped(character: str) -> str:
    return character.encode("unicode_escape").decode("ascii")


def describe_left_out(left_out: dict[str, str]) -> str | None:
    """One line on what was left out, or None."""
    if not left_out:
        return None
    shown = ", ".join(f"{name} ({why})" for name, why in list(left_out.items())[:NAMES_SHOWN])
    more = f", and {len(left_out) - NAMES_SHOWN} more" if len(left_out) > NAMES_SHOWN else ""
    return f"left out {len(left_out):,} that do not decode: {shown}{more}"


def dataset_of(manifest: Manifest, weights_sha256: str | None) -> Dataset:
    """The manifest as counts."""
    counts = _folder_counts(manifest)
    return Dataset(
        source=manifest.source,
        sha256=manifest.sha256,
        counts={split: {label: counts[f"{split}/{label}"] for label in layout.CLASSES} for split in layout.SPLITS},
        total_photos=len(manifest.photos),
        total_bytes=sum(photo.size_bytes for photo in manifest.photos),
        left_out=manifest.left_out,
        weights_sha256=weights_sha256,
    )


def _folder_counts(manifest: Manifest) -> dict[str, int]:
    counts = dict.fromkeys(layout.FOLDERS, 0)
    for photo in manifest.photos:
        counts[photo.path.rpartition("/")[0]] += 1
    return counts
