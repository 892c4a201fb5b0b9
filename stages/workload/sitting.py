"""One process's part of a cell's training: it goes on where an earlier one ended, and keeps every epoch it trains.

Runs inside images: Python 3.7 syntax.
"""

import dataclasses
import datetime
import math
import time
from typing import Any, Dict, Optional, Tuple

from stages import records
from stages.errors import TRY_LATER, FaceoffError
from stages.records import DATA_DIR, PHASES, Cell, Epoch
from stages.workload import checkpoint, session
from stages.workload.checkpoint import Progress
from stages.workload.learners import Job, Learner
from stages.workload.probes import conditions, load


class Sitting:
    """To be made before the learner is prepared, and used for one `train`.

    `belongs`: of checkpoint.belongings. `began`: what time.perf_counter() said when the process began its work.
    """

    def __init__(self, cell: Cell, job: Job, belongs: Dict[str, Any], began: float) -> None:
        self._cell, self._job, self._belongs, self._began = cell, job, belongs, began
        self._session_end = session.end()
        kept = checkpoint.load(cell.checkpoint_path, belongs)
        self._earlier, self._state = kept or (Progress(started_at=now()), {})
        self.progress = self._earlier  # without an epoch of its own, a sitting leaves no trace
        self._before = conditions.look(DATA_DIR, sample_seconds=0)

    @property
    def wall_seconds(self) -> float:
        """Of all sittings: neither the pauses between them, nor what was trained twice."""
        return self._earlier.wall_seconds + time.perf_counter() - self._began

    def train(self, learner: Learner) -> Progress:
        """All epochs that are left. Raises FaceoffError where the session ends before."""
        self._leave_unless_it_fits()
        self._meter = load.Meter()
        self._diverged = None  # type: Optional[str]
        resumed = self.progress.epochs[-1].phase if self.progress.epochs else None
        if resumed:
            done, planned = len(self.progress.epochs), self._planned()
            told = "{}, repeat {}: goes on after epoch {} of {}"
            print(told.format(self._cell.setting, self._cell.repeat, done, planned))
        for phase in PHASES[PHASES.index(resumed) if resumed else 0 :]:
            if self._job.epochs(phase):
                done = tuple(epoch for epoch in self.progress.epochs if epoch.phase == phase)
                learner.run_phase(phase, done, self._state if phase == resumed else None, self._keep)
                if self._diverged:
                    raise FaceoffError(self._diverged)
                self._leave_unless_it_fits()
        return self.progress

    def _keep(self, phase_epochs: Tuple[Epoch, ...], state: dict) -> bool:
        """Between two epochs; whether to go on. Raises nothing: fastai 2 would put words of its own in front."""
        self._diverged = _divergence(self._cell, phase_epochs[-1])
        if self._diverged:
            return False
        before = tuple(epoch for epoch in self.progress.epochs if epoch.phase != phase_epochs[0].phase)
        sitting = records.Sitting(len(self._earlier.epochs), self._meter.read())
        self.progress = dataclasses.replace(
            self.progress,
            epochs=before + phase_epochs,
            sittings=(*self._earlier.sittings, sitting),
            conditions=(*self._earlier.conditions, self._before),
            wall_seconds=self.wall_seconds,
        )
        checkpoint.save(self._cell.checkpoint_path, self._belongs, self.progress, state)
        return self._fits()

    def _planned(self) -> int:
        return sum(self._job.epochs(phase) for phase in PHASES)

    def _longest_seconds(self) -> float:
        return max((epoch.epoch_seconds for epoch in self.progress.epochs), default=0.0)

    def _fits(self) -> bool:
        """Whether the next epoch ends before the session does, if it takes as long as the longest so far."""
        left = self._session_end - time.time()
        return len(self.progress.epochs) == self._planned() or left > self._longest_seconds()

    def _leave_unless_it_fits(self) -> None:
        if not self._fits():
            raise FaceoffError(
                "session.max_hours: {:.0f} s are left and an epoch takes up to {:.0f} s: stopped after epoch {} of {} "
                "of {}, repeat {}; run `make repro` again to go on".format(
                    max(0.0, self._session_end - time.time()),
                    self._longest_seconds(),
                    len(self.progress.epochs),
                    self._planned(),
                    self._cell.setting,
                    self._cell.repeat,
                ),
                TRY_LATER,
            )


def now() -> str:
    return datetime.datetime.now(datetime.timezone.utc).isoformat(timespec="seconds")


def _divergence(cell: Cell, epoch: Epoch) -> Optional[str]:
    """What to say where a loss is not finite, which no record can hold."""
    for loss in (epoch.train_loss, epoch.valid_loss):
        if not math.isfinite(loss):
            rate = "frozen_learning_rate" if epoch.phase == "frozen" else "unfrozen_learning_rates"
            return "the loss is {} in {} epoch {}: the training diverged: lower recipe.{} in params.yaml{}".format(
                loss,
                epoch.phase,
                epoch.index + 1,
                rate,
                ", or leave 'mixed' out of precisions" if cell.precision == "mixed" else "",
            )
    return None
