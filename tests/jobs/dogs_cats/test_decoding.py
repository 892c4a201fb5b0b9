"""Whatever the decoding of a photo raises names the photo; of what Pillow warns, the download has told."""

import dataclasses
import io
import multiprocessing
import warnings
from pathlib import Path

import PIL
import pytest
from PIL import Image
from torch.utils.data import DataLoader

from jobs.dogs_cats import decoding, failures, parameters
from jobs.dogs_cats.photos import AGAIN, Input
from stages.errors import FaceoffError
from tests.jobs.dogs_cats.helper_photos import jpeg, write_tree
from tests.project import DOGS_CATS


class Decoded:
    """As a loader sees a data set."""

    def __init__(self, paths: list[Path]) -> None:
        self.paths = paths

    def __len__(self) -> int:
        return len(self.paths)

    def __getitem__(self, index: int) -> int:
        decoding.decode(self.paths[index])
        return index


@pytest.mark.parametrize("workers", [0, 1])
def test_a_photo_that_is_damaged_when_its_batch_is_loaded_is_named(tmp_path: Path, workers: int) -> None:
    recipe = dataclasses.replace(parameters.section(DOGS_CATS).recipe, workers=workers)
    paths = [tmp_path / "a.jpg", tmp_path / "half: a.jpg"]
    paths[0].write_bytes(jpeg())
    paths[1].write_bytes(jpeg(size=(320, 240))[:-4000])
    taken = Input(recipe, "fp32", 16, 43, paths, [], [], None, tmp_path)
    with pytest.raises(FaceoffError) as caught, failures.explained(taken, "2.8.12"):
        list(DataLoader(Decoded(paths), batch_size=None, num_workers=workers))  # type: ignore[arg-type]
    assert str(caught.value).startswith(
        f"{paths[1]}: Pillow {PIL.__version__} does not read it (image file is truncated ("
    )
    assert str(caught.value).endswith(f")): {AGAIN}, and save it as JPEG or PNG if that does not help")


def test_the_photos_that_this_image_does_not_read_are_named_together(tmp_path: Path) -> None:
    good = {f"train/cats/{index}.gif": jpeg() for index in range(2)}
    bad = {f"train/dogs/{index}.gif": b"GIF89a" for index in range(7)}
    write_tree(tmp_path, good | bad)
    decoding.check([tmp_path / name for name in good], tmp_path)
    with pytest.raises(FaceoffError) as caught:
        decoding.check([tmp_path / name for name in good | bad], tmp_path)
    line = str(caught.value)
    begins = f"the Pillow {PIL.__version__} of this image does not read 7 of the photos: train/dogs/0.gif ("
    assert line.startswith(begins)
    assert "train/dogs/4.gif (" in line and "train/dogs/5.gif" not in line
    assert "), and 2 more: save them as JPEG or PNG, or take them out of the data set" in line


def warned_of(path: Path) -> int:
    with warnings.catch_warnings(record=True) as caught:
        decoding.decode(path)
    return len(caught)


def test_pillow_warns_no_more_here_and_in_forked_processes(tmp_path: Path) -> None:
    path, palette = tmp_path / "palette.png", io.BytesIO()
    Image.linear_gradient("L").convert("P").save(palette, "PNG", transparency=bytes(256))
    path.write_bytes(palette.getvalue())
    with warnings.catch_warnings():
        warnings.simplefilter("always")
        assert warned_of(path) == 1
        decoding.silence()
        assert warned_of(path) == 0
        with multiprocessing.get_context("fork").Pool(1) as pool:
            assert pool.apply(warned_of, (path,)) == 0
