"""Makes runs of a process's lines: which pass of a loader was training, which validation, and the training's steps.

Frameworks fetch ahead: the work on a batch may be seen after the question for the next, the last work after the
loader's end. So work belongs to a run, never to the batch that was asked for last.

Runs inside images: Python 3.7 syntax, standard library only.
"""

import bisect
import dataclasses
import statistics
from typing import Dict, List, Optional, Tuple

from stages.workload.observer.lines import Loader, Process, Row

AHEAD = 2  # batches that may have been fetched before any work, at the loader's end, and still are to be worked on


@dataclasses.dataclass(frozen=True)
class Step:
    """The time from the end of an optimiser's last step on one batch to that on the next one."""

    seconds: float  # less what was spent in validations
    wait_seconds: float  # for the loader; 0 where a thread of the script's reads it
    samples: Optional[int]
    compiled: bool  # torch.compile made a graph in it: no steady step


@dataclasses.dataclass
class Run:
    """One pass of a loader, or the work between two of them."""

    rows: List[Row] = dataclasses.field(default_factory=list)
    fetched: List[Row] = dataclasses.field(default_factory=list)
    loader: Optional[Loader] = None
    end: Optional[Row] = None
    companions: bool = False  # other loaders were read beside it
    by_steps: bool = True  # else by backward passes: no optimiser's step was seen in the process
    pauses: List[Tuple[float, float]] = dataclasses.field(default_factory=list)  # validations within it
    unseen: float = 0.0  # of a validation, whose last batch no further question ends: what its work is taken to last

    @property
    def batches(self) -> List[Row]:
        """The run's rows that brought a batch."""
        return [row for row in self.rows if row.run is not None] + self.fetched

    @property
    def training(self) -> bool:
        """Whether it was worked on."""
        return any(self.marked(row) is not None for row in self.rows)

    @property
    def validation(self) -> bool:
        """Whether it was read and not worked on. A single batch is a first look at an example."""
        return not self.training and (self.end is not None or len(self.batches) > 1)

    @property
    def threaded(self) -> bool:
        """Whether the script reads its loader in another thread than it trains in."""
        return bool(self.fetched) or not all(row.thread for row in self.rows)

    @property
    def began(self) -> float:
        """The time at which the run began, with its workers' start."""
        if self.loader is not None:
            return self.loader.began
        first = self.rows[0]
        if first.asked is not None:
            return first.asked
        return min((each for each in (first.backward_at, first.step_at) if each is not None), default=0.0)

    @property
    def begin_is_known(self) -> bool:
        """Whether it is that of the first step; else that is where the first work that was seen ended."""
        return self.loader is not None or (bool(self.rows) and self.rows[0].asked is not None)

    @property
    def ended(self) -> float:
        """The time at which the run ended, with its workers' end."""
        if self.end is not None and self.end.asked is not None:
            asked = self.end.asked + self.end.wait
        else:
            asked = (self.rows[-1].asked or 0.0) + self.rows[-1].wait if self.rows else self.began
        worked = next((row.worked_at for row in reversed(self.rows) if row.worked_at is not None), None)
        return max(asked, worked) if worked is not None and self.training else asked + self.unseen

    @property
    def seconds(self) -> float:
        """The run's time, less validations within it."""
        return self.ended - self.began - within(self.pauses, self.began, self.ended)

    @property
    def wait_seconds(self) -> Optional[float]:
        """The time in the loader, with its workers' start and end; None where the training's thread does not read."""
        if self.threaded or self.loader is None:
            return None
        return self.loader.seconds + sum(row.wait for row in self.rows) + (self.end.wait if self.end else 0.0)

    @property
    def work_seconds(self) -> float:
        """The time from each batch's arrival to the last work before the next question, on the host's clock."""
        total, last = 0.0, self.began
        for row in self.rows:
            began = row.asked + row.wait if row.asked is not None else last
            if self.end is not None and row.asked is None and last <= (self.end.asked or 0.0) < (row.worked_at or 0.0):
                began = (self.end.asked or 0.0) + self.end.wait  # on a batch that was fetched ahead
            ended = row.worked_at
            if ended is not None:
                total += ended - began - within(self.pauses, began, ended)
            last = ended or began
        return total

    @property
    def samples(self) -> Optional[int]:
        """The samples of its batches; None where one does not tell."""
        sizes = self._sizes()
        return sum(size for size in sizes if size is not None) if sizes and None not in sizes else None

    def marked(self, row: Row) -> Optional[float]:
        """Return the end of the row's last optimiser step, or of its backward pass where no optimiser is seen."""
        return row.step_at if self.by_steps else row.backward_at

    def _sizes(self) -> List[Optional[int]]:
        """Return each batch's number of samples. A tensor's first dimension may be another: the loader knows."""
        batches, loader = self.batches, self.loader
        size = loader.batch_size if loader is not None else None
        if loader is None or size is None:
            return [row.samples for row in batches]
        if loader.length is None:  # then each batch was looked at
            return [row.samples if batches[0].samples == size else size for row in batches]
        sizes: List[Optional[int]] = [size for _ in batches]
        rest = loader.length % size  # in the last batch, be it that its end was asked for or (Lightning) not
        if rest and not loader.drop_last and size * (len(sizes) - 1) == loader.length - rest:
            sizes[-1] = rest
        return sizes

    def steps(self) -> List[Step]:
        """Return the steps of a training."""
        if not self.training:
            return []
        sizes, used = self._sizes(), 0
        rows, threaded = self.rows, self.threaded
        one_each = sum(row.backwards for row in rows) == len(sizes)
        found: List[_Open] = []
        fresh = False  # whether a batch came since the last step
        step = _Open(self.began, self.loader.seconds if self.loader else 0.0)
        for row in rows:
            step.wait += 0.0 if threaded else row.wait
            step.graphs += row.graphs
            fresh = fresh or row.run is not None
            step.batches += row.backwards if one_each else bool(row.backwards or row.steps)
            at = self.marked(row)
            if at is None:
                continue
            if found and not fresh and not threaded and self._same_batch(at):
                found[-1].ended, step = at, _Open(at)
                continue
            step.ended = at
            step.sizes = sizes[used : used + step.batches]
            used += step.batches
            found.append(step)
            step, fresh = _Open(at), False
        return [each.closed(self.pauses) for each in found]

    def _same_batch(self, at: float) -> bool:
        """Whether a step at that time, with no batch since the last one, is a further one on its batch: a GAN's."""
        return self.loader is not None and (self.end is None or at < (self.end.asked or 0.0))


