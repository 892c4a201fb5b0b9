"""The photos that the download left, and the input of a training that they make.

Runs on the host and inside images: Python 3.7 syntax, standard library only.
"""

import dataclasses
import hashlib
from pathlib import Path
from typing import Callable, List, NamedTuple, Optional, Sequence, Tuple, Union

from jobs.dogs_cats.parameters import Choice, Recipe, weights_path
from stages.codec import read
from stages.errors import FaceoffError

LISTING = "photos.json"
FOLDER = "photos"
DOWNLOADS = "downloads"  # beside it: what is no part of the data, whose digest leaves this folder out
FROZEN_PCT_START = 0.3
AGAIN = "run `.venv/bin/dvc repro -s -f download`"

Beat = Optional[Callable[[], object]]


@dataclasses.dataclass(frozen=True)
class Photo:
    """One file of the data set."""

    path: str  # below the folder of photos: split, class, and its name there, e.g. 'train/cats/cat.0.jpg'
    size_bytes: int
    sha256: str


@dataclasses.dataclass(frozen=True)
class Photos:
    """photos.json: every photo that there is to train on, wherever it came from."""

    photos: Tuple[Photo, ...]  # sorted by path
    rare: Tuple[str, ...] = ()  # paths of those that not every Pillow may read


@dataclasses.dataclass(frozen=True)
class LabelOf:
    """Tells a photo's class by its path: the folder that lies so deep."""

    depth: int

    def __call__(self, path: Union[str, Path]) -> str:
        """Return the class's name."""
        return Path(path).parts[self.depth]


class Input(NamedTuple):
    """What to learn, and from what."""

    recipe: Recipe
    precision: str
    batch_size: int
    seed: int  # of this repeat
    photos: List[Path]  # absolute
    valid: List[int]  # indices into `photos`, in the order in which they are predicted; the rest is for training
    classes: List[str]
    weights: Optional[Path]
    root: Path  # that the photos lie below
    rare: Sequence[Path] = ()  # of `photos`: an image's Pillow may not read them

    @property
    def label_of(self) -> LabelOf:
        """Return what tells a photo's class."""
        return LabelOf(len(self.root.parts) + 1)

    @property
    def train(self) -> List[int]:
        """Return the indices of the photos to train on."""
        valid = set(self.valid)
        return [index for index in range(len(self.photos)) if index not in valid]

    def epochs(self, phase: str) -> int:
        """Return how many epochs the phase has."""
        return self.recipe.frozen_epochs if phase == "frozen" else self.recipe.unfrozen_epochs

    def learning_rates(self, phase: str) -> slice:
        """Return the peaks, as both versions of fastai take them: the lowest layers' and the head's, or the head's."""
        if phase == "frozen":
            return slice(self.recipe.frozen_learning_rate)
        return slice(*self.recipe.unfrozen_learning_rates)

    def warm_up_share(self, phase: str) -> float:
        """Return the share of the phase's steps in which the learning rate rises.

        At least one step's, or fastai 1 divides by 0.
        """
        steps = self.epochs(phase) * (len(self.train) // self.batch_size)
        wanted = FROZEN_PCT_START if phase == "frozen" else self.recipe.pct_start
        return min(max(wanted, 1.5 / steps), 0.9)


def load(data: Path, choice: Choice, seed: int, beat: Beat = None) -> Input:
    """Return a training's input.

    `beat` is called at each photo, which a slow disk may take long to read. Raises FaceoffError where a photo is
    missing or is not as it was downloaded, or where there are too few.
    """
    if not (data / LISTING).exists():  # DVC sees data/manifest.json alone, and that may be there
        raise FaceoffError("{}: missing: {}".format(data / LISTING, AGAIN))
    listed = read(data / LISTING, Photos)
    root = (data / FOLDER).resolve()
    paths = [root / photo.path for photo in listed.photos]
    _check_unchanged(data, paths, listed, beat)
    found = Input(
        recipe=choice.recipe,
        precision=choice.precision,
        batch_size=choice.batch_size,
        seed=seed,
        photos=paths,
        valid=[index for index, photo in enumerate(listed.photos) if photo.path.startswith("valid/")],
        classes=sorted({photo.path.split("/")[1] for photo in listed.photos}),
        weights=weights_path(data, choice.recipe),
        root=root,
        rare=[root / path for path in listed.rare],
    )
    if choice.batch_size > len(found.train):
        raise FaceoffError(
            "params.yaml: variants: batch_size {} is more than the {} training photos, so there is not one whole "
            "batch: lower it or take more photos".format(choice.batch_size, len(found.train))
        )
    return found


def _check_unchanged(data: Path, paths: List[Path], listed: Photos, beat: Beat) -> None:
    """Raise FaceoffError unless each photo is there, of the size and, where it may have changed, of the hash it had.

    A write, a rename and a copy all set a file's time of change, which no program can set back, and moving a folder
    sets those of the folders. What is older than the listing is as it was: 25,000 hashes a cell would be for nothing.
    """
    written_at_ns = (data / LISTING).stat().st_mtime_ns
    root = (data / FOLDER).resolve()
    inmost = {path.parent for path in paths}
    folders = {root, *inmost, *(each for folder in inmost for each in folder.parents if root in each.parents)}
    moved = any(folder.stat().st_ctime_ns >= written_at_ns for folder in folders if folder.exists())
    for path, photo in zip(paths, listed.photos):
        if beat:
            beat()
        try:
            status = path.stat()
            suspect = moved or status.st_ctime_ns >= written_at_ns
            if status.st_size != photo.size_bytes or (suspect and sha256_of(path) != photo.sha256):
                raise FaceoffError("{}: it changed after the download: {}".format(path, AGAIN))
        except OSError as error:
            why = "{} names it, and it cannot be read ({})".format(LISTING, error.strerror)
            raise FaceoffError("{}: {}: {}".format(path, why, AGAIN)) from None


def sha256_of(path: Path) -> str:
    """Return the digest of a file's content."""
    return hashlib.sha256(path.read_bytes()).hexdigest()
