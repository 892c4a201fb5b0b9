"""When spans ended, as the supervisor's loop takes it, beside an observer that notes something in the same moment."""

import os
import time
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from stages.workload.probes import load
from stages.workload.supervisor import observation
from stages.workload.supervisor.recorder import Recorder
from tests.supervised import CELL, Checkout


def test_a_span_ended_when_it_was_written_whatever_the_observer_notes_since(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    CELL.events_path.parent.mkdir(parents=True)
    recorder: Any = Recorder(Checkout(tmp_path).task("train", ()), None, 0.0, "now")
    recorder._meter = load.Meter()
    recorder._sampler = SimpleNamespace(look=lambda now: None, joules=None, has_read=lambda at: False)
    monkeypatch.setattr(observation, "changed_at", lambda task: 1)
    CELL.events_path.write_text('{"span": "epoch", "seconds": 5.0}\n')
    written = time.time() - 100
    os.utime(CELL.events_path, (written, written))
    recorder._look()
    ((began, ended),) = recorder._moments
    assert time.monotonic() - ended == pytest.approx(100, abs=1) and ended - began == 5.0
    assert CELL.events_path.stat().st_mtime == pytest.approx(time.time(), abs=1)  # which the host takes for life
