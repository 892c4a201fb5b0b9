"""Drawn cats and dogs: reproducible, as large and heavy as the real ones, told apart by shape and not by a pixel."""

import os
import statistics
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from jobs.dogs_cats.sources import layout
from jobs.dogs_cats.sources.synthetic import Synthetic, draw
from tests.jobs.dogs_cats.helper_photos import tree


def drawn(folder: Path, train: int = 6, valid: int = 4, seed: int = 42) -> dict[str, bytes]:
    folder.mkdir(parents=True)
    Synthetic({"train": train, "valid": valid}, seed).fetch(folder)
    return tree(folder)


def test_the_same_seed_draws_the_same_bytes_however_many_processors(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(os, "cpu_count", lambda: 28)
    many = drawn(tmp_path / "many")
    monkeypatch.setattr(os, "cpu_count", lambda: 1)
    assert drawn(tmp_path / "few") == many


def test_another_seed_draws_others(tmp_path: Path) -> None:
    one, other = drawn(tmp_path / "one"), drawn(tmp_path / "other", seed=43)
    assert one.keys() == other.keys()
    assert not set(one.values()) & set(other.values())


def test_a_cat_is_drawn_otherwise_than_a_dog(tmp_path: Path) -> None:
    for label in layout.CLASSES:
        (tmp_path / label).mkdir()
        draw(tmp_path / label / "1.jpg", "the same seed")
    cat, dog = ((tmp_path / label / "1.jpg").read_bytes() for label in layout.CLASSES)
    assert cat != dog


def test_no_photo_is_there_twice(tmp_path: Path) -> None:
    photos = drawn(tmp_path / "photos")
    assert len(set(photos.values())) == 10
    assert len({Path(name).name for name in photos}) == 10


@pytest.mark.parametrize(("train", "valid"), [(2, 2), (5, 3)])
def test_the_counts_are_those_asked_for(tmp_path: Path, train: int, valid: int) -> None:
    names = [name.rpartition("/")[0] for name in drawn(tmp_path / "photos", train, valid)]
    counts = [names.count(folder) for folder in layout.FOLDERS]
    assert counts == [(train + 1) // 2, train // 2, (valid + 1) // 2, valid // 2]


@pytest.fixture(scope="module")
def sample(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("sample") / "photos"
    drawn(folder, train=120, valid=2)
    return folder


def test_they_are_as_large_and_heavy_as_the_real_ones(sample: Path) -> None:
    """Of 1,200 real ones: median 437 x 374 pixels, at most 500; 22 KB, from 7 to 42 KB for 90 % of them."""
    paths = layout.files(sample)
    widths, heights = zip(*(Image.open(path).size for path in paths), strict=True)
    sizes_bytes = [path.stat().st_size for path in paths]
    assert 380 <= statistics.median(widths) <= 500 and max(widths) <= 500
    assert 330 <= statistics.median(heights) <= 420 and max(heights) <= 500
    assert 18_000 <= statistics.mean(sizes_bytes) <= 30_000
    assert min(sizes_bytes) < 12_000 and max(sizes_bytes) > 35_000
    assert all(Image.open(path).format == "JPEG" for path in paths)


def test_no_single_pixel_tells_the_classes_apart(sample: Path) -> None:
    """The best threshold on any one value of an 8 x 8 thumbnail is little better than a guess."""

    def thumbnails(label: str) -> np.ndarray:
        paths = sorted((sample / "train" / label).iterdir())
        return np.array([np.asarray(Image.open(path).resize((8, 8)), dtype=float).ravel() for path in paths])

    cats, dogs = thumbnails("cats"), thumbnails("dogs")
    best = 0.0
    for pixel in range(cats.shape[1]):
        for threshold in range(0, 256, 8):
            right = (np.mean(cats[:, pixel] < threshold) + np.mean(dogs[:, pixel] >= threshold)) / 2
            best = max(best, right, 1 - right)
    assert best < 0.75
