import subprocess
import sys

import pytest

from jobs.dogs_cats.clocks import EpochTimer, peak_process_memory_bytes


def test_epoch_is_split_where_training_ends():
    readings = iter([10.0, 14.0, 15.5, 20.0, 22.0, 23.0])
    timer = EpochTimer("frozen", clock=lambda: next(readings))
    for _ in range(2):
        timer.begin()
        timer.trained()
        timer.end(train_images=64, train_loss=0.5, valid_loss=0.4, accuracy=0.9)
    first, second = timer.epochs
    assert (first.train_seconds, first.valid_seconds, first.epoch_seconds) == (4.0, 1.5, 5.5)
    assert (second.train_seconds, second.valid_seconds, second.epoch_seconds) == (2.0, 1.0, 3.0)
    assert (first.index, second.index) == (0, 1)
    assert first.train_images_per_second == 16.0


def test_peak_memory_is_that_of_a_real_process():
    program = (
        "from jobs.dogs_cats.clocks import peak_process_memory_bytes as peak\n"
        "before = peak(); block = b'x' * 200_000_000; del block\n"
        "print(peak() - before)"
    )
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True)
    assert int(done.stdout) == pytest.approx(200_000_000, rel=0.05)


def test_unknown_peak_is_none(tmp_path):
    assert peak_process_memory_bytes(tmp_path / "status") is None
