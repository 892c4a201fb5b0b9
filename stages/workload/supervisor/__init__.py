"""Runs a cell's command inside an image, looks at the machine meanwhile, and writes down what came out.

    command      starts, signals, ends it; its time and memory
    ranks        several processes of it, by torch's launcher
    follower     reads its events as they come
    observation  what is seen from outside of a training that says none
    recorder     one command, with its events, the CPUs' load and the machine's conditions
    sampling     what cards do and take meanwhile
    sampled      the record of that, over all attempts
    progress     what earlier attempts left
    disturbance  what disturbed it, and whether it is run once more
    reasons      why it failed, in a line
    results      the record of it

Runs inside images: Python 3.7 syntax, standard library only.
"""

import argparse
import time
from pathlib import Path
from typing import Tuple

from stages.codec import digest, read, remove, sync_folder, write
from stages.contract import OUTPUT, STATE
from stages.errors import TRY_LATER, FaceoffError
from stages.records import Discarded, Result, Task
from stages.workload import surroundings
from stages.workload.scratch import leave_nothing_compiled
from stages.workload.supervisor import disturbance, observation, progress, reasons, results
from stages.workload.supervisor.disturbance import Chosen, Measured, empty
from stages.workload.supervisor.progress import Progress
from stages.workload.supervisor.recorder import Recorder, now


def main(stage: str) -> int:
    """Run the stage of the cell that --task describes."""
    began = time.perf_counter()
    parser = argparse.ArgumentParser(prog=f"python -m stages.{stage}")
    parser.add_argument("--task", required=True, type=Path, help="file that stages.inside has left")
    path = parser.parse_args().task
    task = read(path, Task)
    leave_nothing_compiled()
    if task.stage != stage:
        raise FaceoffError(f"{path}: stage: expected {stage}, found {task.stage}", exit_code=2)
    return run(task, began)


def run(task: Task, began: float) -> int:
    """Run the command and write its result. Raises FaceoffError, with the exit code, where there is none.

    `began`: what time.perf_counter() said when this process began.
    """
    cell = task.cell
    # DVC leaves persistent outputs of an earlier run in place; none of it may be taken for this run's.
    remove(cell.result_path(task.stage))
    with reasons.recorded(cell.running_path):
        result = (train if task.stage == "train" else evaluate)(task, began)
        write(cell.result_path(task.stage), result)
    if task.stage == "train" or task.job.evaluate is not None:
        ended = result.reason or result.absent.get("command_seconds", "ok")
        print(f"{cell.setting}, repeat {cell.repeat}: {task.stage}: {ended}")
    return 0


def train(task: Task, began: float) -> Result:
    """Run the training, or what an earlier attempt left of it."""
    started_at, cell = now(), task.cell
    remove(cell.steps_path)
    remove(cell.aside_dir)
    empty(cell.output_dir)
    surroundings.check(task)
    _leave_if_over(task)
    earlier = progress.begin(task)

    def once_more(discarded: Tuple[Discarded, ...]) -> Measured:
        return _train(task, progress.once_more(task, discarded), time.perf_counter(), now())

    def keep(chosen: Chosen) -> Result:
        steps = results.keep_steps(task, chosen.kept.spans, chosen.kept.seen.queued)
        return results.ok(task, chosen, digest(cell.output_dir), steps)

    try:
        first = _train(task, earlier, began, started_at)
        if first.recorded.events.unsupported is not None:
            empty(cell.output_dir)
            results.keep_steps(task, ())
            return results.unsupported(task, first.recorded, started_at, time.perf_counter() - began)
        return disturbance.least_disturbed(task, first, earlier.discarded, once_more, keep, cell.output_dir)
    except BaseException:
        empty(cell.output_dir)
        raise
    finally:
        remove(cell.aside_dir)


def _train(task: Task, earlier: Progress, began: float, started_at: str) -> Measured:
    """Run the training's command to its end."""
    cell = task.cell
    recorder = Recorder(task, earlier, began, started_at)
    try:
        recorded = recorder.run({OUTPUT: cell.output_dir, STATE: cell.state_dir})
        recorded.check(task.belongs.variant.parameters)
        _check_output(cell.output_dir)
        if recorded.events.unsupported is not None:
            return Measured(recorded, progress.NOTHING, observation.Seen(), started_at, time.perf_counter() - began)
        counted = progress.count(earlier, recorded.events.resumed_after_spans)
        said = (*counted.spans, *recorded.events.spans)
        seen = observation.seen(task, said, len(counted.attempts) + 1)
        results.check_spans(task, (*said, *seen.spans))
    finally:
        observation.forget(task)
    sync_folder(cell.output_dir)
    if earlier.parts and recorded.events.resumed_after_spans is None:
        print(f"{cell.setting}, repeat {cell.repeat}: began anew: the job said nothing of going on")
    return Measured(recorded, counted, seen, started_at, time.perf_counter() - began)


def evaluate(task: Task, began: float) -> Result:
    """Evaluate what the training left; where that did not end 'ok', neither does this."""
    started_at, cell = now(), task.cell
    remove(cell.predictions_path)
    remove(cell.aside_dir)
    trained = read(cell.result_path("train"), Result)

    def once_more(_: Tuple[Discarded, ...]) -> Measured:
        return _evaluate(task, trained, time.perf_counter(), now())

    def keep(chosen: Chosen) -> Result:
        return results.ok(task, chosen, trained.output_sha256, results.keep_predictions(task, trained))

    try:
        _check_model(trained)
        if trained.status != "ok" or task.job.evaluate is None:
            predictions = results.keep_predictions(task, trained)
            return results.not_run(task, trained, predictions, started_at, time.perf_counter() - began)
        _leave_if_over(task)
        surroundings.check(task)
        first = _evaluate(task, trained, began, started_at)
        if first.recorded.events.unsupported is not None:
            results.keep_predictions(task, trained)
            return results.unsupported(task, first.recorded, started_at, time.perf_counter() - began)
        return disturbance.least_disturbed(task, first, (), once_more, keep, cell.evaluation_dir)
    finally:
        remove(cell.evaluation_dir)
        remove(cell.aside_dir)


def _evaluate(task: Task, trained: Result, began: float, started_at: str) -> Measured:
    """Run the evaluation's command to its end."""
    folder = task.cell.evaluation_dir
    empty(folder)
    recorded = Recorder(task, None, began, started_at).run({OUTPUT: folder})
    recorded.check(task.belongs.variant.parameters)
    _check_output(folder)
    results.check_spans(task, (*trained.spans, *recorded.events.spans))
    return Measured(recorded, progress.NOTHING, observation.Seen(), started_at, time.perf_counter() - began)


def _leave_if_over(task: Task) -> None:
    if task.session_ends_at is not None and time.time() >= task.session_ends_at:
        where = f"before {task.stage} of {task.cell.setting}, repeat {task.cell.repeat}"
        raise FaceoffError(
            f"session.max_hours: the session is over: stopped {where}; run `make repro` again to go on", TRY_LATER
        )


def _check_model(trained: Result) -> None:
    """Raise FaceoffError where what the training left is gone or another: preflight has such cells trained again."""
    folder = trained.cell.output_dir
    if trained.status == "ok" and digest(folder) != trained.output_sha256:
        path = trained.cell.result_path("train")
        raise FaceoffError(f"{folder} is not as the training left it: to train again: rm {path}, then make repro")


def _check_output(folder: Path) -> None:
    if folder.is_symlink() or not folder.is_dir():
        raise FaceoffError(f"{OUTPUT} ({folder}) is no folder any more: the command may write into it, not replace it")
