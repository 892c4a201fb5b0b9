"""How far a run of the pipeline is, from the lines that DVC prints: what goes on, and how long the rest will take."""

import re
import statistics
import time
from collections.abc import Callable, Collection, Mapping, Sequence

from stages.harness import formatting
from stages.records import Cell

BEGINS = re.compile(r"Running stage '(.+)':")
IS_KEPT = re.compile(r"Stage '(.+)' didn't change, skipping")
DOES = {"train": "training", "evaluate": "evaluation"}  # stages that each cell has: what they do
OF_IMAGE = {"image": "making image {}", "profile": "profile of image {}"}  # stages that each image has
OF_SETTING = "setting"  # the stage that each setting has; it takes no time
ONCE = {  # stages that there are once
    "machine": "a look at the machine",
    "job": "a look at the job",
    "download": "data",
    "compare": "comparison",
    "scorecard": "scorecard",
}


class Tracker:
    """Counts from DVC's lines how many stages are done, and estimates what is left.

    `there`: cells that had a result before. Of those only the ones are expected to be measured again whose setting was
    measured again already: the cells of one setting depend on the same things.
    """

    def __init__(
        self,
        cells: Sequence[Cell],
        there: Collection[Cell],
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self.cells = cells
        images, settings = ({getattr(cell, part) for cell in cells} for part in ("image", "setting"))
        self.total = len(ONCE) + len(OF_IMAGE) * len(images) + len(settings) + len(DOES) * len(cells)
        self.done = 0  # stages that ended or were kept
        self.words = ""  # what goes on, in a line; empty before the first stage and while one is only skipped
        self._there = there
        self._clock = clock
        self._seconds: dict[str, dict[str, list[float]]] = {kind: {} for kind in DOES}  # that it took, by setting
        self._behind: dict[str, int] = dict.fromkeys(DOES, 0)  # cells that this kind of stage is past
        self._running: tuple[str, Cell, float] | None = None
        self._is_running = False

    def hear(self, line: str) -> bool:
        """Take a line of the output. Whether it begins a stage."""
        begins, is_kept = BEGINS.fullmatch(line), IS_KEPT.fullmatch(line)
        found = begins or is_kept
        if found is None:
            return False
        self._end()
        self.words, self._is_running = "", begins is not None
        if not self._is_running:
            self.done += 1
        kind, _, name = found[1].partition("@")
        cell = next((each for each in self.cells if each.matrix_name == name), None)
        if kind in DOES and cell is not None:
            self._behind[kind] = self.cells.index(cell) + (not self._is_running)
            if self._is_running:
                self._running = kind, cell, self._clock()
                self.words = self._of_cell(kind, cell)
        elif self._is_running:
            self.words = OF_IMAGE[kind].format(name) if kind in OF_IMAGE else ONCE.get(kind, "")
        return self._is_running

    def _end(self) -> None:
        """Count the stage that was running as done."""
        self.done += self._is_running
        if self._running is not None:
            kind, cell, began = self._running
            self._seconds[kind].setdefault(cell.setting, []).append(self._clock() - began)
            self._behind[kind] = self.cells.index(cell) + 1
        self._running = None

    def _of_cell(self, kind: str, cell: Cell) -> str:
        left = self._seconds_left()
        time_left = "" if left is None else f", about {formatting.seconds(left)} left"
        place = f"cell {self._behind[kind] + 1} of {len(self.cells)}"
        return f"{DOES[kind]}, {place}: {cell.setting}, repeat {cell.repeat}{time_left}"

    def _seconds_left(self) -> float | None:
        """Estimate what training and evaluation still take, from the cell at hand on; None before any has ended."""
        trained, evaluated = self._seconds["train"], self._seconds["evaluate"]
        run_again = {*trained, *evaluated}
        left = self._of_kind("train", trained, run_again) + self._of_kind("evaluate", evaluated, run_again)
        return left or None

    def _of_kind(self, kind: str, taken: Mapping[str, Sequence[float]], run_again: Collection[str]) -> float:
        known = {setting: statistics.fmean(each) for setting, each in taken.items()}
        if not known:
            return 0.0
        others = statistics.fmean(known.values())
        left = self.cells[self._behind[kind] :]
        expected = (each for each in left if each not in self._there or each.setting in run_again)
        return sum(known.get(each.setting, others) for each in expected)
