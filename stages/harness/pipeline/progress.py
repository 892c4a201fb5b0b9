"""How far a run of the pipeline is, from the lines that DVC prints: what goes on, and how long the rest will take."""

import contextlib
import dataclasses
import json
import re
import statistics
import time
from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from pathlib import Path

from stages import codec
from stages.harness import formatting
from stages.records import Cell, Result

CLOCK_STEP_SECONDS = 0.1  # more than a file's time may lag behind the clock
BEGINS = re.compile(r"Running stage '(.+)':")
IS_KEPT = re.compile(r"Stage '(.+)' didn't change, skipping")
DOES = {"train": "training", "evaluate": "evaluation"}  # stages that each cell has: what they do
OF_IMAGE = {"image": "making image {}", "profile": "profile of image {}"}  # stages that each image has
ONCE = {  # stages that there are once
    "machine": "a look at the machine",
    "job": "a look at the job",
    "download": "data",
    "compare": "comparison",
    "scorecard": "scorecard",
}


@dataclasses.dataclass(frozen=True)
class Earlier:
    """What a stage of a setting's cells was like in an earlier run."""

    seconds: float
    spans: int


def earlier(cells: Sequence[Cell]) -> dict[tuple[str, str], Earlier]:
    """Return by stage and setting what the first result that is there says, whatever it belongs to."""
    found: dict[tuple[str, str], Earlier] = {}
    for kind in DOES:
        for cell in cells:
            result = None if (kind, cell.setting) in found else codec.find(cell.result_path(kind), Result)
            if result and result.status == "ok":
                found[kind, cell.setting] = Earlier(result.wall_seconds, len(result.spans))
    return found


class Tracker:
    """Counts from DVC's lines how many stages are done, and estimates what is left.

    `there`: cells that had a result before. Of those only the ones are expected to be measured again that `again`
    names, which is asked as the first cell begins, and whose setting was measured again already: the cells of one
    setting depend on the same things. `before`: how long they took then.
    `evaluates`: whether the job has an evaluation; without one its stage does next to nothing, and is not told.
    """

    def __init__(
        self,
        cells: Sequence[Cell],
        there: Collection[Cell],
        before: Mapping[tuple[str, str], Earlier] | None = None,
        clock: Callable[[], float] = time.monotonic,
        evaluates: bool = True,
        again: Callable[[], Collection[Cell]] = tuple,
    ) -> None:
        self.cells = cells
        kinds = [kind for kind in DOES if evaluates or kind != "evaluate"]
        images, settings = ({getattr(cell, part) for cell in cells} for part in ("image", "setting"))
        self.total = len(ONCE) + len(OF_IMAGE) * len(images) + len(settings) + len(kinds) * len(cells)
        self.done = 0  # stages that ended or were kept
        self.words = ""  # what goes on, in a line; empty before the first stage and while one is only skipped
        self.running: tuple[str, Cell] | None = None
        self.passing = ""  # what the stage at hand last said of how far it is, in a line that is to be written over
        self._there, self._before, self._clock = {*there}, before or {}, clock
        self._again: Callable[[], Collection[Cell]] | None = again
        self._untold = DOES.keys() - kinds
        self._seconds: dict[str, dict[str, list[float]]] = {kind: {} for kind in DOES}  # that it took, by setting
        self._behind: dict[str, int] = dict.fromkeys(DOES, 0)  # cells that this kind of stage is past
        self._began = clock()
        self._is_running = False

    def hear(self, line: str) -> bool:
        """Take a line of the output. Whether it begins a stage."""
        begins, is_kept = BEGINS.fullmatch(line), IS_KEPT.fullmatch(line)
        found = begins or is_kept
        if found is None:
            return False
        self._end()
        self.words = self.passing = ""
        kind, _, name = found[1].partition("@")
        self._is_running, self._began = begins is not None and kind not in self._untold, self._clock()
        if kind in self._untold:
            return False
        if not self._is_running:
            self.done += 1
        cell = next((each for each in self.cells if each.matrix_name == name), None)
        if kind in DOES and cell is not None:
            if self._again and self._there:
                self._there -= {*self._again()}
                self._again = None
            self._behind[kind] = self.cells.index(cell) + (not self._is_running)
            if self._is_running:
                self.running = kind, cell
                place = f"cell {self._behind[kind] + 1} of {len(self.cells)}"
                self.words = f"{DOES[kind]}, {place}: {cell.setting}, repeat {cell.repeat}"
        elif self._is_running:
            self.words = OF_IMAGE[kind].format(name) if kind in OF_IMAGE else ONCE.get(kind, "")
        return self._is_running

    @property
    def place(self) -> str:
        """Say which stage goes on, of how many."""
        return f"{self.done + 1} of {self.total}"

    @property
    def elapsed(self) -> float:
        """How long the stage runs that goes on."""
        return self._clock() - self._began

    def time_left(self) -> str:
        """Write what trainings and evaluations still take, '' while nothing is known of it."""
        left = self._seconds_left()
        return f", about {duration(left)} left" if left else ""

    def expected_spans(self) -> int | None:
        """Return how many spans the stage at hand had in an earlier run."""
        kind, cell = self.running if self.running else ("", None)
        found = self._before.get((kind, cell.setting if cell else ""))
        return found.spans if found else None

    def _end(self) -> None:
        """Count the stage that was running as done."""
        self.done += self._is_running
        if self.running is not None:
            kind, cell = self.running
            self._seconds[kind].setdefault(cell.setting, []).append(self.elapsed)
            self._behind[kind] = self.cells.index(cell) + 1
        self.running = None

    def _seconds_left(self) -> float:
        """Estimate what training and evaluation still take, the stage at hand included; 0: nothing is known."""
        run_again = {*self._seconds["train"], *self._seconds["evaluate"]}
        if self.running:
            run_again.add(self.running[1].setting)
        left = sum(self._of_kind(kind, run_again) for kind in DOES)
        if self.running is None:
            return left
        kind, cell = self.running
        return left - min(self.elapsed, self._expected(kind, cell))

    def _expected(self, kind: str, cell: Cell) -> float:
        """Return what the stage will take, as others of its setting did, or else of other settings; 0: not known."""
        known = self._known(kind)
        return known.get(cell.setting, statistics.fmean(known.values())) if known else 0.0

    def _known(self, kind: str) -> dict[str, float]:
        """Return what this kind of stage takes, by setting."""
        before = {setting: each.seconds for (of_kind, setting), each in self._before.items() if of_kind == kind}
        return before | {setting: statistics.fmean(each) for setting, each in self._seconds[kind].items()}

    def _of_kind(self, kind: str, run_again: Collection[str]) -> float:
        left = self.cells[self._behind[kind] :]
        expected = (each for each in left if each not in self._there or each.setting in run_again)
        return sum(self._expected(kind, each) for each in expected)


