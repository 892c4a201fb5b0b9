"""One attempt at a stage of a cell: alone, within limits, and where it fails with the reason recorded."""

import dataclasses
import datetime
import hashlib
import sys
import time
from collections.abc import Mapping
from pathlib import Path

from stages import codec, contract, records
from stages.errors import TRY_LATER, FaceoffError
from stages.harness.cells import cpu_energy, failures, states, tasks
from stages.harness.environments.launch import Environment, Outcome, Work
from stages.harness.params import jobs
from stages.harness.params.schema import Params
from stages.harness.process.locks import held
from stages.harness.process.signals import STOP_SIGNALS
from stages.harness.process.watchdog import Watch, touched_at
from stages.harness.results import read
from stages.records import STAGES, Belongs, Cell, step_times, without_times

NO_PREDICTIONS = ",".join(contract.PREDICTION_COLUMNS) + "\n"
# Codes of a job that failed at nothing, and whose cell the next run measures.
INTERRUPTIONS = (TRY_LATER, *(128 + number for number in STOP_SIGNALS))


@dataclasses.dataclass(frozen=True)
class JobFolder:
    """The files that results depend on, as they were at some moment: on the host a job may write into its folder."""

    job: str
    definition: jobs.Definition
    files: Mapping[str, str]  # path: digest

    @classmethod
    def now(cls, job: str) -> "JobFolder":
        """Look at them."""
        definition = jobs.load(job, Path())
        return cls(job, definition, jobs.digests(job, definition, Path()))

    def changed(self) -> str | None:
        """Say what is not as it was, and so would have all measured again; None: all is."""
        try:
            files = jobs.digests(self.job, self.definition, Path())
        except (FaceoffError, OSError) as error:
            return f"a file of {jobs.JOBS_DIR / self.job} was removed while it ran ({error}): write below {{output}}"
        names = sorted(name for name in {*self.files, *files} if self.files.get(name) != files.get(name))
        if not names:
            return None
        which = ", ".join(names[:3]) + (f" and {len(names) - 3} more" if len(names) > 3 else "")
        return (
            f"{which} changed in {jobs.JOBS_DIR / self.job} while it ran, which would measure all again: write below "
            "{output}, or name `files` in job.yaml"
        )


