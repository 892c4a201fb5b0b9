"""Where the photos come from: one source per file, and which of them params.yaml names."""

from pathlib import Path

from stages.harness.params.schema import DatasetParams
from stages.harness.sources.fastai_archive import FastaiArchive
from stages.harness.sources.folder import Folder
from stages.harness.sources.kaggle import Kaggle
from stages.harness.sources.photos import Source
from stages.harness.sources.synthetic import Synthetic


def pick(dataset: DatasetParams, downloads_dir: Path) -> Source:
    """The source that the `dataset` section names; `downloads_dir` is for what it may have to fetch."""
    if dataset.source == "kaggle":
        return Kaggle()
    if dataset.source == "fastai":
        return FastaiArchive(downloads_dir)
    if dataset.source == "folder":
        return Folder(Path(dataset.folder or "").expanduser())
    return Synthetic({"train": dataset.train_photos, "valid": dataset.valid_photos}, dataset.seed)
