"""One command of a cell, with its events, the CPUs' load and the conditions; what was seen is kept as it goes.

Runs inside images: Python 3.7 syntax, standard library only.
"""

import dataclasses
import datetime
import json
import os
import sys
import time
from pathlib import Path
from typing import Dict, List, NamedTuple, Optional, Sequence, Tuple

from stages import contract
from stages.codec import write, write_text
from stages.contract import Events, Span
from stages.records import DATA_DIR, Conditions, Load, Scalar, Task, cell_document, data_dir
from stages.visible_cards import VISIBLE
from stages.workload import job_cards
from stages.workload.probes import conditions, files, limits, load
from stages.workload.supervisor import observation, reasons
from stages.workload.supervisor.command import Ended, run
from stages.workload.supervisor.follower import Follower
from stages.workload.supervisor.progress import Arrival, Part, Progress, Taken
from stages.workload.supervisor.ranks import ranks
from stages.workload.supervisor.sampling import Sampler, Until

KEEP_SECONDS = 10.0  # between two notes of a training that is alive and has not reported a span yet
KEEP_SHARE = 0.02  # of the time that notes may take: a job with a span for each step has long ones


def now() -> str:
    """Return the time as records have it: UTC, ISO 8601."""
    return datetime.datetime.now(datetime.timezone.utc).isoformat(timespec="seconds")


class Recorded(NamedTuple):
    """A command that has ended, and what was seen."""

    ended: Ended
    events: Events
    problem: Optional[str]  # what is wrong with its events
    load: Load
    conditions: Tuple[Conditions, Conditions]  # before and after
    shm_bytes: Optional[int]  # of /dev/shm, free at the least
    visible: Optional[str]  # of its environment, CUDA_VISIBLE_DEVICES
    gpu_uuids: Tuple[str, ...]  # of the cards that the command could see
    card_warnings: Tuple[str, ...]  # of cards that it should have seen, or that went while it ran
    taken: Taken  # what the cards took and did, by its own spans
    sampler: Optional[Sampler] = None  # to ask for more of that

    def taken_in(self, seen: observation.Seen) -> Taken:
        """Return what the cards took and did, by spans that were seen from outside too."""
        if self.sampler is None or not seen.times:
            return self.taken
        now = time.monotonic() - time.time()
        found = []
        for span, times in zip(seen.spans, seen.times):
            its = self.sampler.span(span.name, *((began + now, ended + now) for began, ended in times))
            found.append(Arrival.packed(span, self.taken.until, *its))
        return self.taken._replace(arrivals=(*self.taken.arrivals, *found))

    def check(self, parameters: Dict[str, Scalar]) -> None:
        """Raise FaceoffError unless the command ended well, or says that it can't be done here.

        `parameters`: of the variant.
        """
        if self.events.unsupported is not None and self.ended.code >= 0 and self.ended.stopped_by is None:
            return
        cards = self.visible, parameters, self.conditions[0].gpus
        reasons.check(self.ended, self.events.error, self.problem, self.shm_bytes, *cards)