@dataclasses.dataclass(frozen=True)
class CellStage:
    """A stage of a cell of params.yaml, which is to be run."""

    cell: Cell
    stage: str  # of STAGES
    params: Params

    @classmethod
    def at(cls, result: Path, params: Params) -> "CellStage":
        """Find the cell's stage that writes this result. Raises FaceoffError where there is none."""
        for cell in params.cells():
            for stage in STAGES:
                if cell.result_path(stage) == result:
                    return cls(cell, stage, params)
        raise FaceoffError(f"--result {result}: not the result of a cell of params.yaml", exit_code=2)

    @property
    def title(self) -> str:
        """The setting and the repeat in words, for messages."""
        return f"{self.cell.setting}, repeat {self.cell.repeat}"

    def attempt(self, environment: Environment) -> int:
        """Run it. Where it fails, record why; the exit code is then the job's, or 0 with on_failure: record."""
        began, started_at = time.monotonic(), _now()
        running = self.cell.running_path
        with held(running, self.title):
            states.discard_noted(self.params.cells())
            self._discard_half_written()
            task = tasks.task(self.cell, self.stage, self.params)
            folder = JobFolder.now(self.params.job)
            try:
                outcome = self._run(task, environment)
            finally:
                self._discard_half_written()
            if outcome.exit_code in INTERRUPTIONS:
                return outcome.exit_code
            changed = None if outcome.isolated else folder.changed()
            if outcome.exit_code == 0 and changed is None:
                return 0
            said = running.read_text(encoding="utf-8").strip()
            reason = failures.reason(outcome, said, self.cell, self.params) if outcome.exit_code else str(changed)
            if changed is None and self._earlier_counts(reason):
                return 0
            if reason != said or outcome.exit_code > 128:  # of a signal the supervisor has said nothing
                print(f"faceoff: {self.title}: {reason}", file=sys.stderr)
            self._record(task.belongs, reason, started_at, time.monotonic() - began)
        if self.params.on_failure == "stop":
            return outcome.exit_code or 1
        print(f"faceoff: recorded as failed; to try again: {self._again()}, then make repro", file=sys.stderr)
        return 0

    def leave_out(self, reason: str) -> int:
        """Note that there is nothing to run it in; what an earlier run measured stays as it is. The exit code."""
        if self.params.on_failure == "stop":
            raise FaceoffError(reason)
        if not self.cell.result_path(self.stage).exists():
            belongs = read.belongs(self.params, codec.read(records.JOB_PATH, records.Job))
            self._record(belongs[self.cell.image, self.cell.variant], reason, _now(), 0.0)
        print(f"{self.title}: {self.stage}: left out, as its image failed")
        return 0

    def _run(self, task: records.Task, environment: Environment) -> Outcome:
        """Tell the supervisor what to do, run it, and say where nothing showed whether the job goes on."""
        path, events = self.cell.task_path(self.stage), self.cell.events_path
        codec.write(path, task)
        if self.stage == "train" and events.exists() and events.stat().st_size:
            codec.remove(self.cell.earlier_events_path)
            events.replace(self.cell.earlier_events_path)
        codec.remove(self.cell.aside_dir)
        codec.remove(events)  # a job may have made a folder of it
        codec.write_text(events, "")
        before = touched_at(events)
        command = ("python", "-m", f"stages.{self.stage}", "--task", str(path))
        trained = (Path.cwd() / self.cell.output_dir,) if self.stage == "evaluate" else ()
        work = Work(command, self.cell.setting, readable=trained)
        with cpu_energy.reading() as packages:
            outcome = environment.run(work, Watch(events, self.params.limits, self.cell.aside_dir))
        if outcome.exit_code == 0:
            cpu_energy.note(self.cell.result_path(self.stage), packages)
        cpu_energy.note(self.cell.aside_result_path, packages)
        is_silent = task.command and touched_at(events) == before
        is_first = self.cell.repeat == self.params.repeats[0]  # of whose others the same is to be said
        if is_first and self.params.limits.stall_minutes is not None and is_silent and outcome.overdue is None:
            print(f"faceoff: {self.title}: limits.stall_minutes is off: the job wrote no event")
        return outcome

    def _earlier_counts(self, reason: str) -> bool:
        """Put the run in place that was to be replaced, where its replacement was killed, for this reason."""
        cell = self.cell
        result = codec.find(cell.aside_result_path, records.Result)
        if result is None:  # no run was under way but the first
            return False
        warning = f"{records.IN_VAIN}{reason}"
        print(f"faceoff: {self.title}: {warning}", file=sys.stderr)
        if self.stage == "train":
            codec.remove(cell.output_dir)
            cell.aside_output_dir.rename(cell.output_dir)
        result = dataclasses.replace(result, warnings=(*result.warnings, f"{self.stage}: {warning}"))
        codec.write(cell.result_path(self.stage), result)
        codec.remove(cell.aside_dir)
        return True

    def _again(self) -> str:
        return f".venv/bin/dvc repro -s -f {self.stage}@{self.cell.matrix_name}"

    def _discard_half_written(self) -> None:
        """Remove what a job was writing when it was stopped or killed."""
        cell = self.cell
        kept = (cell.result_path(self.stage), cell.predictions_path, cell.steps_path)
        outputs = (*kept, cell.progress_path, cell.events_path)
        for output in outputs:
            for each in output.parent.glob(f".{output.name}.*"):
                each.unlink()

    def _record(self, belongs: Belongs, reason: str, started_at: str, wall_seconds: float) -> None:
        """Write what the stage's outputs are when it fails."""
        predictions_sha256 = None
        codec.remove(self.cell.aside_dir)
        if self.stage == "train":
            codec.remove(self.cell.output_dir)  # of a job that was killed near its end
            self.cell.output_dir.mkdir(parents=True)
            codec.write_text(self.cell.steps_path, step_times.NONE)
        else:
            codec.write_text(self.cell.predictions_path, NO_PREDICTIONS)
            predictions_sha256 = hashlib.sha256(NO_PREDICTIONS.encode()).hexdigest()
        result = without_times(
            self.cell,
            self.stage,
            "failed",
            reason,
            belongs,
            started_at,
            wall_seconds,
            why="the cell failed",
            predictions_sha256=predictions_sha256,
        )
        codec.write(self.cell.result_path(self.stage), result)


def _now() -> str:
    return datetime.datetime.now(datetime.UTC).isoformat(timespec="seconds")
