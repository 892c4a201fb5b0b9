"""A training's times by the clock of its GPU, of marks in the queue of work: what it waited for, copied and computed.

The two clocks are laid over each other by what is certain: the GPU passes no mark before the host has put it there, nor
before a time at which it was seen not to have, and not after one at which it was seen to have. What an idle GPU passes
at once ties them most closely; in between, they drift apart by DRIFT at most.

Runs inside images: Python 3.7 syntax, standard library only.
"""

import bisect
import dataclasses
from typing import List, NamedTuple, Optional, Sequence, Tuple

from stages.contract import Split
from stages.workload.observer.lines import Loader, Process, Row
from stages.workload.observer.runs import Run, within

DRIFT = 2e-4  # seconds a second between the two clocks, at most
ROUNDING = 2.5e-6  # of times in the file
BEHIND = 0.1  # of a stretch: a GPU with more than that still to do at its end is not waiting for launches
MAY_BE_BEHIND = 0.3  # of a stretch: with less than that for sure, it is
IN_ORDER = 1e-9  # seconds between marks, at least, so that nothing changes places
NOTHING = 1e-4  # seconds to do that are as good as none
KNOWN = 0.75  # of compute, at least, for its launches to be told
MARKED = 0.95  # of a training's steps, for its times to be the GPU's

ASKED, GOT, GOT_ON_DEVICE, CALLED, FORWARD, END = "a", "g", "d", "c", "f", "e"


class Passed(NamedTuple):
    """A mark that the GPU has passed."""

    kind: str
    at: float  # when the host put it there
    on: float  # when the GPU passed it, by the host's clock
    least: float  # seconds by which it was behind the host
    most: float


class DeviceClock:
    """Turns times of the host's into times at which the GPU had done all that was queued until then."""

    def __init__(self, marks: Sequence[Passed]) -> None:
        self.marks = marks
        self._at = [mark.at for mark in marks]
        self._on = [mark.on for mark in marks]

    @property
    def began(self) -> float:
        """The first mark's time."""
        return self.marks[0].on

    def time(self, at: float) -> float:
        """Return when the GPU had done what was queued at that time; where nothing marks it, as of the mark before."""
        index = self._index(at)
        if index is not None:
            return self.marks[index].on
        before = bisect.bisect_right(self._at, at)
        return max(at, self.marks[before - 1].on) if before else at

    def knows(self, at: float) -> bool:
        """Whether there is a mark of that time."""
        return self._index(at) is not None

    def between(self, began: float, ended: float) -> Sequence[Passed]:
        """Return the marks that were passed after the one time and until the other, by the GPU."""
        return self.marks[bisect.bisect_right(self._on, began) : bisect.bisect_right(self._on, ended + IN_ORDER / 2)]

    def _index(self, at: float) -> Optional[int]:
        index = bisect.bisect_left(self._at, at - ROUNDING)
        return index if index < len(self._at) and self._at[index] <= at + ROUNDING else None


def device_clock(process: Process) -> Optional[DeviceClock]:
    """Return the clock of the process's GPU; None where its queue has no marks."""
    marks = process.marks
    if len(marks) < 2:
        return None
    device, total = [], 0.0
    for mark in marks:
        total += mark.elapsed or 0.0
        device.append(total)
    at_least = _certain([max(mark.at, mark.late or mark.at) - on for mark, on in zip(marks, device)], device)
    at_most = [-each for each in _certain([on - mark.passed for mark, on in zip(marks, device)], device)]
    found: List[Passed] = []
    latest = 0.0
    for mark, on, low, high in zip(marks, device, at_least, at_most):
        low = min(low, high)  # contradict each other where the clocks drift more
        latest = max(latest + IN_ORDER, on + low)
        found.append(Passed(mark.kind, mark.at, latest, on + low - mark.at, on + high - mark.at))
    return DeviceClock(found)


def _certain(bounds: Sequence[float], times: Sequence[float]) -> List[float]:
    """Return, for each time, the highest lower bound that all of them leave of what changes by DRIFT at most."""
    found = [*bounds]
    for order in (range(1, len(found)), range(len(found) - 2, -1, -1)):
        for index in order:
            other = index - order.step
            found[index] = max(found[index], found[other] - DRIFT * abs(times[index] - times[other]))
    return found


def on_device(process: Process, clock: DeviceClock) -> Process:
    """Return the process with all its times by the GPU's clock."""
    return dataclasses.replace(
        process,
        rows=[_row(row, clock) for row in process.rows],
        ends={run: _row(end, clock) for run, end in process.ends.items()},
        loaders={run: _loader(loader, clock) for run, loader in process.loaders.items()},
    )


def _row(row: Row, clock: DeviceClock) -> Row:
    asked = None if row.asked is None else clock.time(row.asked)
    return dataclasses.replace(
        row,
        asked=asked,
        wait=0.0 if row.asked is None or asked is None else clock.time(row.asked + row.wait) - asked,
        backward_at=None if row.backward_at is None else clock.time(row.backward_at),
        step_at=None if row.step_at is None else clock.time(row.step_at),
        marked=all(clock.knows(each) for each in (row.backward_at, row.step_at) if each is not None),
    )


