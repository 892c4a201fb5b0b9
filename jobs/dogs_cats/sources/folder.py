"""Source `folder`: photos that are already here. They are copied; the folder itself is only read.

It holds a folder for each class, in train and valid, or without a split, which is then drawn.
"""

import dataclasses
import functools
import hashlib
from collections.abc import Iterable, Sequence
from pathlib import Path

from jobs.dogs_cats.sources import layout
from jobs.dogs_cats.sources.photos import Fetched
from stages.errors import FaceoffError

# A split's folder, in any case. The first that is there counts: beside valid, a test set is left out.
NAMES = {"train": ("train", "training"), "valid": ("valid", "val", "validation", "test", "testing")}
VALID_SHARE = 0.2  # of each class, where the folder has no split: fastai's own default
SHOWN = 5

Classes = dict[str, dict[str, Path]]  # of each class its files, by the names that they have below its folder


@dataclasses.dataclass(frozen=True)
class Found:
    """What the folder holds."""

    photos: dict[str, Path]  # by the name under which each is kept: 'train/cats/cat.0.jpg'
    left_out: dict[str, str]  # what is not taken, files and whole folders: why
    split: str  # how it came by its split, where that has to be said


@dataclasses.dataclass(frozen=True)
class Folder:
    """A folder of the user's own."""

    folder: Path
    seed: int = 0  # of the split that is drawn where there is none

    @property
    def classes(self) -> tuple[str, ...]:
        """Return the classes' names, sorted."""
        return tuple(sorted({name.split("/")[1] for name in self.found.photos}))

    def identity(self) -> str:
        """Return the path, and every file's name, size and time of change."""
        digest = hashlib.sha256("\0".join(self.found.left_out).encode(errors="surrogateescape"))
        for name, path in sorted(self.found.photos.items()):
            status = path.stat()
            digest.update(f"{name}\0{status.st_size}\0{status.st_mtime_ns}\0".encode(errors="surrogateescape"))
        return f"folder {self.folder.resolve()} {digest.hexdigest()}"

    def fetch(self, destination: Path) -> Fetched:
        """Copy the photos."""
        layout.copy(self.found.photos, destination)
        return Fetched(f"folder {self.folder}{self.found.split}", self.found.left_out)

    @functools.cached_property
    def found(self) -> Found:
        """Return what the folder holds. Raises FaceoffError where that is no data set."""
        if not self.folder.is_dir():
            raise _refusal(self.folder, "is not a folder: name one that holds photos")
        try:
            return look(self.folder, self.seed)
        except OSError as error:
            raise _refusal(self.folder, f"can't be read: {error.filename}: {error.strerror}") from None


def look(root: Path, seed: int) -> Found:
    """Return what the folder holds. Raises FaceoffError where that is no data set."""
    left_out: dict[str, str] = {}
    train, valid = (_split(root, split) for split in layout.SPLITS)
    if valid and not train:
        raise _refusal(root, f"has {valid.name} and no train: put the photos to train on into train/CLASS")
    splits = {"train": _classes(root, train or root, left_out)}
    if valid:
        splits["valid"] = _classes(root, valid, left_out)
        _check_alike(root, splits)
        by_which = "" if valid.name == "valid" else f", {valid.name} for validation"
    else:
        splits = _drawn(root, splits["train"], seed)
        by_which = f", {VALID_SHARE:.0%} of each class drawn for validation, seed {seed}"
    for path in layout.subfolders(root) if train else ():
        inside = [each for each in layout.below(path) if layout.is_named_as_photo(each)]
        if inside and path not in (train, valid):
            left_out[f"{path.name}/"] = f"{_photos(inside)} in neither split"
    names = {
        f"{split}/{label}/{name}": path
        for split, classes in splits.items()
        for label, files in classes.items()
        for name, path in files.items()
    }
    return Found(names, dict(sorted(left_out.items())), by_which)


def _split(root: Path, split: str) -> Path | None:
    """Return the split's folder: the first by its names that holds folders. None where there is none."""
    found = {path.name.lower(): path for path in reversed(_visible(root))}
    named = [found[name] for name in NAMES[split] if name in found]
    for path in named:
        if _is_broken(path):
            raise _broken(root, path)
        if path.is_dir() and any(each.is_dir() or _is_broken(each) for each in _visible(path)):
            return path
    if named and split == "train":
        photos = _photos(layout.below(named[0])) if named[0].is_dir() else "no photo"
        raise _refusal(root, f"has {named[0].name} with {photos} and no folder for each class: sort them into such")
    return None


