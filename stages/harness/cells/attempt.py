"""One attempt at a cell's training or evaluation: alone, within limits, and where it fails with the reason recorded."""

import dataclasses
import datetime
import hashlib
import shutil
import sys
import time
from collections.abc import Callable
from pathlib import Path

from stages import codec, records
from stages.errors import TRY_LATER, FaceoffError
from stages.harness.cells import checkpoints, failures
from stages.harness.environments.launch import Outcome
from stages.harness.params.schema import Params
from stages.harness.process.locks import held
from stages.harness.process.signals import STOP_SIGNALS
from stages.harness.process.watchdog import Watch
from stages.records import Cell, EvaluateResult, TrainResult

NO_PREDICTIONS = "photo,label\n"
# Codes of a job that failed at nothing, and whose cell the next run measures.
INTERRUPTIONS = (TRY_LATER, *(128 + number for number in STOP_SIGNALS))


@dataclasses.dataclass(frozen=True)
class Attempt:
    """At what is to write `result`."""

    cell: Cell
    stage: str  # 'train' or 'evaluate'
    result: Path
    params: Params

    @classmethod
    def at(cls, result: Path, params: Params) -> "Attempt":
        for cell in params.cells():
            for stage, path in (("train", cell.train_path), ("evaluate", cell.evaluate_path)):
                if path == result:
                    return cls(cell, stage, result, params)
        raise FaceoffError(f"--result {result}: not the result of a cell of params.yaml", exit_code=2)

    def make(self, run: Callable[[Watch], Outcome]) -> int:
        """Run the job. Where it fails, record why; the exit code is then the job's, or 0 with on_failure: record."""
        began, started_at = time.monotonic(), datetime.datetime.now(datetime.UTC).isoformat(timespec="seconds")
        running = self.cell.running_path
        with held(running, f"{self.cell.setting}, repeat {self.cell.repeat}"):
            checkpoints.discard_noted(self.params.cells())
            self._discard_half_written()
            try:
                outcome = run(Watch(running, self.params.limits))
            finally:
                self._discard_half_written()
            if outcome.exit_code == 0 or outcome.exit_code in INTERRUPTIONS:
                return outcome.exit_code
            said = running.read_text(encoding="utf-8").strip()
            machine = codec.read(records.MACHINE_PATH, records.Machine)
            reason = failures.reason(outcome, said, self.cell, self.params, machine)
            if reason != said:
                print(f"faceoff: {self.cell.setting}, repeat {self.cell.repeat}: {reason}", file=sys.stderr)
            self._record(reason, started_at, time.monotonic() - began)
        if self.params.on_failure == "stop":
            return outcome.exit_code
        print(f"faceoff: recorded as failed; to try again: {self._again()}, then make repro", file=sys.stderr)
        return 0

    def _again(self) -> str:
        return f"dvc repro -s -f {self.stage}@{self.cell.matrix_name}"

    def _discard_half_written(self) -> None:
        """Remove what a job was writing when it was stopped or killed."""
        cell = self.cell
        for output in (self.result,) if self.stage == "train" else (self.result, cell.predictions_path):
            for each in output.parent.glob(f".{output.name}.*"):
                each.unlink()
        for temporary in (cell.checkpoint_path.with_suffix(".checkpoint.tmp"), cell.model_dir / "model.tmp"):
            temporary.unlink(missing_ok=True)

    def _record(self, reason: str, started_at: str, wall_seconds: float) -> None:
        """Write what the stage's outputs are when it fails."""
        if self.stage == "train":
            shutil.rmtree(self.cell.model_dir, ignore_errors=True)  # of a job that was killed after its last epoch
            self.cell.model_dir.mkdir(parents=True)
            codec.write(self.cell.train_path, self._failed_training(reason, started_at, wall_seconds))
        else:
            codec.write_text(self.cell.predictions_path, NO_PREDICTIONS)
            codec.write(self.cell.evaluate_path, self._failed_evaluation(reason, started_at, wall_seconds))

    def _failed_training(self, reason: str, started_at: str, wall_seconds: float) -> TrainResult:
        return TrainResult(
            cell=self.cell,
            status="failed",
            reason=reason,
            recipe=self.params.recipe,
            dataset_sha256=codec.read(records.DATASET_PATH, records.Dataset).sha256,
            machine_sha256=codec.fingerprint(codec.read(records.MACHINE_PATH, records.Machine)),
            image_sha256=codec.file_fingerprint(records.image_path(self.cell.image), records.Image),
            facts_sha256=codec.file_fingerprint(records.facts_path(self.cell.image), records.Facts),
            container=self.params.container.limits,
            environment=None,
            algorithm=None,
            memory_format=None,
            epochs=(),
            ceilings=None,
            sittings=(),
            conditions=(),
            warnings=(),
            started_at=started_at,
            import_seconds=None,
            wall_seconds=wall_seconds,
        )

    def _failed_evaluation(self, reason: str, started_at: str, wall_seconds: float) -> EvaluateResult:
        return EvaluateResult(
            cell=self.cell,
            status="failed",
            reason=reason,
            photos=0,
            accuracy=None,
            accuracy_tta=None,
            predict_seconds=None,
            predict_tta_seconds=None,
            peak_process_memory_bytes=None,
            peak_gpu_memory_bytes=None,
            predictions_sha256=hashlib.sha256(NO_PREDICTIONS.encode()).hexdigest(),
            conditions=(),
            load=None,
            warnings=(),
            started_at=started_at,
            wall_seconds=wall_seconds,
        )
