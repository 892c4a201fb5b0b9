"""How far a pull or a build of Docker's is, from the events that its engine sends."""

import re
import time
from collections.abc import Mapping
from typing import Any

from stages.harness.environments import pip
from stages.units import amount
from stages.watched import time_left

LAYER = re.compile(r"[0-9a-f]{12}")  # how an event names a layer
STEP = re.compile(r"(?:\[\d+/\d+\] )?step (\d+)/(\d+) ?: ", re.IGNORECASE)  # Podman names the stage first, of several
HERE = ("Download complete", "Pull complete", "Already exists")  # statuses of a layer that need not be waited for


class Layers:
    """The layers of a pull: how much of them has come."""

    def __init__(self, reference: str) -> None:
        self._reference, self._began = reference, time.monotonic()
        self._here = dict[str, bool]()
        self._bytes = dict[str, tuple[int, int]]()  # come, and in all

    def hear(self, event: Mapping[str, Any]) -> bool:
        """Take an event. Whether it is one of a layer, of which there are hundreds."""
        name, status = str(event.get("id", "")), event.get("status")
        if not LAYER.fullmatch(name):
            return False
        detail = event.get("progressDetail") or {}
        if status == "Downloading" and detail.get("total"):
            self._bytes[name] = int(detail.get("current", 0)), int(detail["total"])
        self._here[name] = self._here.get(name, False) or status in HERE
        if self._here[name] and name in self._bytes:
            self._bytes[name] = self._bytes[name][1], self._bytes[name][1]
        return True

    def say(self) -> str:
        """Say how far it is; how much there is in all is known once every layer has said its size."""
        done, total = (sum(each[part] for each in self._bytes.values()) for part in (0, 1))
        waited_for = [name for name, here in self._here.items() if not here and name not in self._bytes]
        of_all = "" if waited_for else f" of {amount(total)}"
        left = "" if waited_for else time_left(done, total, time.monotonic() - self._began)
        layers = f"{sum(self._here.values())} of {len(self._here)} layers"
        return f"pulling {self._reference}: {amount(done)}{of_all}, {layers}{left}"


class Step:
    """The step of a build that is at work."""

    def __init__(self) -> None:
        self._place, self._pip, self._line = "", pip.Steps(), ""
        self.lasts = False  # what it is at may take long

    def hear(self, line: str) -> bool:
        """Take a line of the build. Whether it begins a step."""
        self._line = line.strip()
        begins = STEP.match(line)
        if begins:
            self._place, self._pip = f"step {begins[1]} of {begins[2]}: ", pip.Steps()
        self.lasts = self._pip.hear(line) or begins is not None
        return begins is not None

    def say(self) -> str:
        """Say what it is at: of pip's lines which package."""
        return f"{self._place}{self._pip.said if self._pip.is_heard else self._line}"
