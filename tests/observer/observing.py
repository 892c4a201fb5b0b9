"""Runs a script with the observer's hook, and reads what it noted."""

import json
import os
import subprocess
import sys
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from stages.workload.observer.read import Observation, observed
from tests.project import ROOT

SCRIPTS = Path(__file__).parent / "scripts"
HOOK = ROOT / "stages/workload/observer/hook"
TRIES = 8


@dataclass(frozen=True)
class Seen:
    done: "subprocess.CompletedProcess[str]"
    observation: Observation
    files: list[Path]

    @property
    def truth(self) -> dict[str, Any]:
        """What the script says of itself, in its last line."""
        assert self.done.returncode == 0, self.done.stderr[-3000:]
        truth: dict[str, Any] = json.loads(self.done.stdout.splitlines()[-1])
        return truth

    @property
    def counts(self) -> dict[str, Any]:
        """The same numbers, observed."""
        train = [span for span in self.observation.spans if span.name == "train"]
        samples = [span.samples for span in train]
        return {
            "train": len(train),
            "steps": sum(span.steps or 0 for span in train),
            "samples": None if None in samples else sum(each for each in samples if each is not None),
            "validation": sum(span.name == "validation" for span in self.observation.spans),
        }

    def seconds(self, name: str) -> float:
        return sum(span.seconds for span in self.observation.spans if span.name == name)


def environment(prefix: Path, **changes: str) -> dict[str, str]:
    return {
        **os.environ,
        "FACEOFF_OBSERVE": str(prefix),
        "PYTHONPATH": str(HOOK),
        "PYTHONDONTWRITEBYTECODE": "1",
        "OMP_NUM_THREADS": "1",
        **changes,
    }


def observe_times(
    folder: Path, off: Callable[[Seen], Iterable[str]], *command: str, **changes: str
) -> tuple[Seen, set[str]]:
    """Observe until no time was off each time; return the last look, and what was off in all."""
    return look_again(folder, off, lambda each: observe(each, *command, **changes))


def look_again(
    folder: Path, off: Callable[[Seen], Iterable[str]], look: Callable[[Path], Seen]
) -> tuple[Seen, set[str]]:
    """Look until no time was off each time: what the observer gets wrong it does each time, and a machine with other
    work takes the processor away between two clocks now and then. The last look, and what was off in all.
    """
    found: set[str] | None = None
    for number in range(TRIES):
        (folder / str(number)).mkdir()
        seen = look(folder / str(number))
        now = {*off(seen)}
        found = now if found is None else found & now
        if not found:
            break
    return seen, found or set()


def observe(folder: Path, *command: str, **changes: str) -> Seen:
    """Run `python COMMAND` in the scripts' folder, observed."""
    prefix = folder / "observed"
    done = subprocess.run(
        [sys.executable, *command],
        cwd=SCRIPTS,
        env=environment(prefix, **changes),
        capture_output=True,
        text=True,
        timeout=300,
    )
    return Seen(done, observed(prefix), sorted(folder.glob("observed.*")))
