"""Runs `dvc repro`, and shows over all cells how far it is: a bar on a terminal, else a plain line per cell.

DVC names each stage as it begins or skips it, and nothing else tells which cells are measured and which are kept.
"""

import contextlib
import os
import re
import signal
import statistics
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Collection, Sequence
from pathlib import Path
from typing import IO

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn

from stages.errors import TRY_LATER, FaceoffError
from stages.harness import dvc_files, jobs, signals, wording
from stages.harness.params import Params
from stages.records import Cell

BEGINS = re.compile(r"Running stage '(.+)':")
FAILED = re.compile(r"ERROR: failed to reproduce '.+': failed to run: .+, exited with (\d+)")
IS_KEPT = re.compile(r"Stage '(.+)' didn't change, skipping")
# Not the script `dvc`: its first line, as pip writes it, is shell, and breaks in a checkout at "it's $(odd)".
DVC_REPRO = [sys.executable, "-m", "dvc", "repro"]
DOES = {"train": "training", "evaluate": "evaluation"}  # stages that each cell has: what they do


class Tracker:
    """From DVC's lines to how many cells are done, and what is left.

    `there`: cells that had a result before. Of those only the ones are expected to be measured again whose setting was
    measured again already: the cells of one setting depend on the same things.
    """

    def __init__(
        self, cells: Sequence[Cell], there: Collection[Cell], clock: Callable[[], float] = time.monotonic
    ) -> None:
        self.cells = cells
        self.done = 0  # cells of the kind of stage at hand
        self.words = ""  # what goes on, in a line; empty outside of cells
        self._there = there
        self._clock = clock
        self._seconds: dict[str, list[float]] = {}  # that a stage took, by setting
        self._kind = ""
        self._began: tuple[Cell, float] | None = None

    def hear(self, line: str) -> bool:
        """Take a line of the output. Whether it begins a stage."""
        begins, is_kept = BEGINS.fullmatch(line), IS_KEPT.fullmatch(line)
        found = begins or is_kept
        if found is None:
            return False
        if self._began is not None:
            ended, began = self._began
            self._seconds.setdefault(ended.setting, []).append(self._clock() - began)
        self._began, self.words = None, ""
        kind, _, name = found[1].partition("@")
        cell = next((each for each in self.cells if each.matrix_name == name), None)
        if kind in DOES and cell is not None:
            self._at(kind, cell, is_run=begins is not None)
        return begins is not None

    def _at(self, kind: str, cell: Cell, is_run: bool) -> None:
        if kind != self._kind:  # DVC runs all cells through one stage before the next
            self._kind, self._seconds = kind, {}
        self.done = self.cells.index(cell) + (not is_run)
        if not is_run:
            return
        self._began = cell, self._clock()
        left = self._seconds_left()
        time_left = "" if left is None else f", about {wording.seconds(left)} of {DOES[kind]} left"
        place = f"cell {self.done + 1} of {len(self.cells)}"
        self.words = f"{DOES[kind]}, {place}: {cell.setting}, repeat {cell.repeat}{time_left}"

    def _seconds_left(self) -> float | None:
        """From the cell at hand on, of this kind of stage; None before any has ended."""
        known = {setting: statistics.fmean(each) for setting, each in self._seconds.items()}
        if not known:
            return None
        others = statistics.fmean(known.values())
        expected = (each for each in self.cells[self.done :] if each not in self._there or each.setting in known)
        return sum(known.get(each.setting, others) for each in expected)


def repro(wanted: Params, console: Console) -> int:
    """Run the pipeline, its output going to the console as it comes; for whoever holds locks.only_run().

    The exit code of DVC, 128 + n after signal n, and TRY_LATER where a cell is to go on in another session.
    """
    dvc_files.mend()
    try:
        return _repro(wanted, console)
    finally:
        dvc_files.mend()


def _repro(wanted: Params, console: Console) -> int:
    cells = wanted.cells()
    tracker = Tracker(cells, {cell for cell in cells if cell.train_path.exists()})
    if not console.is_terminal:
        return _run(DVC_REPRO, lambda line: _show_plainly(line, tracker), errors=None)
    columns = BarColumn(), MofNCompleteColumn(), TextColumn("{task.description}")
    with Progress(*columns, console=console, transient=True) as bar:
        task = bar.add_task("", total=len(cells), visible=False)

        def show(line: str) -> None:
            console.print(line, markup=False, highlight=False, soft_wrap=True)
            if tracker.hear(line):
                bar.update(task, completed=tracker.done, description=tracker.words, visible=bool(tracker.words))

        return _run(DVC_REPRO, show, errors=subprocess.STDOUT)  # else they would run through the bar


def _show_plainly(line: str, tracker: Tracker) -> None:
    print(line)
    if tracker.hear(line) and tracker.words:
        print(f"faceoff: {tracker.words}")


def _run(command: list[str], show: Callable[[str], None], errors: int | None) -> int:
    """Run a command and hand on its lines as they come; its stderr to ours, or by STDOUT among the others.

    A signal to stop is passed on to it and to what it runs, and the end of all that write to its output is waited for.
    """
    environment = {**os.environ, **jobs.PYTHON_ENVIRONMENT}
    environment["PATH"] = os.pathsep.join((str(Path(sys.executable).parent), environment.get("PATH", os.defpath)))
    try:
        process = subprocess.Popen(
            command,
            env=environment,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE if errors is None else errors,
            text=True,
            errors="replace",
            process_group=0,  # so that Ctrl-C reaches it through us, once
            preexec_fn=lambda: signals.end_with_parent(signal.SIGTERM),
        )
    except OSError as error:
        raise FaceoffError(f"cannot run {command[0]}: {error.strerror}", exit_code=127) from None
    exits = set[int]()  # of stages that DVC says have failed
    listener = threading.Thread(target=_hand_on, args=(process.stderr, _complain, exits))
    with process:
        with signals.masked_signals(signal.SIG_BLOCK):  # which the thread inherits: they are for the main one
            listener.start()
        try:
            with signals.stop_signals():
                _hand_on(process.stdout, show, exits)
                code = process.wait()
        except SystemExit as stop:
            with contextlib.suppress(ProcessLookupError):  # it has just ended by itself
                os.killpg(process.pid, int(str(stop.code)) - 128)
            _hand_on(process.stdout, show, exits)
            raise
        finally:
            listener.join()
    if exits == {TRY_LATER}:
        return TRY_LATER
    return code if code >= 0 else 128 - code


def _hand_on(lines: IO[str] | None, show: Callable[[str], None], exits: set[int]) -> None:
    """All but DVC's complaint that a stage goes on another time, which the stage itself has told."""
    for line in lines or ():
        text = line.rstrip("\n")
        if BEGINS.fullmatch(text):
            dvc_files.keep()
        failed = FAILED.fullmatch(text)
        if failed:
            exits.add(int(failed[1]))
        if not failed or int(failed[1]) != TRY_LATER:
            show(text)


def _complain(line: str) -> None:
    print(line, file=sys.stderr, flush=True)
