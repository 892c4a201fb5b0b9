"""Clocks that wait for the device, and peaks of memory."""

import time
from pathlib import Path
from typing import Callable, Iterable, Optional

import torch

from stages.records import Epoch
from stages.workload.split import Splitter

Clock = Callable[[], float]


def synchronised_clock() -> float:
    """Seconds of a steady clock, read after all work queued on the GPU is done; else what was launched would count for
    what comes next. https://pytorch.org/docs/stable/notes/cuda.html#asynchronous-execution
    """
    if torch.cuda.is_available():
        torch.cuda.synchronize()
    return time.perf_counter()


def peak_process_memory_bytes(status: Path = Path("/proc/self/status")) -> Optional[int]:
    """Highest resident memory of this process so far; None where the kernel does not say (proc(5), VmHWM)."""
    try:
        lines = status.read_text().splitlines()
    except OSError:
        return None
    for line in lines:
        if line.startswith("VmHWM:"):
            return int(line.split()[1]) * 1024
    return None


def peak_gpu_memory_bytes() -> Optional[int]:
    """Most memory that torch held allocated on the GPU so far; None without a GPU."""
    return torch.cuda.max_memory_allocated() if torch.cuda.is_available() else None


class EpochTimer:
    """Turns a learner's three moments of an epoch into records: `begin`, `trained`, `end`.

    What goes on between `begin` and `trained` the learner tells the `splitter`. `done`: the phase's epochs that were
    timed before.
    """

    def __init__(self, phase: str, done: Iterable[Epoch] = (), clock: Clock = synchronised_clock) -> None:
        self.epochs = list(done)  # type: List[Epoch]
        self.splitter = Splitter()
        self._phase = phase
        self._clock = clock
        self._began = self._trained = 0.0

    def begin(self) -> None:
        self._began = self._clock()
        self.splitter.begin()

    def trained(self) -> None:
        """The last training batch is done; what follows is validation."""
        self._trained = self._clock()
        self.splitter.end()

    def end(self, train_images: int, train_loss: float, valid_loss: float, accuracy: float) -> Epoch:
        ended = self._clock()
        train_seconds = self._trained - self._began
        epoch = Epoch(
            phase=self._phase,
            index=len(self.epochs),
            train_seconds=train_seconds,
            valid_seconds=ended - self._trained,
            epoch_seconds=ended - self._began,
            train_images=train_images,
            train_images_per_second=train_images / train_seconds,
            train_loss=train_loss,
            valid_loss=valid_loss,
            accuracy=accuracy,
            peak_process_memory_bytes=peak_process_memory_bytes(),
            peak_gpu_memory_bytes=peak_gpu_memory_bytes(),
            split=self.splitter.split(train_seconds),
        )
        self.epochs.append(epoch)
        print(describe(epoch), flush=True)
        return epoch


def describe(epoch: Epoch) -> str:
    """One line for the log."""
    return (
        "{0.phase} epoch {1}: {0.epoch_seconds:.2f} s (train {0.train_seconds:.2f} s, {0.train_images_per_second:.1f} "
        "images/s; valid {0.valid_seconds:.2f} s)  loss {0.train_loss:.4f} / {0.valid_loss:.4f}  accuracy "
        "{0.accuracy:.4f}".format(epoch, epoch.index + 1)
    )