@dataclasses.dataclass
class _Open:
    """A step in the making."""

    began: float
    wait: float = 0.0
    batches: int = 0
    graphs: int = 0
    ended: float = 0.0
    sizes: List[Optional[int]] = dataclasses.field(default_factory=list)

    def closed(self, pauses: List[Tuple[float, float]]) -> Step:
        known = self.sizes and None not in self.sizes
        return Step(
            seconds=self.ended - self.began - within(pauses, self.began, self.ended),
            wait_seconds=self.wait,
            samples=sum(size for size in self.sizes if size is not None) if known else None,
            compiled=self.graphs > 0,
        )


def runs_of(process: Process) -> List[Run]:
    """Return a process's runs, in their order."""
    by_steps = any(row.steps for row in process.rows)
    keys = _attributed(process, by_steps)
    _join_loaders(process.rows, keys, by_steps)
    found: Dict[int, Run] = {}
    for row, (key, beside) in zip(process.rows, keys):
        run = found.get(key)
        if run is None:
            run = found[key] = Run(loader=process.loaders.get(key), end=process.ends.get(key), by_steps=by_steps)
        if beside:
            run.companions = True
            row = dataclasses.replace(row, run=None)
        (run.fetched if row.fetched else run.rows).append(row)
    runs = [_without_loader(run) for run in found.values()]
    times = sorted(each for row in process.rows for each in (row.asked, row.worked_at) if each is not None)
    for run in runs:
        if run.validation:
            run.unseen = _unseen(run, times)
    validations = [(run.began, run.ended) for run in runs if run.validation]
    for run in runs:
        if run.training:
            began, ended = run.began, run.ended
            run.pauses = [pause for pause in validations if pause[0] < ended and pause[1] > began]
    return runs


