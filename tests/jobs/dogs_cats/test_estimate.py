"""What the job says that a variant needs, before anything is downloaded or built."""

from pathlib import Path
from typing import Any

import pytest

from jobs.dogs_cats import needs
from stages.contract import Estimate
from tests.jobs.dogs_cats.by_hand import ByHand, by_hand


def estimate(job: ByHand, **more: Any) -> Estimate:
    found = job.succeed("estimate", **{"packages": {"fastai": "2.8.12"}, "on_gpu": False, **more}).estimate
    assert found is not None
    return found


def test_photos_and_weights_count_until_they_are_there(tmp_path: Path) -> None:
    job = by_hand(tmp_path, {"train_photos": 16}, arch="tf_efficientnet_lite0", pretrained=True)
    before = estimate(job)
    assert before.data_bytes == 32 * 22_000 + needs.MODEL_BYTES["tf_efficientnet_lite0"]
    job.succeed("download")
    after = estimate(job)
    assert after.data_bytes == 0
    assert (before.output_bytes, before.state_bytes) == (19_044_187, 6 * 19_044_187)


def test_shared_memory_is_told_by_the_fastai_that_the_image_holds(tmp_path: Path) -> None:
    job = by_hand(tmp_path, workers=2, size=64)
    of_2 = estimate(job).shm_bytes
    of_1 = estimate(job, packages={"fastai": "1.0.48"}).shm_bytes
    assert of_2 == 12 * (16 * 3 * 64 * 64 + 4096) + 2**17  # 5 batches, 7 uncollected, their labels' page each
    assert of_1 == 5 * (4 * 16 * 3 * 64 * 64 + 4096) + 2**17
    assert estimate(job, on_gpu=True).shm_bytes == 5 * (16 * 3 * 64 * 64 + 4096) + 2**17
    assert estimate(job, packages=None).shm_bytes is None
    assert estimate(by_hand(tmp_path, workers=0)).shm_bytes == 0


@pytest.mark.parametrize(("source", "times"), [("kaggle", 1), ("fastai", 2)])
def test_archives_of_the_real_photos(tmp_path: Path, source: str, times: int) -> None:
    job = by_hand(tmp_path, {"source": source})
    code, _, errors = job.run("estimate", {"KAGGLEHUB_CACHE": "/somewhere"}, packages=None, on_gpu=False)
    found = job.events().estimate
    assert code == 0 and found is not None, errors
    assert found.data_bytes == times * 839_285_364
    assert found.elsewhere_bytes == ({"/somewhere": 4 * 839_285_364} if source == "kaggle" else {})


def test_a_folder_of_ones_own_is_copied_and_each_class_makes_the_model_larger(tmp_path: Path) -> None:
    for number in range(6):
        path = tmp_path / f"mine/{('cats', 'dogs', 'birds')[number % 3]}/{number}.jpg"
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(b"x" * 1000)
    job = by_hand(tmp_path, {"source": "folder", "folder": str(tmp_path / "mine")})
    found = estimate(job)
    assert found.data_bytes == 6000
    assert found.output_bytes == needs.MODEL_BYTES["resnet18"] + (512 + 1) * 4  # weights and bias of the third