class Recorder:
    """Used for one `run`. `earlier`: of a training, attempts whose progress this one adds to."""

    def __init__(self, task: Task, earlier: Optional[Progress], began: float, started_at: str) -> None:
        self._task, self._earlier, self._began, self._started_at = task, earlier, began, started_at
        self._path = task.cell.events_path
        if not self._path.exists() or self._path.stat().st_size:  # untouched where the host has just made it
            write_text(self._path, "")
        self._touched = _touched(self._path)
        self._follower = Follower(self._path, task.job.metrics)
        self._arrivals: List[Arrival] = []
        self._moments: List[Tuple[float, float]] = []  # begin and end of each of their spans
        self._read = 0  # of them, so many lie before the last look at the cards
        self._heartbeat: Optional[Until] = None
        self._kept_at = self._keep_seconds = 0.0
        self._unkept = False  # spans have come since
        self._problem_is_shown = False
        self._observed_at = 0  # when the observer last noted something
        self._shm_bytes = limits.shm_free_bytes(files.ROOT)

    def run(self, folders: Dict[str, Path]) -> Recorded:
        """Run the command with these folders, by the variables that name them."""
        for folder in folders.values():
            folder.mkdir(parents=True, exist_ok=True)
        environment = {**environment_of(self._task, self._path, folders), **observation.variables(self._task)}
        visible = environment.get(VISIBLE)
        self._before = conditions.look(DATA_DIR, sample_seconds=0, visible=visible)
        gpu_uuids = job_cards.seen(visible, self._before.gpus, self._task.gpu_uuids)
        self._sampler = Sampler(self._before, gpu_uuids)
        self._meter = load.Meter()
        self._keep()
        sys.stdout.flush()
        with ranks(self._task, self._task.command, environment) as started:

            def look() -> bool:
                self._look()
                return started.look()

            begins_at = time.monotonic()
            self._sampler.begin(begins_at)
            ended = run(started.command, self._task.job.directory, started.environment, look)
            taken = self._meter.read()
            self._sampler.end(begins_at + ended.seconds)
            self._follower.finish(ended.code)
            ended = started.judged(ended, self._follower.events.error)
        self._take_spans(taken)
        self._keep(ended=True)
        moments = self._before, conditions.look(DATA_DIR, sample_seconds=0, visible=visible)
        said = job_cards.warnings(self._task, visible, *moments)
        follower = self._follower
        of_cards = Taken(self._sampler.sampled, self._until(taken), tuple(self._arrivals)), self._sampler
        seen = visible, gpu_uuids, said, *of_cards
        return Recorded(ended, follower.events, follower.problem, taken, moments, self._shm_bytes, *seen)

    def _look(self) -> None:
        self._sampler.look(time.monotonic())
        free = limits.shm_free_bytes(files.ROOT)
        if free is not None and self._shm_bytes is not None:
            self._shm_bytes = min(free, self._shm_bytes)
        touched = _touched(self._path)
        if touched != self._touched:
            self._touched = touched
            self._take_events()
        observed_at = observation.changed_at(self._task)
        if observed_at > self._observed_at:  # the host looks for signs of life in the file; its spans' time was read
            self._observed_at = observed_at
            self._path.touch()
        self._unkept |= self._read_cards()
        since = time.perf_counter() - self._kept_at
        alive = not self._arrivals and self._heartbeat is not None
        if (self._unkept and since > self._keep_seconds / KEEP_SHARE) or (alive and since > KEEP_SECONDS):
            self._keep()

    def _take_events(self) -> None:
        self._follower.look()
        if self._follower.problem is not None and not self._problem_is_shown:
            self._problem_is_shown = True
            print(f"faceoff: {self._follower.problem}: the cell will fail", file=sys.stderr)
        self._unkept |= self._take_spans(None)
        if not self._arrivals:
            self._heartbeat = self._until(self._meter.read())

    def _take_spans(self, taken: Optional[Load]) -> bool:
        """Note spans that have come, with what was counted until now; whether there were any."""
        new = self._follower.events.spans[len(self._arrivals) :]
        if new:
            until_now = self._until(taken or self._meter.read())
            self._arrivals += [Arrival.packed(span, until_now) for span in new]
            self._moments += _moments(new, self._written_at())
        return self._read_cards() or bool(new)

    def _read_cards(self) -> bool:
        """Note what the cards did in spans that lie before the last look at them; whether there were any."""
        first = self._read
        for index in range(first, len(self._arrivals)):
            arrival, (began, ended) = self._arrivals[index], self._moments[index]
            if not self._sampler.has_read(ended):
                break
            joules, cards = self._sampler.span(arrival.span.name, (began, ended))
            self._arrivals[index] = dataclasses.replace(arrival, joules=joules, cards=cards)
            self._read += 1
        return self._read > first

    def _until(self, taken: Load) -> Until:
        return Until(taken, self._sampler.joules)

    def _written_at(self) -> float:
        """Return when the file of events was last written to, by time.monotonic."""
        now = time.monotonic()
        try:
            return min(now, now - time.time() + self._path.stat().st_mtime)
        except OSError:
            return now

    def _keep(self, ended: bool = False) -> None:
        if self._earlier is None:
            return
        self._kept_at = time.perf_counter()
        after_spans = self._follower.events.resumed_after_spans
        part = Part(
            after_spans=after_spans or 0,
            resumed=after_spans is not None,
            ended=ended,
            arrivals=tuple(self._arrivals),
            heartbeat=self._heartbeat,
            conditions=self._before,
            sampled=self._sampler.sampled,
            started_at=self._started_at,
            wall_seconds=self._kept_at - self._began,
        )
        write(self._task.cell.progress_path, dataclasses.replace(self._earlier, parts=(*self._earlier.parts, part)))
        self._unkept, self._keep_seconds = False, time.perf_counter() - self._kept_at


def environment_of(task: Task, events: Path, folders: Dict[str, Path]) -> Dict[str, str]:
    """Return the variables that the command gets: this process's own, the variant's, and the seam's."""
    seam = {
        contract.EVENTS: str(events.absolute()),
        contract.CELL: json.dumps(cell_document(task)),
        contract.DATA: str(data_dir(task.job.name).absolute()),
        **{name: str(folder.absolute()) for name, folder in folders.items()},
    }
    inherited = {name: value for name, value in os.environ.items() if not name.startswith("FACEOFF_")}
    return job_cards.narrowed({**inherited, **task.belongs.variant.env, **seam}, task.belongs.variant)


def _moments(spans: Sequence[Span], ended: float) -> List[Tuple[float, float]]:
    """Return begin and end of each span, of which the last ended then, and each when the next began."""
    found = []
    for span in reversed(spans):
        found.append((ended - span.seconds, ended))
        ended -= span.seconds
    return found[::-1]


def _touched(path: Path) -> Tuple[int, int]:
    """Return what tells whether the file was written to, or just touched, since."""
    try:
        status = path.stat()
    except OSError:
        return 0, 0
    return status.st_mtime_ns, status.st_size
