"""What torch reaches on the device that the job trains on.

Runs inside images: Python 3.7 syntax; torch.
"""

import time
from typing import Callable, Iterator, Union

import torch

from stages.workload.measure.sampling import NotPossible, rates

Samples = Iterator[Union[str, float]]
LEAST_EDGE = 512  # of the square matrices: below, starting threads is most of it
MOST_EDGE = {"cpu": 1024, "cuda": 4096}
SAMPLES_WANTED = 5
COPY_BYTES = {"cpu": 2**26, "cuda": 2**28}
TRIALS = 3


def matrix_product(device: str, number_format: str, seconds: float) -> Samples:
    """Multiply the largest square matrices that leave time for some samples; small ones reach less."""
    _refuse_unknown(device, number_format)
    _allow_tf32(number_format == "tf32")
    edge = LEAST_EDGE
    product = _square_product(device, number_format, edge)
    while edge < MOST_EDGE[device] and _fastest(product) * 8 * SAMPLES_WANTED < seconds:
        edge *= 2
        product = _square_product(device, number_format, edge)
    yield f"{edge} x {edge} by {edge} x {edge}, {_threads(device)}"
    yield from rates(2.0 * edge**3, product, seconds)


def memory_copy(device: str, seconds: float) -> Samples:
    source = torch.ones(COPY_BYTES[device] // 4, device=device)
    target = torch.empty_like(source)
    size = COPY_BYTES[device] // 2**20
    yield f"{size} MiB from one place of the device's memory to another, read and written, {_threads(device)}"
    yield from rates(2.0 * COPY_BYTES[device], _finished(device, lambda: target.copy_(source)), seconds)


def host_to_device(device: str, pinned: bool, seconds: float) -> Samples:
    if device == "cpu":
        raise NotPossible("no GPU: the job computes where its data is")
    source = torch.ones(COPY_BYTES[device] // 4)
    source = source.pin_memory() if pinned else source
    target = torch.empty_like(source, device=device)
    yield f"{COPY_BYTES[device] // 2**20} MiB"
    yield from rates(COPY_BYTES[device], _finished(device, lambda: target.copy_(source, non_blocking=pinned)), seconds)


def _square_product(device: str, number_format: str, edge: int) -> Callable[[], None]:
    left = torch.randn(edge, edge).to(device).to(_dtype(number_format))
    right = torch.randn(edge, edge).to(device).to(_dtype(number_format))
    return _finished(device, lambda: torch.mm(left, right))


def _dtype(number_format: str) -> torch.dtype:
    return {"fp32": torch.float32, "tf32": torch.float32, "fp16": torch.float16}.get(number_format) or torch.bfloat16


def _refuse_unknown(device: str, number_format: str) -> None:
    """Raise NotPossible for what this device or torch has not; torch computes some of it by turning it into fp32."""
    if number_format == "tf32":
        if device == "cpu":
            raise NotPossible("no GPU: TF32 is a format of NVIDIA's tensor cores")
        if not hasattr(torch.backends.cuda, "matmul") or not hasattr(torch.backends.cuda.matmul, "allow_tf32"):
            raise NotPossible(f"torch {torch.__version__} does not know TF32")
    if device == "cuda" and number_format in ("tf32", "bf16"):
        capability = torch.cuda.get_device_capability(0)
        if capability < (8, 0):
            raise NotPossible("compute capability {}.{} has no {}: 8.0 brought it".format(*capability, number_format))


def _allow_tf32(allowed: bool) -> None:
    """Set whether fp32 products and convolutions may be computed in TF32, whatever this version's defaults are."""
    for part in (getattr(torch.backends.cuda, "matmul", None), torch.backends.cudnn):
        if hasattr(part, "allow_tf32"):
            part.allow_tf32 = allowed


def _finished(device: str, work: Callable[[], object]) -> Callable[[], None]:
    """Return the work, until the device is done with it."""

    def done() -> None:
        work()
        if device == "cuda":
            torch.cuda.synchronize()

    return done


def _fastest(work: Callable[[], None]) -> float:
    """Return seconds of the fastest of a few: the first ones start threads and choose algorithms."""
    taken = []
    for _ in range(TRIALS):
        began = time.perf_counter()
        work()
        taken.append(time.perf_counter() - began)
    return min(taken)


def _threads(device: str) -> str:
    return "on the GPU" if device == "cuda" else f"{torch.get_num_threads()} threads"
