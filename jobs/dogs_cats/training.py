"""Train a cell, or what an earlier process left of it, and tell of every epoch.

Runs inside images: Python 3.7 syntax.
"""

import dataclasses
import math
import os
import shutil
import time
from pathlib import Path
from typing import Any, Dict, Optional, Sequence

from jobs.dogs_cats import ceilings, checkpoint, dry_run, failures, learners, parameters, photos, seam
from jobs.dogs_cats.checkpoint import Progress
from jobs.dogs_cats.clocks import peak_gpu_memory_bytes
from jobs.dogs_cats.learners import Learner
from jobs.dogs_cats.parameters import PHASES
from jobs.dogs_cats.photos import Beat, Input
from stages import contract
from stages.codec import sync_folder
from stages.contract import Span
from stages.errors import TRY_LATER, FaceoffError
from stages.units import amount

MODEL_NAME = "model.pth"


def main(arguments: Sequence[str]) -> int:
    """Train as the command line and the environment say. Raises FaceoffError for what the user can mend."""
    cell, heartbeat = seam.cell(), seam.Heartbeat()
    choice = parameters.choice(cell["section"], parameters.of_arguments(arguments), "params.yaml: variants")
    steps = seam.steps()
    if steps is not None:
        return dry_run.run(choice, cell["seed"], steps)
    taken = photos.load(seam.folder(contract.DATA), choice, cell["seed"], heartbeat)
    learner = learners.find()
    reason = learner.unsupported(taken.precision)
    if reason:
        seam.say(unsupported=reason)
        print("unsupported: " + reason)
        return 0
    kept = checkpoint.load(seam.folder(contract.STATE))  # looked at first: what takes long may then be spared
    training = Training(taken, cell, kept[0])
    training.leave_unless_it_fits()
    learner.import_fastai()
    with failures.explained(taken, learner.version):
        learner.prepare(taken)
        learner.network.register_forward_hook(heartbeat)
        say_facts(learner, taken)
        training.run(learner, kept[1])
        save(learner, seam.folder(contract.OUTPUT) / MODEL_NAME)
        say_peak(training.progress.peak_gpu_memory_bytes)
        if cell["ceilings"]:
            say_ceilings(learner, taken, heartbeat)
    return 0


def say_facts(learner: Learner, taken: Input) -> None:
    """Tell of what decides a timing, beside the parameters."""
    facts = {
        "device": learner.device(),
        "algorithm": learner.algorithm(),
        "number_format": learner.number_format(),
        "memory_format": learner.memory_format(),
        "fastai": learner.version,
        "workers": taken.recipe.workers,
    }
    for name, value in facts.items():
        seam.say(fact=name, value=value)


def say_peak(peak_bytes: Optional[int]) -> None:
    """Tell of the GPU memory that was allocated at most, where there is a GPU."""
    if peak_bytes is not None:
        seam.say(metric="peak_gpu_memory_bytes", value=peak_bytes)


def say_ceilings(learner: Learner, taken: Input, heartbeat: Beat) -> None:
    """Tell what each side of a step reaches alone; the last that this process does, since it ends with a profiler."""
    reached = ceilings.measure(learner, taken, heartbeat)
    if reached is None:
        return
    seam.say(ceilings=dataclasses.asdict(reached))  # before a profiler starts, which may hang or crash
    share = ceilings.device_busy_share(learner, taken, reached)
    if share is not None:
        seam.say(ceilings=dataclasses.asdict(dataclasses.replace(reached, device_busy_share=share)))


def say_span(span: Span) -> None:
    """Tell of an epoch or a prediction."""
    document = {name: value for name, value in dataclasses.asdict(span).items() if value not in (None, ())}
    seam.say(span=document.pop("name"), **document)


