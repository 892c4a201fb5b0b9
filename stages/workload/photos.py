"""The photos of the manifest, as a job's input."""

from pathlib import Path
from typing import List, Tuple

from stages.codec import read
from stages.errors import FaceoffError
from stages.records import MANIFEST_PATH, PHOTOS_DIR, WEIGHTS_DIR, Cell, Manifest, Recipe
from stages.workload.learners import Job


def job_of(cell: Cell, recipe: Recipe) -> Tuple[Job, str]:
    """The cell's job and the data set's sha256.

    Raises FaceoffError where a photo is missing or has another size than the manifest says, or where there are too few.
    """
    manifest = read(MANIFEST_PATH, Manifest)
    photos = [(PHOTOS_DIR / photo.path).resolve() for photo in manifest.photos]
    _check_sizes(photos, [photo.size_bytes for photo in manifest.photos])
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


def _check_sizes(photos: List[Path], sizes_bytes: List[int]) -> None:
    for path, expected in zip(photos, sizes_bytes):
        try:
            found = path.stat().st_size
        except OSError as error:
            raise FaceoffError(
                "{}: the manifest names it, and it is not there ({}): run `dvc repro -s -f download`".format(
                    path, error.strerror
                )
            ) from None
        if found != expected:
            raise FaceoffError(
                "{}: {} bytes, and the manifest says {}: it changed after the download: run "
                "`dvc repro -s -f download`".format(path, found, expected)
            )