def _loader(loader: Loader, clock: DeviceClock) -> Loader:
    began = clock.time(loader.began)
    return dataclasses.replace(loader, began=began, seconds=clock.time(loader.began + loader.seconds) - began)


def is_marked(run: Run, clock: DeviceClock) -> bool:
    """Whether the run's times are the GPU's: until the first backward pass none is, in which nothing is queued yet."""
    worked = [row for row in run.rows if row.worked_at is not None and row.worked_at > clock.began]
    return bool(worked) and sum(row.marked for row in worked) >= MARKED * len(worked)


class _Parts:
    """Sums of a run's stretches, each of which ends at a mark."""

    def __init__(self) -> None:
        self.wait = self.other = self.copied = self.compute = 0.0
        self.called = 0.0  # of compute: from a model's call to the end of the backward pass
        self.uncalled = 0.0  # of compute: the same with the copies before it, which are not told apart
        self.launching = self.undecided = 0.0
        self.copies_show = False
        self._batch = GOT  # what the last mark of the batch's arrival was
        self._forward = 0.0

    def take(self, mark: Passed, seconds: float, is_judged: bool) -> None:
        """Add the stretch that ends at the mark."""
        if mark.kind in (GOT, GOT_ON_DEVICE, END):
            self.wait += seconds
        elif mark.kind == ASKED:
            self.other += seconds
        elif mark.kind == CALLED:
            self.copied += seconds
        else:
            self._compute(mark, seconds, is_judged)
        if mark.kind != ASKED:
            self._batch = mark.kind
        self.copies_show = self.copies_show or mark.kind in (CALLED, GOT_ON_DEVICE)

    def _compute(self, mark: Passed, seconds: float, is_judged: bool) -> None:
        self.compute += seconds
        if self._batch in (CALLED, GOT_ON_DEVICE):
            self.called += seconds
        elif self._batch in (GOT, FORWARD):
            self.uncalled += seconds
        if mark.kind == FORWARD:
            self._forward = seconds
        elif is_judged:
            before = self._forward if self._batch == FORWARD else 0.0
            # What is not told apart from copies launches no more than the backward pass does, and says nothing alone.
            self._judge(mark, seconds, min(before, seconds), self._batch == GOT)

    def _judge(self, mark: Passed, seconds: float, before: float, may_be_copies: bool) -> None:
        """Say whether the GPU had nothing left to do at the end of a stretch: then it waits for launches."""
        if mark.least > BEHIND * seconds + NOTHING / 2:
            return
        if not may_be_copies and mark.most <= max(MAY_BE_BEHIND * seconds, NOTHING):
            self.launching += seconds + before
        else:
            self.undecided += seconds + before

    def split(self) -> Split:
        """Return the sums. Of batches whose copy is not told it is as large as of the others."""
        whole = self.copied + self.called
        guessed = self.uncalled * self.copied / whole if whole else 0.0
        compute = self.compute - guessed
        is_known = self.undecided <= (1 - KNOWN) * self.compute
        return Split(
            wait_seconds=self.wait,
            copy_seconds=self.copied + guessed,
            compute_seconds=compute,
            other_seconds=self.other,
            launch_seconds=min(self.launching, compute) if is_known else None,
        )


def split_on_device(run: Run, clock: DeviceClock) -> Tuple[Split, bool]:
    """Return where the GPU's time went, and whether its copies are told."""
    parts = _Parts()
    others = [_period(row) for row in run.rows if row.graphs or _is_first(row, clock)]
    parts.wait = run.loader.seconds if run.loader else 0.0
    last = run.began + parts.wait
    for mark in _moments(run, clock):
        seconds = mark.on - last - within(run.pauses, last, mark.on)
        parts.take(mark, seconds, not any(began < mark.on <= ended for began, ended in others))
        last = mark.on
    return parts.split(), parts.copies_show


def _moments(run: Run, clock: DeviceClock) -> List[Passed]:
    """Return the run's marks, and before the first one its rows' moments as if they had been marked."""
    first: List[Passed] = []
    for row in run.rows:
        if row.asked is not None and _is_first(row, clock):
            first.append(Passed(ASKED, 0.0, row.asked, 0.0, 0.0))
            first.append(Passed(GOT, 0.0, row.asked + row.wait, 0.0, 0.0))
    return [*first, *clock.between(max(run.began, first[-1].on if first else run.began), run.ended)]


def _is_first(row: Row, clock: DeviceClock) -> bool:
    """Whether no mark was made before it: libraries start in it."""
    return row.asked is not None and row.asked < clock.began


def _period(row: Row) -> Tuple[float, float]:
    worked = row.worked_at or 0.0
    return (worked if row.asked is None else row.asked), worked
