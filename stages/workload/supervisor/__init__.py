"""Runs a cell's command inside an image, looks at the machine meanwhile, and writes down what came out.

    command      starts, signals, ends it; its time and memory
    follower     reads its events as they come
    observation  what is seen from outside of a training that says none
    recorder     one command, with its events, the CPUs' load and the machine's conditions
    progress     what earlier attempts left
    reasons      why it failed, in a line
    results      the record of it

Runs inside images: Python 3.7 syntax, standard library only.
"""

import argparse
import time
from pathlib import Path

from stages.codec import read, remove, sync_folder, write
from stages.contract import OUTPUT, STATE
from stages.errors import TRY_LATER, FaceoffError
from stages.records import Result, Task
from stages.workload import surroundings
from stages.workload.supervisor import observation, progress, reasons, results
from stages.workload.supervisor.recorder import Recorder, now


def main(stage: str) -> int:
    """Run the stage of the cell that --task describes."""
    began = time.perf_counter()
    parser = argparse.ArgumentParser(prog=f"python -m stages.{stage}")
    parser.add_argument("--task", required=True, type=Path, help="file that stages.inside has left")
    path = parser.parse_args().task
    task = read(path, Task)
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
    ended = result.reason or result.absent.get("command_seconds", "ok")
    print(f"{cell.setting}, repeat {cell.repeat}: {task.stage}: {ended}")
    return 0


def train(task: Task, began: float) -> Result:
    """Run the training, or what an earlier attempt left of it."""
    started_at, cell = now(), task.cell
    remove(cell.steps_path)
    _empty(cell.output_dir)
    surroundings.check(task)
    _leave_if_over(task)
    earlier = progress.begin(task)
    recorder = Recorder(task, earlier, began, started_at)
    try:
        recorded = recorder.run({OUTPUT: cell.output_dir, STATE: cell.state_dir})
        recorded.check()
        _check_output(cell.output_dir)
        if recorded.events.unsupported is not None:
            _empty(cell.output_dir)
            results.keep_steps(task, ())
            return results.unsupported(task, recorded, started_at, time.perf_counter() - began)
        counted = progress.count(earlier, recorded.events.resumed_after_spans)
        said = (*counted.spans, *recorded.events.spans)
        seen = observation.seen(task, said, len(counted.attempts) + 1)
        results.check_spans(task, (*said, *seen.spans))
        steps = results.keep_steps(task, (*said, *seen.spans), seen.queued)
    except BaseException:
        _empty(cell.output_dir)
        raise
    finally:
        observation.forget(task)
    sync_folder(cell.output_dir)
    if earlier.parts and recorded.events.resumed_after_spans is None:
        print(f"{cell.setting}, repeat {cell.repeat}: began anew: the job said nothing of going on")
    return results.ok(task, recorded, counted, seen, None, steps, started_at, time.perf_counter() - began)


def evaluate(task: Task, began: float) -> Result:
    """Evaluate what the training left; where that did not end 'ok', neither does this."""
    started_at, cell = now(), task.cell
    remove(cell.predictions_path)
    trained = read(cell.result_path("train"), Result)
    recorded = None
    try:
        if trained.status == "ok" and task.job.evaluate is not None:
            _leave_if_over(task)
            surroundings.check(task)
            _empty(cell.evaluation_dir)
            recorded = Recorder(task, None, began, started_at).run({OUTPUT: cell.evaluation_dir})
            recorded.check()
            _check_output(cell.evaluation_dir)
            results.check_spans(task, (*trained.spans, *recorded.events.spans))
        digest = results.keep_predictions(task, trained)
    finally:
        remove(cell.evaluation_dir)
    wall_seconds = time.perf_counter() - began
    if recorded is None:
        return results.not_run(task, trained, digest, started_at, wall_seconds)
    if recorded.events.unsupported is not None:
        return results.unsupported(task, recorded, started_at, wall_seconds)
    return results.ok(task, recorded, progress.NOTHING, observation.Seen(), digest, None, started_at, wall_seconds)


def _leave_if_over(task: Task) -> None:
    if task.session_ends_at is not None and time.time() >= task.session_ends_at:
        where = f"before {task.stage} of {task.cell.setting}, repeat {task.cell.repeat}"
        raise FaceoffError(
            f"session.max_hours: the session is over: stopped {where}; run `make repro` again to go on", TRY_LATER
        )


def _empty(folder: Path) -> None:
    """Make the folder, without anything in it. It is a mount's own in a container, so it stays."""
    if folder.is_symlink() or not folder.is_dir():
        remove(folder)
    folder.mkdir(parents=True, exist_ok=True)
    for each in folder.iterdir():
        remove(each)


def _check_output(folder: Path) -> None:
    if folder.is_symlink() or not folder.is_dir():
        raise FaceoffError(f"{OUTPUT} ({folder}) is no folder any more: the command may write into it, not replace it")
