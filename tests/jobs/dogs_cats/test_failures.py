"""What torch says of a cell that fails, in its own words of 2019 and today, and what is made of it."""

import dataclasses
import os
from collections.abc import Callable
from pathlib import Path

import pytest
import torch
from fastai.callback.core import Callback as FastaiCallback

from jobs.dogs_cats import failures, parameters
from jobs.dogs_cats.photos import Input
from stages.errors import FaceoffError
from tests.project import DOGS_CATS

LARGE = 2**20 * 2**20
GPU_FULL = {
    "torch 1.2": "CUDA out of memory. Tried to allocate 2.50 GiB (GPU 0; 15.90 GiB total capacity; 13.94 GiB already "
    "allocated; 1.09 GiB free; 230.50 MiB cached)",
    "torch 2": "CUDA out of memory. Tried to allocate 2.50 GiB. GPU 0 has a total capacity of 15.90 GiB of which 1.09 "
    "GiB is free. Including non-PyTorch memory, this process has 14.80 GiB memory in use.",
}
WORKER = "DataLoader worker (pid 20) is killed by signal: {}. "


def said(text: str, error: Callable[[str], Exception] = RuntimeError) -> str:
    recipe = dataclasses.replace(parameters.section(DOGS_CATS).recipe, workers=2)
    taken = Input(recipe, "fp32", 16, 43, [], [], [], None, Path())
    with pytest.raises((FaceoffError, RuntimeError)) as caught, failures.explained(taken, "1.0.48"):
        raise error(text)
    return str(caught.value)


@pytest.mark.parametrize("text", GPU_FULL.values(), ids=GPU_FULL)
def test_a_full_gpu(text: str) -> None:
    """Whose memory it is, is the supervisor's to say: tests/nvml/test_out_of_memory.py."""
    assert said(text) == f"out of GPU memory at batch size 16: {text}"


def test_where_fastai_2_was_is_left_out_and_what_it_died_of_is_not() -> None:
    class Full(FastaiCallback):
        def before_fit(self) -> None:
            raise torch.OutOfMemoryError(GPU_FULL["torch 2"])

    with pytest.raises(torch.OutOfMemoryError) as caught:
        Full()("before_fit")
    assert str(caught.value).startswith("Exception occured in `Full` when calling event `before_fit`:")
    assert said(str(caught.value)) == "out of GPU memory at batch size 16: " + GPU_FULL["torch 2"]


def test_a_card_that_is_full_is_found_before_fastai_2_blames_the_loader(monkeypatch: pytest.MonkeyPatch) -> None:
    """Its words, 'Could not do one pass in your dataloader', would be printed first, and mislead."""

    def full(size: int, **_: object) -> None:
        raise torch.OutOfMemoryError(GPU_FULL["torch 2"])

    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    monkeypatch.setattr(torch, "empty", full)
    assert said("the block is not reached") == "out of GPU memory at batch size 16: " + GPU_FULL["torch 2"]


def has_shm(monkeypatch: pytest.MonkeyPatch, size_bytes: int) -> None:
    blocks = os.statvfs_result((4096, 4096, size_bytes // 4096, 0, size_bytes // 4096, 0, 0, 0, 0, 255))
    monkeypatch.setattr(os, "statvfs", lambda path: blocks)


def test_a_loaders_bus_error_is_put_down_to_a_dev_shm_that_is_too_small(monkeypatch: pytest.MonkeyPatch) -> None:
    has_shm(monkeypatch, 2**18)
    line = said(WORKER.format("Bus error"))
    assert line.startswith(
        "the loader's processes ran out of shared memory: /dev/shm has 256 KiB, and batches of 16 at "
    )
    assert "raise container.shm_size (outside of a container: mount -o remount" in line
    assert "lower batch_size of the variant, dogs_cats.recipe.size or dogs_cats.recipe.workers" in line


@pytest.mark.parametrize("error", [ConnectionResetError, EOFError])
def test_a_loaders_process_that_is_gone_before_torch_sees_it(
    monkeypatch: pytest.MonkeyPatch, error: Callable[[str], Exception]
) -> None:
    has_shm(monkeypatch, 2**18)
    assert said("[Errno 104] Connection reset by peer", error).startswith("the loader's processes ran out of shared")
    has_shm(monkeypatch, LARGE)
    assert said("", error).startswith("a process of the loader died (torch does not say of what)")


def test_a_loaders_bus_error_with_room_in_dev_shm_is_a_crash(monkeypatch: pytest.MonkeyPatch) -> None:
    has_shm(monkeypatch, LARGE)
    assert said(WORKER.format("Bus error")).startswith("a process of the loader died (Bus error)")


def test_a_loader_that_the_kernel_kills_for_memory(monkeypatch: pytest.MonkeyPatch) -> None:
    counts = iter([3, 4])
    monkeypatch.setattr(failures, "killed_for_memory", lambda: next(counts))
    line = said(WORKER.format("Killed"))
    assert line.startswith("the kernel killed a process of the loader for want of memory: raise container.memory")


def test_a_loader_that_somebody_kills(monkeypatch: pytest.MonkeyPatch) -> None:
    line = said(WORKER.format("Killed"))
    assert line.startswith("a process of the loader was killed (SIGKILL), and not for want of memory")


def test_what_says_nothing_of_memory_is_left_as_it_is() -> None:
    assert said("mat1 and mat2 shapes cannot be multiplied") == "mat1 and mat2 shapes cannot be multiplied"
