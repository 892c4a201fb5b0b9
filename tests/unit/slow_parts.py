"""What tests of the measured part have measured: a part that works, and some that do not."""

import os
import signal
import time
from collections.abc import Iterator

from stages.workload.measure.sampling import NotPossible, rates


def works(seconds: float) -> Iterator[str | float]:
    yield "a nap"
    yield from rates(10.0, lambda: time.sleep(0.02), seconds)


def hangs(seconds: float) -> Iterator[float]:
    signal.signal(signal.SIGTERM, signal.SIG_IGN)
    time.sleep(600)
    yield 1.0


def hangs_after_two(seconds: float) -> Iterator[float]:
    yield 1.0
    yield 3.0
    time.sleep(600)


def crashes(seconds: float) -> Iterator[float]:
    os.kill(os.getpid(), signal.SIGSEGV)
    yield 1.0


def raises(seconds: float) -> Iterator[float]:
    raise ValueError("no such thing\nat all")
    yield 1.0


def cannot(seconds: float) -> Iterator[float]:
    raise NotPossible("this device has none of it")
    yield 1.0


def prints(seconds: float) -> Iterator[float]:
    print('{"sample": 5}', flush=True)
    yield 7.0
