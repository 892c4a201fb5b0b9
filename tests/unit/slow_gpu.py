"""What tests measure in place of a GPU: it takes long to start, and its parts are naps."""

import time
from collections.abc import Iterator

from stages.workload.measure.sampling import NotPossible, rates

START_SECONDS = 3.0
started = []


def start(device: str, seconds: float) -> Iterator[str]:
    time.sleep(START_SECONDS)
    started.append(device)
    yield "started"


def matrix_product(device: str, number_format: str, seconds: float) -> Iterator[str | float]:
    if number_format == "tf32":
        raise NotPossible("compute capability 7.5 has no tf32: 8.0 brought it")
    yield from _part(seconds)


def memory_copy(device: str, seconds: float) -> Iterator[str | float]:
    yield from _part(seconds)


def host_to_device(device: str, pinned: bool, seconds: float) -> Iterator[str | float]:
    yield from _part(seconds)


def _part(seconds: float) -> Iterator[str | float]:
    assert started == ["cuda"], "begun before the GPU was"
    yield "a nap"
    yield from rates(1.0, lambda: time.sleep(0.02), seconds)
