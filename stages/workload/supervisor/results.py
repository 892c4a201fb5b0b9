"""The record of a stage of a cell, from what was seen of its command.

Runs inside images: Python 3.7 syntax, standard library only.
"""

import dataclasses
import hashlib
from pathlib import Path
from typing import Dict, Iterable, List, Optional, Sequence, Tuple, Union

from stages.codec import RecordError, write_text
from stages.contract import PREDICTION_COLUMNS, PREDICTIONS, Span, Value
from stages.errors import FaceoffError
from stages.predictions import read_predictions
from stages.records import BEGAN_ANEW, WALL, Attempt, Conditions, Result, Steps, Task, step_times, without_times
from stages.workload import job_cards
from stages.workload.probes import conditions, files, load
from stages.workload.supervisor import sampled
from stages.workload.supervisor.disturbance import Chosen
from stages.workload.supervisor.progress import Taken
from stages.workload.supervisor.recorder import Recorded

PARTLY = "of span {!r} some tell their steps and some do not: none of them are kept"
SUM_SLACK, SUM_SLACK_SECONDS = 1.05, 1.0  # by which spans may exceed their command: the job has a clock of its own


def ok(task: Task, chosen: Chosen, output: Optional[str], kept: Union[str, Steps]) -> Result:
    """Return the result of a command that ended well; `kept`: its file of steps, or sha256 of its predictions."""
    recorded, earlier, seen, started_at, wall_seconds = chosen.kept
    events = recorded.events
    taken, spans = (*earlier.taken, recorded.taken_in(seen)), chosen.kept.spans
    own = recorded.ended
    attempts = (*earlier.attempts, Attempt(len(earlier.spans), own.seconds, recorded.load, own.began_at))
    moments = (*earlier.conditions, *recorded.conditions)
    training = task.stage == "train"
    return Result(
        cell=task.cell,
        stage=task.stage,
        status="ok",
        reason=None,
        belongs=task.belongs,
        spans=tuple(dataclasses.replace(span, step_seconds=()) for span in spans),
        metrics=events.metrics,
        facts=_texts(events.facts),
        gpu_uuids=recorded.gpu_uuids,
        cards=sampled.cards(taken),
        attempts=attempts,
        conditions=moments,
        discarded=chosen.discarded,
        warnings=(
            *_sum_warnings(spans, attempts),
            *_warnings(task, attempts, moments),
            *_other_warnings(task, chosen, taken),
        ),
        notes=(
            *_anew(earlier.lost),
            *job_cards.on_cpu(task, recorded.gpu_uuids),
            *seen.notes,
            *_partly_notes(task, spans),
        ),
        peak_job_memory_bytes=None if own.together_bytes is None else max(own.together_bytes, own.peak_bytes),
        started_at=earlier.started_at or started_at,
        wall_seconds=earlier.wall_seconds + wall_seconds,
        **files.known(
            {
                "ceilings": (events.ceilings, "the job gives none" if task.ceilings else "another repeat has them"),
                "command_seconds": (sum(each.seconds for each in attempts), ""),
                "peak_process_memory_bytes": (own.peak_bytes or None, "the kernel does not tell it"),
                "energy": sampled.energy(taken),
                "cpu_joules": (None, "the host did not note it"),
                "steps": (kept if training else None, "it is the training's"),
                "output_sha256": (output, ""),
                "predictions_sha256": (None if training else kept, "it is the evaluation's"),
            }
        ),
    )


def unsupported(task: Task, recorded: Recorded, started_at: str, wall_seconds: float) -> Result:
    """Return the result of a command that says what can't be done here."""
    reason = str(recorded.events.unsupported)
    facts = _texts(recorded.events.facts)
    shared = task.cell, task.stage, "unsupported", reason, task.belongs
    return without_times(*shared, started_at, wall_seconds, why=reason, facts=facts)


def not_run(task: Task, trained: Result, predictions: str, started_at: str, wall_seconds: float) -> Result:
    """Return the result of an evaluation that there was nothing to do for."""
    why = trained.reason or f"job {task.job.name} has no `evaluate` command"
    shared = task.cell, task.stage, trained.status, trained.reason, task.belongs, started_at, wall_seconds
    return without_times(*shared, why=why, predictions_sha256=predictions, output_sha256=trained.output_sha256)


def check_spans(task: Task, spans: Iterable[Span]) -> None:
    """Raise FaceoffError where a span that the total is made of was not reported; of a training, not before the end."""
    if task.job.total == WALL or (task.stage == "train" and task.job.evaluate is not None):
        return
    reported = {span.name for span in spans}
    missing = [name for name in task.job.total if name not in reported]
    if missing:
        raise FaceoffError(
            "the job reported no span {!r}, which `total` of {}/job.yaml names; it reported: {}".format(
                missing[0], task.job.directory, ", ".join(sorted(reported)) or "none"
            )
        )


