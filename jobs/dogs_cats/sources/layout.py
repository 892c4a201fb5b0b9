"""The folders that every source ends in: train/CLASS and valid/CLASS, with the photos anywhere below."""

import os
import shutil
from collections.abc import Iterator, Mapping
from pathlib import Path

from jobs.dogs_cats.sources.progress import in_parallel
from stages.errors import FaceoffError

SPLITS = ("train", "valid")
SUFFIXES = (
    ".avif",
    ".bmp",
    ".dib",
    ".gif",
    ".heic",
    ".heif",
    ".jfif",
    ".jp2",
    ".jpe",
    ".jpeg",
    ".jpg",
    ".png",
    ".tif",
    ".tiff",
    ".webp",
)

# What Kaggle's lingjin525/dogs-and-cats-fastai and fastai's dogscats.tgz both hold.
CLASSES = ("cats", "dogs")
FOLDERS = tuple(f"{split}/{label}" for split in SPLITS for label in CLASSES)
DOGS_CATS_PHOTOS = {"train": 23_000, "valid": 2_000}


def files(root: Path) -> list[Path]:
    """Return every file of the classes' folders, sorted; hidden ones are no photos."""
    folders = (folder for split in SPLITS if (root / split).is_dir() for folder in subfolders(root / split))
    return sorted(path for folder in folders for path in below(folder) if path.is_file())


def subfolders(folder: Path) -> list[Path]:
    """Return the folders that lie directly in this one, sorted, but hidden ones."""
    return sorted(path for path in folder.iterdir() if path.is_dir() and not path.name.startswith("."))


def below(folder: Path, above: frozenset[Path] = frozenset()) -> Iterator[Path]:
    """Yield what lies below a folder and is none, hidden things left out. Links are followed, but into no circle."""
    real = folder.resolve()
    if real not in above:
        with os.scandir(folder) as entries:  # which asks for no status of each, as there may be a million
            for entry in entries:
                if not entry.name.startswith("."):
                    path = Path(entry.path)
                    yield from below(path, above | {real}) if entry.is_dir() else (path,)


def is_named_as_photo(path: Path) -> bool:
    """Say whether the file is a photo by its name."""
    return path.suffix.lower() in SUFFIXES


def missing_folders(root: Path) -> list[str]:
    """Return those of the four that are not there."""
    return [folder for folder in FOLDERS if not (root / folder).is_dir()]


def find(root: Path) -> Path | None:
    """Return the folder that holds cats and dogs: `root`, else the fullest of its direct subfolders, else None.

    Kaggle's set holds a second copy, dogscats/, beside the first, and both archives a sample/: those don't count.
    """
    if not missing_folders(root):
        return root
    inner = [path for path in subfolders(root) if not missing_folders(path)]
    return max(inner, key=lambda path: len(files(path)), default=None)


def check_counts(root: Path, promised: dict[str, int], source: str, advice: str) -> None:
    """Raise a FaceoffError unless each split has the promised number of photos, of files that are named as such.

    Counted before any photo is decoded: a file that is damaged at its origin is no sign of a broken download.
    """
    found = dict.fromkeys(promised, 0)
    for path in files(root):
        if is_named_as_photo(path):
            found[path.relative_to(root).parts[0]] += 1
    if found != promised:
        raise FaceoffError(f"{source}: expected {_counts(promised)} photos, found {_counts(found)}: {advice}")


def _counts(counts: dict[str, int]) -> str:
    return " and ".join(f"{count:,} {split}" for split, count in counts.items())


def by_name(root: Path) -> dict[str, Path]:
    """Return the files by the names that they have below `root`."""
    return {path.relative_to(root).as_posix(): path for path in files(root)}


def copy(photos: Mapping[str, Path], destination: Path) -> None:
    """Copy each file to where its name says; what a link names is copied, not the link."""

    def copy_one(name: str) -> None:
        target = destination / name
        target.parent.mkdir(parents=True, exist_ok=True)
        shutil.copyfile(photos[name], target)

    in_parallel(copy_one, sorted(photos), "copying photos")
