"""The photos of the manifest, as a job's input."""

import hashlib
from pathlib import Path
from typing import Callable, List, Optional, Tuple

from stages.codec import read
from stages.errors import FaceoffError
from stages.records import MANIFEST_PATH, PHOTOS_DIR, WEIGHTS_DIR, Cell, Manifest, Recipe
from stages.workload.learners import Job


def job_of(cell: Cell, recipe: Recipe, beat: Optional[Callable[[], object]] = None) -> Tuple[Job, str]:
    """The cell's job and the data set's sha256. `beat`: called at each photo, which a slow disk may take long to read.

    Raises FaceoffError where a photo is missing or is not as the manifest says, or where there are too few.
    """
    manifest = read(MANIFEST_PATH, Manifest)
    photos = [(PHOTOS_DIR / photo.path).resolve() for photo in manifest.photos]
    _check_unchanged(photos, manifest, beat)
    valid = [index for index, photo in enumerate(manifest.photos) if photo.path.startswith("valid/")]
    job = Job(
        recipe=recipe,
        precision=cell.precision,
        batch_size=cell.batch_size,
        seed=recipe.seed + cell.repeat,
        photos=photos,
        valid=valid,
        classes=sorted({Path(photo.path).parent.name for photo in manifest.photos}),
        weights=(WEIGHTS_DIR / (recipe.arch + ".pth")) if recipe.pretrained else None,
    )
    if cell.batch_size > len(job.train):
        raise FaceoffError(
            "params.yaml: batch_sizes: {} is more than the {} training photos, so there is not one whole batch: lower "
            "it or take more photos".format(cell.batch_size, len(job.train))
        )
    return job, manifest.sha256


def _check_unchanged(paths: List[Path], manifest: Manifest, beat: Optional[Callable[[], object]]) -> None:
    """Raise FaceoffError unless each photo is there, of the size and, where it may have changed, of the hash it had.

    A write, a rename and a copy all set a file's time of change, which no program can set back, and moving a folder
    sets those of the folders. What is older than the manifest is as it was: 25,000 hashes a cell would be for nothing.
    """
    written_at_ns = MANIFEST_PATH.stat().st_mtime_ns
    splits_and_classes = (folder for path in paths for folder in (path.parent, path.parent.parent))
    folders = {PHOTOS_DIR.resolve(), *splits_and_classes}
    moved = any(folder.stat().st_ctime_ns >= written_at_ns for folder in folders if folder.exists())
    for path, photo in zip(paths, manifest.photos):
        if beat:
            beat()
        try:
            status = path.stat()
            suspect = moved or status.st_ctime_ns >= written_at_ns
            if status.st_size != photo.size_bytes or (suspect and sha256_of(path) != photo.sha256):
                raise _changed(path, "it changed after the download")
        except OSError as error:
            raise _changed(path, "the manifest names it, and it cannot be read ({})".format(error.strerror)) from None


def _changed(path: Path, what: str) -> FaceoffError:
    return FaceoffError("{}: {}: run `dvc repro -s -f download`".format(path, what))


def sha256_of(path: Path) -> str:
    return hashlib.sha256(path.read_bytes()).hexdigest()
