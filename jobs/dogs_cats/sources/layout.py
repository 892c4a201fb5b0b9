"""The folders that every source ends in: train/{cats,dogs} and valid/{cats,dogs}."""

import mimetypes
import shutil
from pathlib import Path

from jobs.dogs_cats.sources.progress import in_parallel
from stages.errors import FaceoffError

SPLITS = ("train", "valid")
CLASSES = ("cats", "dogs")
FOLDERS = tuple(f"{split}/{label}" for split in SPLITS for label in CLASSES)

# What Kaggle's lingjin525/dogs-and-cats-fastai and fastai's dogscats.tgz both hold.
DOGS_CATS_PHOTOS = {"train": 23_000, "valid": 2_000}


def files(root: Path) -> list[Path]:
    """Return every file of the four folders, sorted; hidden ones and what lies in folders below are no photos."""
    return sorted(
        path
        for folder in FOLDERS
        if (root / folder).is_dir()
        for path in (root / folder).iterdir()
        if path.is_file() and not path.name.startswith(".")
    )


def missing_folders(root: Path) -> list[str]:
    """Return those of the four that are not there."""
    return [folder for folder in FOLDERS if not (root / folder).is_dir()]


def find(root: Path) -> Path | None:
    """Return the folder that holds the four: `root`, else the fullest of its direct subfolders, else None.

    Kaggle's set holds a second copy, dogscats/, beside the first, and both archives a sample/: those don't count.
    """
    if not missing_folders(root):
        return root
    inner = [path for path in sorted(root.iterdir()) if path.is_dir() and not missing_folders(path)]
    return max(inner, key=lambda path: len(files(path)), default=None)


def check_counts(root: Path, promised: dict[str, int], source: str, advice: str) -> None:
    """Raise a FaceoffError unless each split has the promised number of photos, of files that are named as such.

    Counted before any photo is decoded: a file that is damaged at its origin is no sign of a broken download.
    """
    found = dict.fromkeys(promised, 0)
    for path in files(root):
        if (mimetypes.guess_type(path.name)[0] or "").startswith("image/"):
            found[path.parent.parent.name] += 1
    if found != promised:
        raise FaceoffError(f"{source}: expected {_counts(promised)} photos, found {_counts(found)}: {advice}")


def _counts(counts: dict[str, int]) -> str:
    return " and ".join(f"{count:,} {split}" for split, count in counts.items())


def copy(root: Path, destination: Path) -> None:
    """Copy the four folders' files; `root` stays as it is. Links are followed."""

    def copy_one(path: Path) -> None:
        target = destination / path.relative_to(root)
        target.parent.mkdir(parents=True, exist_ok=True)
        shutil.copyfile(path, target)

    in_parallel(copy_one, files(root), "copying photos")
