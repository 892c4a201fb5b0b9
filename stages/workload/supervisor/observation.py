"""What is seen from outside of a training in PyTorch that says no spans itself.

Runs inside images: Python 3.7 syntax, standard library only.
"""

import os
import shutil
from typing import Dict, NamedTuple, Tuple

from stages.contract import Span
from stages.records import Task
from stages.workload.observer import HOOK, VARIABLE
from stages.workload.observer.read import Times, observed

PREFIX = "steps"
SEVERAL_ATTEMPTS = "it was trained in several attempts, of which the last alone was looked at: its spans are left out"
NAME_TAKEN = "job.yaml declares a metric {}, so the spans that were seen are left out"


class Seen(NamedTuple):
    """Spans of one command, and what could not be seen."""

    spans: Tuple[Span, ...] = ()
    notes: Tuple[str, ...] = ()
    queued: bool = False  # the host's clock told the steps, and work was queued on a GPU
    times: Tuple[Times, ...] = ()  # of each span


def is_wanted(task: Task) -> bool:
    """Whether the command is to be looked at."""
    return task.stage == "train" and task.job.observe


def variables(task: Task) -> Dict[str, str]:
    """Return what has the command looked at, its folder made anew; nothing where it is not to be."""
    if not is_wanted(task):
        return {}
    forget(task)
    task.cell.observed_dir.mkdir(parents=True)
    paths = (str(HOOK), task.belongs.variant.env.get("PYTHONPATH", os.environ.get("PYTHONPATH")))
    return {
        "PYTHONPATH": os.pathsep.join(path for path in paths if path),
        VARIABLE: str((task.cell.observed_dir / PREFIX).absolute()),
    }


def changed_at(task: Task) -> int:
    """Return when the training last showed that it goes on, in nanoseconds; 0 where it has not."""
    try:
        return max((each.stat().st_mtime_ns for each in os.scandir(str(task.cell.observed_dir))), default=0)
    except OSError:  # there is no such folder, or a file has just gone
        return 0


def seen(task: Task, said: Tuple[Span, ...], attempts: int) -> Seen:
    """Return the spans that were seen, unless the job has `said` some: its own win."""
    if not is_wanted(task) or said:
        return Seen()
    if attempts > 1:
        return Seen(notes=(SEVERAL_ATTEMPTS,))
    found = observed((task.cell.observed_dir / PREFIX).absolute())
    taken = [f"{span.name}_seconds" for span in found.spans if f"{span.name}_seconds" in task.job.metrics]
    if taken:
        return Seen(notes=(NAME_TAKEN.format(taken[0]),))
    return Seen(found.spans, found.notes, found.queued, found.times)


def forget(task: Task) -> None:
    """Remove what was noted."""
    shutil.rmtree(str(task.cell.observed_dir), ignore_errors=True)