def keep_predictions(task: Task, trained: Result) -> str:
    """Copy the job's predictions to where results are kept, a header alone where there are none; their sha256."""
    cell, text = task.cell, ",".join(PREDICTION_COLUMNS) + "\n"
    places = [folder / PREDICTIONS for folder in (cell.evaluation_dir, cell.output_dir)]
    found = next((place for place in places if place.is_file()), None) if trained.status == "ok" else None
    if found is not None:
        text = _read_predictions(found)
    write_text(cell.predictions_path, text)
    return hashlib.sha256(text.encode("utf-8")).hexdigest()


def keep_steps(task: Task, spans: Sequence[Span], queued: bool = False) -> Steps:
    """Write what each step of these spans took to where results are kept.

    Those of a name are kept where each tells its steps: a sum would be of a part.
    """
    partly = _partly(spans)
    kept = [span for span in spans if span.step_seconds and span.name not in partly]
    text = step_times.text((span.name, span.step_seconds) for span in kept)
    write_text(task.cell.steps_path, text)
    count = sum(len(span.step_seconds) for span in kept)
    return Steps(hashlib.sha256(text.encode("utf-8")).hexdigest(), count, queued and count > 0)


def _partly(spans: Sequence[Span]) -> List[str]:
    """Return names of which some spans tell their steps and others, which have any, do not."""
    telling = {span.name for span in spans if span.step_seconds}
    return sorted(telling & {span.name for span in spans if not span.step_seconds and span.steps != 0})


def _partly_notes(task: Task, spans: Sequence[Span]) -> List[str]:
    return [PARTLY.format(name) for name in _partly(spans)] if task.stage == "train" else []


def _read_predictions(path: Path) -> str:
    try:
        text = path.read_bytes().decode("utf-8")
    except UnicodeDecodeError:
        raise RecordError(f"{path}: bytes that are no UTF-8") from None
    except OSError as error:
        raise RecordError(f"{path}: not readable: {error.strerror}") from None
    read_predictions(text, path)
    return text


def _texts(facts: Dict[str, Value]) -> Dict[str, str]:
    return {name: _text(value) for name, value in facts.items()}


def _text(value: Value) -> str:
    if isinstance(value, bool):
        return str(value).lower()
    return str(int(value) if isinstance(value, float) and value.is_integer() else value)


def _anew(lost: int) -> Tuple[str, ...]:
    words = "1 attempt that does not count" if lost == 1 else f"{lost} attempts that do not count"
    return (BEGAN_ANEW + words,) if lost else ()


def _sum_warnings(spans: Iterable[Span], attempts: Iterable[Attempt]) -> Tuple[str, ...]:
    """Say where the spans, which add up, are clearly more than the command took."""
    spanned, took = sum(span.seconds for span in spans), sum(each.seconds for each in attempts)
    if spanned <= took * SUM_SLACK + SUM_SLACK_SECONDS:
        return ()
    return (
        f"its spans add up to {spanned:.1f} s and its command took {took:.1f} s: some overlap, or count what was not",
    )


def _other_warnings(task: Task, chosen: Chosen, taken: Sequence[Taken]) -> Tuple[str, ...]:
    """Say what of the cards casts doubt on the times, and why the command was not run once more."""
    again = (f"{task.stage}: {warning}" for warning in chosen.warnings)
    return (*chosen.kept.recorded.card_warnings, *sampled.warnings(taken), *again)


def _warnings(task: Task, attempts: Tuple[Attempt, ...], moments: Tuple[Conditions, ...]) -> Tuple[str, ...]:
    """Say what casts doubt on the times: load in each attempt, conditions around them, more than one attempt."""
    what = "training" if task.stage == "train" else "the evaluation"
    again = [f"attempt {index}" for index in range(2, len(attempts) + 1)]
    found = []  # type: Any
    when = ["before " + each for each in (what, *again)] + ["after " + what]
    found += [(name, conditions.warnings(moment)) for name, moment in zip(when, moments)]
    found.append(("in " + what, conditions.clocks(moments[0], moments[-1])))
    found += [("in " + name, load.warnings(each.load)) for name, each in zip((what, *again), attempts)]
    ends = zip(moments, moments[1:], [True] * len(again) + [False])  # one that was cut off has no end of its own
    found += [("in " + name, conditions.heat(*each)) for name, each in zip((what, *again), ends)]
    lines = tuple(f"{name}: {warning}" for name, warnings in found for warning in warnings)
    if len(attempts) < 2:
        return lines
    after = " and ".join(str(each.after_spans) for each in attempts[1:])
    sentence = (
        "trained in {} attempts, anew after {} spans, which makes the next one a cold one; it counts all the same"
    )
    return (*lines, sentence.format(len(attempts), after))