class Training:
    """Both phases of a training, from where an earlier process came to the end."""

    def __init__(self, taken: Input, cell: Dict[str, Any], progress: Progress) -> None:
        self.progress = progress
        self._input = taken
        self._name = "{}/{}, repeat {}".format(cell["image"], cell["variant"], cell["repeat"])
        ends_at = cell["session_ends_at"]
        self._session_ends_at = math.inf if ends_at is None else float(ends_at)
        self._diverged = None  # type: Optional[str]

    def run(self, learner: Learner, state: dict) -> None:
        """Train all epochs that are left. Raises FaceoffError where the loss is none or the session ends before."""
        resumed = self.progress.phase
        if resumed:
            seam.say(resumed_after_spans=self.progress.spans)
            print("{}: goes on after epoch {} of {}".format(self._name, self.progress.spans, self._planned))
        for phase in PHASES[PHASES.index(resumed) if resumed else 0 :]:
            if self._input.epochs(phase):
                done = self.progress.done if phase == resumed else 0
                learner.run_phase(phase, done, state if phase == resumed else None, self._keep)
                if self._diverged:
                    raise FaceoffError(self._diverged)
                self.leave_unless_it_fits()
        for phase in PHASES:  # the total names both; one without an epoch takes no time
            if not self._input.epochs(phase):
                say_span(Span(phase, 0.0, samples=0, steps=0))

    def _keep(self, epoch: Span, state: dict) -> bool:
        """Tell of the epoch, then keep it, so that no checkpoint holds one that was not told of; whether to go on.

        Raises nothing: fastai 2 would put words of its own in front.
        """
        progress = self.progress
        self._diverged = _divergence(self._input, epoch, progress.done + 1 if epoch.name == progress.phase else 1)
        if self._diverged:
            return False
        say_span(epoch)
        self.progress = Progress(
            spans=progress.spans + 1,
            phase=epoch.name,
            done=progress.done + 1 if epoch.name == progress.phase else 1,
            longest_seconds=max(progress.longest_seconds, epoch.seconds),
            peak_gpu_memory_bytes=_larger(progress.peak_gpu_memory_bytes, peak_gpu_memory_bytes()),
        )
        checkpoint.save(seam.folder(contract.STATE), self.progress, state)
        return self._fits()

    @property
    def _planned(self) -> int:
        return self._input.recipe.epochs

    def _fits(self) -> bool:
        """Whether the next epoch ends before the session does, if it takes as long as the longest so far."""
        left = self._session_ends_at - time.time()
        return self.progress.spans == self._planned or left > self.progress.longest_seconds

    def leave_unless_it_fits(self) -> None:
        """Raise FaceoffError where the session ends before another epoch would."""
        if not self._fits():
            raise FaceoffError(
                "session.max_hours: {:.0f} s are left and an epoch takes up to {:.0f} s: stopped after epoch {} of {} "
                "of {}; run `make repro` again to go on".format(
                    max(0.0, self._session_ends_at - time.time()),
                    self.progress.longest_seconds,
                    self.progress.spans,
                    self._planned,
                    self._name,
                ),
                TRY_LATER,
            )


def _larger(one: Optional[int], other: Optional[int]) -> Optional[int]:
    return max((each for each in (one, other) if each is not None), default=None)


def _divergence(taken: Input, epoch: Span, number: int) -> Optional[str]:
    """Return what to say where a loss is not finite, which no event can hold."""
    for name in ("train_loss", "valid_loss"):
        loss = epoch.values[name]
        if not math.isfinite(loss):
            rate = "frozen_learning_rate" if epoch.name == "frozen" else "unfrozen_learning_rates"
            line = "the loss is {} in {} epoch {}: the training diverged: lower dogs_cats.recipe.{} in params.yaml{}"
            return line.format(
                loss,
                epoch.name,
                number,
                rate,
                ", or leave those of precision mixed out of variants" if taken.precision == "mixed" else "",
            )
    return None


def save(learner: Learner, path: Path) -> None:
    """Write the network whole or not at all. Raises FaceoffError where the disk does not take it."""
    temporary = path.with_suffix(".tmp")
    try:
        learner.save(temporary)
        with temporary.open("rb") as file:
            os.fsync(file.fileno())
        temporary.replace(path)
        sync_folder(path.parent)
    except BaseException as error:
        if temporary.exists():
            temporary.unlink()
        if not isinstance(error, (OSError, RuntimeError)):  # the latter is how torch says that a disk is full
            raise
        free = shutil.disk_usage(str(path.parent)).free
        said = str(error).strip().splitlines()[0]
        raise FaceoffError(
            "{}: not written, with {} free on that disk: make room, then run again ({})".format(
                path, amount(free), said
            )
        ) from None
