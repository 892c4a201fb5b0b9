"""What benchmarks/on_gpu reads of results, on results as they are written: a card is seldom there to try it on."""

import re
import subprocess
import sys
from pathlib import Path

from benchmarks import marks
from stages import codec
from stages.contract import Span, Split
from stages.records import Cell
from stages.workload.observer.read import Observation
from tests import results
from tests.project import ROOT


def test_energy_stands_beside_power_times_time(tmp_path: Path) -> None:
    script = (ROOT / "benchmarks/on_gpu").read_text()
    [code] = re.findall(r"python3 - <<'PYTHON'\n(.*?)\nPYTHON\n", script, re.DOTALL)
    own = {"cards": (results.card("GPU-1", 1e9),), "energy": results.energy(5550.0), "command_seconds": 37.0}
    for repeat, changes in ((1, own), (2, {})):
        cell = Cell("notebook", "fp32-bs16", repeat)
        path = tmp_path / cell.result_path("train")
        path.parent.mkdir(parents=True, exist_ok=True)
        codec.write(path, results.trained(cell, **changes))
    done = subprocess.run([sys.executable, "-c", code], cwd=tmp_path, capture_output=True, text=True, check=True)
    assert [line.partition(" ")[2] for line in done.stdout.splitlines()] == [
        "counted 5550.0 J; 150.0 W x 37.0 s",
        "ok the job does not say it",
    ]


def test_what_marks_tell_is_said_or_why_they_tell_nothing() -> None:
    spans = (Span("train", 10.0, split=Split(1.0, 0.0, 8.0, 1.0, 6.0)),)
    assert marks.waiting_share(Observation(spans)) == "for 75% of compute nothing was left in the queue"
    assert marks.waiting_share(Observation((Span("train", 10.0),), notes=("no marks",))) == "no marks"
