"""A few steps of every variant's training, to see what memory it takes, before the first cell is trained.

The training's own command is run, with scratch folders and FACEOFF_STEPS. No variant is left out since another one was
short or took little memory: what its parameters mean, only its own steps tell.

Runs inside images: Python 3.7 syntax, standard library only.
"""

import os
import time
from pathlib import Path
from typing import Dict, List, NamedTuple, Optional

from stages import contract
from stages.contract import Estimate, Value
from stages.errors import FaceoffError
from stages.records import Facts, ImageTask, Task
from stages.visible_cards import VISIBLE
from stages.workload import processes
from stages.workload.gpu_memory import Verdict
from stages.workload.probes import gpus
from stages.workload.probes.hardware import asked_driver
from stages.workload.scratch import scratch_folder
from stages.workload.supervisor import command, reasons
from stages.workload.supervisor.follower import Follower
from stages.workload.supervisor.ranks import ranks
from stages.workload.supervisor.recorder import environment_of

STEPS = 4
LIMIT_SECONDS = 180.0  # that a variant may take, imports included
WATCH_SECONDS = 0.05  # between two looks at the memory
CARDS_SECONDS = 0.5  # likewise of the cards
NO_ESTIMATE = Estimate()


class DryRun(NamedTuple):
    """What a few steps of one variant took and told."""

    memory_bytes: Optional[int]  # of all its processes, at the most that was seen; None: could not be seen
    gpu_memory_bytes: Optional[int]  # by which the use of the job's cards grew, at most
    estimate: Estimate
    unsupported: Optional[str]  # why this image can't train the variant
    failure: Optional[str]  # how it ended, where it did not end well
    facts: Dict[str, Value]  # that the job said of itself
    out_of_gpu: Optional[Verdict] = None  # where that is how it failed


def run(task: ImageTask, facts: Facts) -> Dict[str, DryRun]:
    """Return what a few steps of each variant took, by its name."""
    uuids = [gpu.uuid for gpu in facts.cards if gpu.uuid]
    return {cell.cell.variant: few_steps(task.image, cell, uuids) for cell in task.cells}


def few_steps(image: str, task: Task, uuids: List[str]) -> DryRun:
    """Run the cell's command for a few steps; what it leaves is removed."""
    with scratch_folder(image) as folder:
        events = folder / "events.jsonl"
        events.touch()
        output, state = folder / "output", folder / "state"
        moved = {task.cell.output_dir: output, task.cell.state_dir: state}
        words = [_moved(word, moved) for word in task.command]
        for each in moved.values():
            each.mkdir()
        environment = environment_of(task, events, {contract.OUTPUT: output, contract.STATE: state})
        environment[contract.STEPS] = str(STEPS)
        follower, watch = Follower(events, task.job.metrics), MemoryWatch(uuids)
        failure = out_of_gpu = None
        try:
            with ranks(task, words, environment) as started:

                def look() -> bool:
                    watch.look()
                    return started.look()

                limits = WATCH_SECONDS, LIMIT_SECONDS
                ended = command.run(started.command, task.job.directory, started.environment, look, *limits)
                follower.finish(ended.code)
                ended = started.judged(ended, follower.events.error)
            if ended.overdue:
                raise FaceoffError(f"did not end within {LIMIT_SECONDS:g} s")
            if follower.events.unsupported is None:
                cards = environment.get(VISIBLE), task.belongs.variant.parameters
                reasons.check(ended, follower.events.error, follower.problem, None, *cards)
        except reasons.OutOfGpuMemory as error:
            out_of_gpu = error.verdict
            failure = out_of_gpu.line
        except FaceoffError as error:
            failure = str(error).replace(str(events), "its events")
        events = follower.events
        estimate = events.estimate or NO_ESTIMATE
        taken = watch.peak_bytes or None, watch.gpu_bytes
        return DryRun(*taken, estimate, events.unsupported, failure, events.facts, out_of_gpu)


def _moved(word: str, moved: Dict[Path, Path]) -> str:
    for old, new in moved.items():
        word = word.replace(str(old.absolute()), str(new))
    return word


class MemoryWatch:
    """The most memory that this process's descendants were seen to hold together; shared pages count once."""

    def __init__(self, uuids: List[str]) -> None:
        self.peak_bytes = 0
        self._uuids = uuids
        self._asked_at = 0.0
        self._used_before = self._used_bytes()
        self.gpu_bytes = None if self._used_before is None else 0

    def look(self) -> None:
        """Note what the descendants hold now."""
        found = processes.family(os.getpid())[1:]
        self.peak_bytes = max(self.peak_bytes, sum(processes.memory_bytes(pid) for pid in found))
        if self.gpu_bytes is not None and time.monotonic() - self._asked_at > CARDS_SECONDS:
            self.gpu_bytes = max(self.gpu_bytes, (self._used_bytes() or 0) - (self._used_before or 0))

    def _used_bytes(self) -> Optional[int]:
        """Return the memory in use on all cards that the job may use: torch does not tell which of equals it takes."""
        if not self._uuids:
            return None
        self._asked_at = time.monotonic()
        states, _ = asked_driver(gpus.states)
        used = [state.memory_used_bytes for state in states if state.uuid in self._uuids]
        known = [each for each in used if each is not None]
        return sum(known) if known else None
