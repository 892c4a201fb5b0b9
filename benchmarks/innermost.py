"""Which of a run's processes is the innermost one at work, looked at again and again: seconds by what it is.

Read from /proc alone, so that the run is not touched: a process is the run's if it works in the run's folder. One in a
container does too, since that has the folder at the same path, and is seen where the engine is this machine's own.
"""

import json
import os
import time
from collections import defaultdict
from collections.abc import Iterator
from pathlib import Path
from typing import Any, NamedTuple

from stages.records import Cell

YOUNG_SECONDS = 2.0  # until then, a process that works elsewhere may still become the run's
# Entries of stages/, the innermost first; those that are not named stand between `dvc` and these.
INSIDE = ("workload.measure", "workload.contents", "train", "evaluate", "preflight_inside", "profile")
OUTSIDE = ("dvc", "repro")


class Kind(NamedTuple):
    """What the innermost process is."""

    entry: str  # the innermost of stages/, or 'dvc'
    command: str = ""  # of the job within it: the last but not least of its words, e.g. 'measure'


class Command:
    """A command of a cell's stage, and when each of its events was there."""

    def __init__(self, began: float) -> None:
        self.began = self.ended = began
        self.events: list[tuple[float, dict[str, Any]]] = []


class Process(NamedTuple):
    """A process of the run."""

    folder: str
    words: list[str]

    @property
    def entry(self) -> str | None:
        """Return what it is of stages/, or 'dvc'; None for a command of the job, or a tool."""
        words = self.words
        for option, name in zip(words[:-1], words[1:], strict=True):
            if option == "-m" and (name == "dvc" or name.startswith("stages.")):
                return name.removeprefix("stages.")
        return None


class Looker:
    """Looks at the processes that work in a folder."""

    def __init__(self, folder: Path) -> None:
        self.seconds: dict[Kind, float] = defaultdict(float)
        self.commands: dict[tuple[Cell, str], Command] = {}
        self._folder = folder
        self._elsewhere: dict[str, float] = {}  # pid of no concern: when it was first seen
        self._last = time.perf_counter()

    def look(self) -> None:
        """Give the time since the last look to what is at work now."""
        now = time.perf_counter()
        processes = list(self._ours(now))
        entries = {each.entry: each for each in processes if each.entry is not None}
        jobs = f"{self._folder}/jobs/"
        of_job = next((each for each in processes if each.entry is None and each.folder.startswith(jobs)), None)
        if entries:
            kind = Kind(_innermost(entries), "" if of_job is None else _asked(of_job))
            self.seconds[kind] += now - self._last
            if "inside" in entries and "--result" in entries["inside"].words:
                self._follow(Path(entries["inside"].words[-1]), of_job is not None, now)
        self._last = now

    def _ours(self, now: float) -> Iterator[Process]:
        """Yield each process that works in the folder; of one that ended or is another user's, nothing is told."""
        whole = str(self._folder)
        for pid in os.listdir("/proc"):  # noqa: PTH208 - fifty times a second
            if not pid.isdigit() or now - self._elsewhere.get(pid, now) > YOUNG_SECONDS:
                continue
            try:
                folder = os.readlink(f"/proc/{pid}/cwd")
                if folder == whole or folder.startswith(whole + "/"):
                    words = Path(f"/proc/{pid}/cmdline").read_bytes().decode(errors="replace").split("\0")[:-1]
                    if words:  # it has not ended
                        yield Process(folder, words)
                    continue
            except OSError:
                pass
            self._elsewhere.setdefault(pid, now)

    def _follow(self, result: Path, is_at_work: bool, now: float) -> None:
        """Note when the command of the cell's stage is at work, and the events that it has written since."""
        image, variant, file = result.parts[-3:]
        stage, _, repeat = file.removesuffix(".json").partition("-")
        cell = Cell(image, variant, int(repeat))
        if is_at_work:
            self.commands.setdefault((cell, stage), Command(now)).ended = now
        command = self.commands.get((cell, stage))
        path = self._folder / cell.events_path
        if command is not None and path.exists():
            lines = path.read_bytes().split(b"\n")[:-1]
            command.events += [(now, json.loads(line)) for line in lines[len(command.events) :]]


def _innermost(entries: dict[str, Process]) -> str:
    inside = [each for each in INSIDE if each in entries]
    between = [each for each in entries if each not in (*INSIDE, *OUTSIDE)]
    return [*inside, *between, *(each for each in OUTSIDE if each in entries)][0]


def _asked(command: Process) -> str:
    """Return what run.py is asked for; of another program, that it is one."""
    words = command.words
    return next((words[at + 1] for at, word in enumerate(words[:-1]) if word.endswith("run.py")), "command")