class Spans:
    """The spans that a running cell has told, read from its events as they come; only while somebody watches."""

    def __init__(self) -> None:
        self._stage, self._path = "", Path()
        self._bytes, self._count, self._last, self._since = 0, 0, "", 0.0
        self._in_all = dict[str, int]()  # by stage: how many the last one had that ended

    def words(self, stage: str, cell: Cell, expected: int | None) -> str:
        """Say how many there are, '' before the first. `expected`: by an earlier run."""
        if (stage, cell.events_path) != (self._stage, self._path):
            self._in_all[self._stage] = self._count
            self._stage, self._path, self._bytes, self._count = stage, cell.events_path, 0, 0
            self._since = time.time() - CLOCK_STEP_SECONDS
        expected = expected or self._in_all.get(stage)
        for event in self._new():
            if "resumed_after_spans" in event:
                self._count, self._last = int(str(event["resumed_after_spans"])), "by an earlier attempt"
            elif "span" in event:
                self._count, self._last = self._count + 1, str(event["span"])
        if not self._count:
            return ""
        is_known = expected is not None and expected >= self._count
        there = f"{self._count} of {expected} spans" if is_known else formatting.count(self._count, "span")
        return f"{there} ({self._last})"

    def _new(self) -> Iterator[dict[str, object]]:
        """Yield what whole lines tell that have come since; of a file that was begun anew, all."""
        try:
            status = self._path.stat()
            size = status.st_size
            if status.st_mtime < self._since:  # what the stage before has left
                return
            if size < self._bytes:
                self._bytes = self._count = 0
            if size == self._bytes:
                return
            with self._path.open("rb") as file:
                file.seek(self._bytes)
                new = file.read(size - self._bytes)
        except OSError:
            return
        whole = new[: new.rfind(b"\n") + 1]
        self._bytes += len(whole)
        for line in whole.splitlines():
            with contextlib.suppress(ValueError):  # what is wrong with it, the cell's own supervisor says
                event = json.loads(line)
                if isinstance(event, dict):
                    yield event


def duration(seconds: float) -> str:
    """Write about how long: '42 s', '3:10', '2 h 05 min'."""
    whole = round(seconds)
    if whole < 60:
        return f"{whole} s"
    return formatting.seconds(whole) if whole < 3600 else f"{whole // 3600} h {whole % 3600 // 60:02d} min"
