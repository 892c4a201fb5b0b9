"""Where the photos come from: one source per file, and which of them params.yaml names."""

from pathlib import Path

from jobs.dogs_cats.parameters import Dataset
from jobs.dogs_cats.sources.photos import Source

CHECKOUT = Path(__file__).resolve().parents[3]


def pick(dataset: Dataset, downloads_dir: Path) -> Source:
    """Return the source that the `dataset` section names; `downloads_dir` is for what it may have to fetch."""
    # Imported here: what one needs, requests for example, takes its time, and the others do without.
    if dataset.source == "kaggle":
        from jobs.dogs_cats.sources.kaggle import Kaggle

        return Kaggle()
    if dataset.source == "fastai":
        from jobs.dogs_cats.sources.fastai_archive import FastaiArchive

        return FastaiArchive(downloads_dir)
    if dataset.source == "folder":
        from jobs.dogs_cats.sources.folder import Folder

        return Folder(CHECKOUT / Path(dataset.folder or "").expanduser(), dataset.seed)  # from where params.yaml lies
    from jobs.dogs_cats.sources.synthetic import Synthetic

    return Synthetic({"train": dataset.train_photos, "valid": dataset.valid_photos}, dataset.seed)
