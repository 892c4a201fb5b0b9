"""Where the photos come from: one source per file, and which of them params.yaml names."""

from pathlib import Path

from jobs.dogs_cats.parameters import Dataset
from jobs.dogs_cats.sources.fastai_archive import FastaiArchive
from jobs.dogs_cats.sources.folder import Folder
from jobs.dogs_cats.sources.kaggle import Kaggle
from jobs.dogs_cats.sources.photos import Source
from jobs.dogs_cats.sources.synthetic import Synthetic


def pick(dataset: Dataset, downloads_dir: Path) -> Source:
    """Return the source that the `dataset` section names; `downloads_dir` is for what it may have to fetch."""
    if dataset.source == "kaggle":
        return Kaggle()
    if dataset.source == "fastai":
        return FastaiArchive(downloads_dir)
    if dataset.source == "folder":
        return Folder(Path(dataset.folder or "").expanduser(), dataset.seed)
    return Synthetic({"train": dataset.train_photos, "valid": dataset.valid_photos}, dataset.seed)