def _unseen(run: Run, times: List[float]) -> float:
    """Return what the work on a validation's last batch took where nothing shows its end: as long as is usual.

    So it is where the last question is for the last batch (Lightning), or the loader's end comes before the work on
    it (Accelerate, which fetches ahead: the first batch, then, seems to need no work). At most until the next event.
    """
    asked = [row.asked for row in run.rows if row.asked is not None] + ([run.end.asked] if run.end else [])
    got = [row.asked + row.wait for row in run.rows if row.asked is not None]
    works = [after - before for before, after in zip(got, asked[1:]) if after is not None]
    if run.end is not None:
        if len(works) < 3 or works[0] > statistics.median(works[1:]) / 10:
            return 0.0
        works = works[1:]
    if run.threaded or not works:
        return 0.0
    following = times[bisect.bisect_right(times, run.ended) :][:1]
    return min([statistics.median(works), *[at - run.ended for at in following]])


def _attributed(process: Process, by_steps: bool) -> List[Tuple[int, bool]]:
    """Return, for each row, the number of its run, negative without a loader, and that it is no companion's."""
    keys: List[Tuple[int, bool]] = []
    rows: Dict[int, List[Row]] = {}
    threads = set()  # runs that a thread of the script's fetches
    current = 0
    for row in process.rows:
        if row.fetched:
            threads.add(row.run)
            key = row.run or 0
            if key not in rows:
                current = key
            keys.append((key, False))
            continue
        if row.run is not None:
            current = row.run
        elif not current or not (current in threads or _goes_on(row, rows[current], process.ends.get(current))):
            current = min(current, 0) or -len(rows) - 1
        rows.setdefault(current, []).append(row)
        keys.append((current, False))
    return keys


def _goes_on(row: Row, rows: List[Row], end: Optional[Row]) -> bool:
    """Whether work without a batch of its own is on one that was taken before."""
    if rows[0].run is None or end is None or end.asked is None or (row.worked_at or 0.0) < end.asked:
        return True
    taken = sum(each.run is not None for each in rows)
    worked = sum(each.backwards for each in rows)
    return taken > worked and (worked > 0 or taken <= AHEAD)


def _join_loaders(rows: List[Row], keys: List[Tuple[int, bool]], by_steps: bool) -> None:
    """Make one run of loaders that are read in turns: between the batches of a validation nobody trains.

    Work is seen on the loader that was asked last. The run is that of the one that was asked first.
    """
    places: Dict[int, List[int]] = {}  # of each run's rows
    for index, (key, _) in enumerate(keys):
        places.setdefault(key, []).append(index)
    worked = [index for index, row in enumerate(rows) if (row.steps if by_steps else row.backwards)]
    working = {keys[index][0] for index in worked}
    idle = {key for key in places if key not in working}
    for key in idle:
        first, last = places[key][0], places[key][-1]
        within = bisect.bisect_left(worked, last) - bisect.bisect_right(worked, first)
        following = worked[bisect.bisect_right(worked, last) :][:1]
        if 0 < within < 2 * len(places[key]):  # a batch for each step
            end = following[0] if following else last
            _move(keys, [index for index in range(first, end + 1) if keys[index][0] in working], key)
        elif within:  # now and then one
            _move(keys, places[key], keys[(following or worked[-1:])[0]][0])
    main, until = 0, -1
    for key, at in sorted(places.items(), key=lambda each: each[1][0]):
        if key in working and at[0] < until:  # a GAN that takes a batch for each of its halves
            _move(keys, [index for index in at if keys[index][0] == key], main)
        elif key in working:
            main, until = key, at[-1]


def _move(keys: List[Tuple[int, bool]], places: List[int], key: int) -> None:
    for index in places:
        if keys[index][0] != key:
            keys[index] = (key, True)


def _without_loader(run: Run) -> Run:
    """Return the run; one that took one batch and went on and on with it is a loop without a loader."""
    taken = [row for row in run.rows if row.run is not None]
    further = [row for row in run.rows if row.run is None and run.marked(row) is not None]
    if run.loader is None or run.end is not None or run.fetched or len(taken) != 1 or len(further) < 3:
        return run
    rows = run.rows if run.marked(run.rows[0]) is not None else run.rows[1:]
    return Run(rows=[dataclasses.replace(row, run=None, asked=None) for row in rows], by_steps=run.by_steps)


def within(pauses: List[Tuple[float, float]], began: float, ended: float) -> float:
    """Return how much of a time pauses took."""
    return sum(max(0.0, min(ended, last) - max(began, first)) for first, last in pauses)
