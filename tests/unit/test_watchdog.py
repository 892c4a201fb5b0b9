"""When the watchdog ends a job: its limits hold for each run of a command by itself."""

import os
import threading
import time
from pathlib import Path

import pytest

from stages.harness.params.schema import LimitParams
from stages.harness.process.watchdog import Watch, watched

STALL_SECONDS = 2.0  # a look each 0.1 s


@pytest.mark.parametrize("event_after_seconds", [1, -1])
def test_a_run_that_gave_a_sign_before_the_look_is_held_to_its_limit(tmp_path: Path, event_after_seconds: int) -> None:
    events, runs = tmp_path / "events", tmp_path / "aside"
    events.touch()
    ended = threading.Event()
    with watched(Watch(events, LimitParams(STALL_SECONDS / 60, None), runs), ended.set) as broken:
        # Between two looks a run begins; an event is of that run where it is the younger of the two.
        began = time.time_ns()
        ready = tmp_path / "ready"
        ready.touch()
        os.utime(ready, ns=(began, began))
        os.utime(events, ns=(began, began + event_after_seconds * 10**9))
        ready.rename(runs)
        ended.wait(2 * STALL_SECONDS)
    assert broken() == ("stall_minutes" if event_after_seconds > 0 else None)
