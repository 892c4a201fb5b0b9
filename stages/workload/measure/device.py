"""What torch reaches on the device that the job trains on.

On a GPU work is only queued: several products or copies lie in the queue before the host waits for them, each so large
that launching it and waiting for it are less than 2 % of it. Runs inside images: Python 3.7 syntax; torch.
"""

import time
from typing import Callable, Iterator, Union

import torch

from stages.workload.measure.sampling import MOST_OVERHEAD, NotPossible, nothing, rates

Samples = Iterator[Union[str, float]]
LEAST_EDGE = 512  # of the square matrices: below, starting threads is most of it
MOST_EDGE = {"cpu": 1024, "cuda": 16384}
SAMPLES_WANTED = 5
COPY_BYTES = {"cpu": 2**26, "cuda": 2**30}  # far more than a cache holds
LINK_BYTES = 2**28
MOST_SHARE_OF_FREE = 0.25  # of the GPU's memory, for what a part has in it
TRIALS = 3


def start(device: str, seconds: float) -> Samples:
    """Begin with the GPU: its context, cuBLAS and cuDNN, which take seconds the first time, however few are left."""
    if device == "cuda":
        inputs = torch.ones(1, 8, 16, 16, device=device, requires_grad=True)
        torch.nn.Conv2d(8, 8, 3).to(device)(inputs).sum().backward()
        torch.mm(torch.ones(64, 64, device=device), torch.ones(64, 64, device=device))
        torch.mm(torch.ones(64, 64, device=device).half(), torch.ones(64, 64, device=device).half())
        torch.cuda.synchronize()
    yield "started"


def matrix_product(device: str, number_format: str, seconds: float) -> Samples:
    """Multiply the largest square matrices that leave time for some samples; small ones reach less."""
    began = time.perf_counter()
    _refuse_unknown(device, number_format)
    _allow_tf32(number_format == "tf32")
    finish, overhead = _finish(device), _overhead_seconds(device)
    edge = LEAST_EDGE
    product = _square_product(device, number_format, edge)
    while edge < MOST_EDGE[device] and _fits(device, 2 * edge):
        once = _fastest(product, finish)
        left = seconds - (time.perf_counter() - began)
        if once * 8 * SAMPLES_WANTED > left or (device == "cuda" and once > overhead / MOST_OVERHEAD):
            break
        edge *= 2
        product = _square_product(device, number_format, edge)
    yield f"{edge} x {edge} by {edge} x {edge}, {_threads(device)}"
    left = seconds - (time.perf_counter() - began)
    yield from rates(2.0 * edge**3, product, max(0.0, left), finish, overhead)


def memory_copy(device: str, seconds: float) -> Samples:
    size = COPY_BYTES[device]
    while device == "cuda" and 2 * size > _most_bytes() and size > COPY_BYTES["cpu"]:
        size //= 2
    source = torch.ones(size // 4, device=device)
    target = torch.empty_like(source)
    place = f"{size // 2**20} MiB from one place of the device's memory to another"
    yield f"{place}, read and written, {_threads(device)}"
    copy = lambda: target.copy_(source)  # noqa: E731 - as short as it gets
    yield from rates(2.0 * size, copy, seconds, _finish(device), _overhead_seconds(device))


def host_to_device(device: str, pinned: bool, seconds: float) -> Samples:
    if device == "cpu":
        raise NotPossible("no GPU: the job computes where its data is")
    source = torch.ones(LINK_BYTES // 4)
    source = source.pin_memory() if pinned else source
    target = torch.empty_like(source, device=device)
    yield f"{LINK_BYTES // 2**20} MiB"
    copy = lambda: target.copy_(source, non_blocking=pinned)  # noqa: E731
    yield from rates(LINK_BYTES, copy, seconds, _finish(device), _overhead_seconds(device))


def _square_product(device: str, number_format: str, edge: int) -> Callable[[], object]:
    left, right = (torch.randn(edge, edge, device=device).to(_dtype(number_format)) for _ in range(2))
    return lambda: torch.mm(left, right)


def _fits(device: str, edge: int) -> bool:
    """Whether two matrices and their product, in fp32, leave the GPU's memory to others."""
    return device == "cpu" or 3 * 4 * edge**2 <= _most_bytes()


def _most_bytes() -> float:
    """Return the bytes of the GPU's memory that a part may have; torch 1.2 tells what a card has, not what is free."""
    properties = torch.cuda.get_device_properties(0)
    free = torch.cuda.mem_get_info()[0] if hasattr(torch.cuda, "mem_get_info") else properties.total_memory
    return MOST_SHARE_OF_FREE * free


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


def _finish(device: str) -> Callable[[], object]:
    """Return what waits until the device is done with all that is queued."""
    return torch.cuda.synchronize if device == "cuda" else nothing


def _overhead_seconds(device: str) -> float:
    """Return what it takes to queue next to nothing and to wait for it."""
    if device == "cpu":
        return 0.0
    one = torch.ones(1, device=device)
    return _fastest(lambda: one.add_(1), _finish(device))


def _fastest(work: Callable[[], object], finish: Callable[[], object]) -> float:
    """Return seconds of the fastest of a few: the first ones start threads and choose algorithms."""
    taken = []
    for _ in range(TRIALS):
        began = time.perf_counter()
        work()
        finish()
        taken.append(time.perf_counter() - began)
    return min(taken)


def _threads(device: str) -> str:
    return "on the GPU" if device == "cuda" else f"{torch.get_num_threads()} threads"
