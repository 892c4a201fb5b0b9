"""Tell what a variant needs of disks and of /dev/shm, before anything is downloaded or built. Runs on the host."""

import os
from collections.abc import Sequence
from pathlib import Path

from jobs.dogs_cats import needs, parameters, seam, sources
from jobs.dogs_cats.parameters import Dataset
from jobs.dogs_cats.photos import DOWNLOADS, FOLDER
from jobs.dogs_cats.sources import photos
from jobs.dogs_cats.sources.folder import Folder
from jobs.dogs_cats.sources.photos import Source
from stages import contract

# The archive of the real photos and of others of the set. fastai's is kept beside what comes out of it.
REAL_PHOTOS_BYTES = 839_285_364
KAGGLE_COPIES = 4  # of those in kagglehub's cache: the set holds each photo twice, and its archive lies beside at first
DRAWN_PHOTO_BYTES = 22_000  # mean of 60


def main(arguments: Sequence[str]) -> int:
    """Tell the estimate. Raises FaceoffError where the section or the variant is not right."""
    cell, data = seam.cell(), seam.folder(contract.DATA)
    dataset = parameters.section(cell["section"]).dataset
    where = f"params.yaml: variants.{cell['variant']}"
    choice = parameters.choice(cell["section"], cell["parameters"], where)
    source = sources.pick(dataset, data / DOWNLOADS)
    model = needs.model_bytes(choice.recipe.arch, len(source.classes))
    has_photos = photos.written(source, data / FOLDER)
    weights = parameters.weights_path(data, choice.recipe)
    missing = model if weights and not weights.exists() else 0
    found: dict[str, object] = {
        "data_bytes": missing + (0 if has_photos else data_bytes(dataset, source)),
        "output_bytes": model,
        "state_bytes": needs.CHECKPOINT_MODELS * model,
    }
    fastai = (cell["packages"] or {}).get("fastai")
    if fastai is not None:
        found["shm_bytes"] = needs.shared_memory_bytes(fastai, cell["on_gpu"], choice.batch_size, choice.recipe)
    if dataset.source == "kaggle" and not has_photos:
        found["elsewhere_bytes"] = {str(kaggle_cache()): KAGGLE_COPIES * REAL_PHOTOS_BYTES}
    seam.say(estimate=found)
    return 0


def data_bytes(dataset: Dataset, source: Source) -> int:
    """Return what the photos take, at most, with what is kept of their download; a user's own folder is copied."""
    if dataset.source == "synthetic":
        return (dataset.train_photos + dataset.valid_photos) * DRAWN_PHOTO_BYTES
    if isinstance(source, Folder):
        return sum(each.stat().st_size for each in source.found.photos.values())
    return REAL_PHOTOS_BYTES * (2 if dataset.source == "fastai" else 1)


def kaggle_cache() -> Path:
    """Return kagglehub's cache."""
    return Path(os.environ.get("KAGGLEHUB_CACHE") or Path.home() / ".cache/kagglehub")
