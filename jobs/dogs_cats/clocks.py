"""Clocks that wait for the device, and the timing of epochs.

Runs inside images: Python 3.7 syntax, standard library and torch.
"""

import time
from typing import Callable, Optional

import torch

from jobs.dogs_cats.split import Splitter
from stages.contract import Span

Clock = Callable[[], float]


def synchronised_clock() -> float:
    """Return the seconds of a steady clock, read after all work queued on the GPU is done.

    Else what was launched would count for what comes next.
    https://pytorch.org/docs/stable/notes/cuda.html#asynchronous-execution
    """
    if torch.cuda.is_available():
        torch.cuda.synchronize()
    return time.perf_counter()


def peak_gpu_memory_bytes() -> Optional[int]:
    """Return the most memory that torch held allocated on the GPU so far; None without a GPU."""
    return torch.cuda.max_memory_allocated() if torch.cuda.is_available() else None


class EpochTimer:
    """Turns a learner's three moments of an epoch into spans: `begin`, `trained`, `end`.

    What goes on between `begin` and `trained` the learner tells the `splitter`. `done`: how many of the phase's epochs
    were trained before.
    """

    def __init__(self, phase: str, done: int = 0, clock: Clock = synchronised_clock) -> None:
        self.spans = []  # type: List[Span]
        self.splitter = Splitter()
        self._phase = phase
        self._done = done
        self._clock = clock
        self._began = self._trained = 0.0

    def begin(self) -> None:
        """Note that an epoch begins."""
        self._began = self._clock()
        self.splitter.begin()

    def trained(self) -> None:
        """Note that the last training batch is done; what follows is validation."""
        self._trained = self._clock()
        self.splitter.end()

    def end(self, samples: int, train_loss: float, valid_loss: float, accuracy: float) -> Span:
        """Return what the epoch was."""
        ended = self._clock()
        train_seconds = self._trained - self._began
        steps, split = self.splitter.split(train_seconds)
        span = Span(
            name=self._phase,
            seconds=ended - self._began,
            samples=samples,
            steps=steps,
            values={"train_loss": train_loss, "valid_loss": valid_loss, "accuracy": accuracy},
            split=split,
            step_seconds=self.splitter.step_seconds(),
        )
        self.spans.append(span)
        print(
            "{} epoch {}: {:.2f} s (train {:.2f} s, {:.1f} photos/s; valid {:.2f} s)  loss {:.4f} / {:.4f}  accuracy "
            "{:.4f}".format(
                self._phase,
                self._done + len(self.spans),
                span.seconds,
                train_seconds,
                samples / train_seconds,
                ended - self._trained,
                train_loss,
                valid_loss,
                accuracy,
            ),
            flush=True,
        )
        return span