def _classes(root: Path, folder: Path, left_out: dict[str, str]) -> Classes:
    """Return the classes in `folder`; `left_out` takes what else is there. Raises FaceoffError for fewer than two."""
    classes: Classes = {}
    for path in _visible(folder):
        if _is_broken(path) and not path.suffix:  # a photo's name has one
            raise _broken(root, path)
        if path.is_dir():
            name = f"{path.relative_to(root)}/"
            files = _files(root, path, left_out)
            if folder == root and path.name.lower() in NAMES["valid"]:
                left_out[name] = f"{_photos(files.values())}, and no folder for each class"
            elif any(map(layout.is_named_as_photo, files.values())):
                classes[path.name] = files
            else:
                left_out[name] = "no photo, by the names in it"
    loose = [path for path in _visible(folder) if layout.is_named_as_photo(path) and not path.is_dir()]
    if loose:
        left_out[f"{folder.relative_to(root)}/"] = f"{_photos(loose)} in no class's folder"
    _check_classes(root, folder, classes)
    return classes


def _check_classes(root: Path, folder: Path, classes: Classes) -> None:
    """Raise FaceoffError for fewer than two, for a split inside of one, and for a name that no result can hold."""
    if len(classes) < 2:
        there = _shown([path.name for path in _visible(folder)]) or "nothing"
        inside = [folder / name for name in classes if len(layout.subfolders(folder / name)) > 1]
        cure = f"name {inside[0]} instead?" if inside else "give the photos of each class a folder of their own"
        found = f"{len(classes)} folder{'s' * (not classes)} of photos in {folder} (there: {there})"
        raise _refusal(root, f"has {found}, expected one for each class, 2 or more: {cure}")
    for name in classes:
        if not name.isprintable():
            raise _refusal(root, f"has a class {name!r}, whose name is not all UTF-8 and printable: rename it")
        for path in layout.subfolders(folder / name):
            if path.name.lower() in NAMES["train"]:
                below = f"has {path.relative_to(root)}, expected the split above the classes: train/{name}"
                raise _refusal(root, below)


def _files(root: Path, folder: Path, left_out: dict[str, str]) -> dict[str, Path]:
    """Return a class's files; `left_out` takes what is none."""
    files = {}
    for path in layout.below(folder):
        if path.is_file():
            files[str(path)[len(str(folder)) + 1 :]] = path
        else:
            left_out[path.relative_to(root).as_posix()] = "a broken link" if path.is_symlink() else "not a file"
    return files


def _check_alike(root: Path, splits: dict[str, Classes]) -> None:
    """Raise FaceoffError unless each split has each class."""
    for one, other in (("train", "valid"), ("valid", "train")):
        lacking = sorted(splits[one].keys() - splits[other].keys())
        if lacking:
            raise _refusal(
                root,
                f"has {_shown(lacking)} to {one} and not to {other}, where {_shown(sorted(splits[other]))} lie: "
                "each class must be in both, by the same name",
            )


def _drawn(root: Path, classes: Classes, seed: int) -> dict[str, Classes]:
    """Split each class by the digests of its photos' names: one photo more moves at most one of the others."""
    splits: dict[str, Classes] = {split: {} for split in layout.SPLITS}
    for label, files in classes.items():
        named = [name for name, path in files.items() if layout.is_named_as_photo(path)]
        if len(named) < 2:
            raise _refusal(root, f"has 1 photo of {label}, expected 2 or more: one to train on, one to validate by")
        digests = {
            hashlib.sha256(f"{seed}/{label}/{name}".encode(errors="surrogateescape")).digest(): name for name in named
        }
        valid = {digests[each] for each in sorted(digests)[: max(1, round(VALID_SHARE * len(named)))]}
        splits["valid"][label] = {name: path for name, path in files.items() if name in valid}
        splits["train"][label] = {name: path for name, path in files.items() if name not in valid}
    return splits


def _visible(folder: Path) -> list[Path]:
    return sorted(path for path in folder.iterdir() if not path.name.startswith("."))


def _is_broken(path: Path) -> bool:
    return path.is_symlink() and not path.exists()


def _photos(paths: Iterable[Path]) -> str:
    """Say how many of the files are photos, by their names."""
    count = sum(map(layout.is_named_as_photo, paths))
    return f"{count:,} photo{'s' * (count != 1)}"


def _shown(names: Sequence[str]) -> str:
    more = f" and {len(names) - SHOWN:,} more" if len(names) > SHOWN else ""
    return ", ".join(names[:SHOWN]) + more


def _broken(root: Path, path: Path) -> FaceoffError:
    link = f"has {path.relative_to(root)}, a link to {path.readlink()}"
    return _refusal(root, f"{link}, which is not there: mend or remove it")


def _refusal(root: Path, why: str) -> FaceoffError:
    return FaceoffError(f"params.yaml: dogs_cats.dataset.folder: {root} {why}")
