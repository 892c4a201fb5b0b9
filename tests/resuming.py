"""A job that goes on where it was cut off, with little time and next to no CPU per span; and attempts at it."""

import json
import os
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

from stages import codec
from stages.records import Cell, Result
from tests.project import make_project, run_stage, write_job

JOB, SPANS, PATIENCE_SECONDS = "paced", 4, 300
# Each value is made of the one before, so that a span that is lost, or counted twice, shows in all that follow. State
# and model are half written for a while. What it finds in its folder of state, it says.
TRAIN = """
import json, os, sys, time
from pathlib import Path
rate, state, model = float(sys.argv[1]), Path(os.environ["FACEOFF_STATE"]), Path(os.environ["FACEOFF_OUTPUT"], "model")
def tell(**line):
    with open(os.environ["FACEOFF_EVENTS"], "a") as events:
        events.write(json.dumps(line) + "\\n")
def write_slowly(path, text, seconds):
    with path.open("w") as file:
        file.write(text[:len(text) // 2])
        file.flush()
        time.sleep(seconds)
        file.write(text[len(text) // 2:])
print("found:", sorted(each.name for each in state.iterdir()), flush=True)
done = json.loads((state / "done").read_text()) if (state / "done").exists() else []
if done:
    tell(resumed_after_spans=len(done))
tell(fact="begun", value=True)
while len(done) < 4:
    began = time.perf_counter()
    time.sleep(0.3)
    done.append(rate * (done[-1] if done else 0.3) * (1 - (done[-1] if done else 0.3)))
    tell(span="epoch", seconds=time.perf_counter() - began, values={"loss": done[-1]})
    write_slowly(state / "new", json.dumps(done), 0.3)
    (state / "new").replace(state / "done")
time.sleep(0.3)
write_slowly(model, json.dumps(done), 0.6)
tell(metric="score", value=sum(done))
"""
DEFINITION = """train: python train.py {rate}
total: [epoch]
resumes: true
metrics:
  score: {unit: points, better: higher}
"""
FILES = {"job.yaml": DEFINITION, "train.py": TRAIN}
VARIANTS = {"plain": {"rate": 3.9}}


def make(folder: Path, image: str = "host", pull: str | None = None, **environment: str) -> Path:
    """A project with one cell of the job, ready to be trained; `pull`: its image's, where that is a container's."""
    root = make_project(folder, [image], job=JOB, variants=VARIANTS, repeats=[1])
    write_job(root, JOB, FILES)
    if pull is not None:
        (root / "docker" / image).mkdir()
        (root / "docker" / image / "image.yaml").write_text(f"pull: {pull}\nexpects: {{python: '3'}}\n")
    for name in (("machine",), ("job",), ("download",), ("image", image)):
        done = run_stage(root, *name, **environment)
        assert done.returncode == 0, done.stderr
    return root


def arguments(cell: Cell) -> tuple[str, ...]:
    return ("inside", cell.image, "--result", str(cell.result_path("train")))


def train(root: Path, cell: Cell, **environment: str) -> subprocess.CompletedProcess[str]:
    return run_stage(root, *arguments(cell), **environment)


def started(root: Path, cell: Cell, **environment: str) -> subprocess.Popen[str]:
    """An attempt, in a session of its own, whose job has begun."""
    name, *rest = arguments(cell)
    process = subprocess.Popen(
        [sys.executable, "-m", f"stages.{name}", *rest],
        cwd=root,
        env={**os.environ, **environment},
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        start_new_session=True,
        text=True,
    )
    assert process.stdout is not None
    assert any(line.startswith("found: ") for line in process.stdout), process.communicate()
    return process


def wait_for(process: subprocess.Popen[str], holds: Callable[[], bool]) -> None:
    end = time.monotonic() + PATIENCE_SECONDS
    while not holds():
        assert process.poll() is None and time.monotonic() < end, process.communicate()
        time.sleep(0.01)


def kept(root: Path, cell: Cell) -> int:
    """How many spans the job's own state has, whole."""
    path = root / cell.state_dir / "done"
    return len(json.loads(path.read_text())) if path.exists() else 0


def result(root: Path, cell: Cell) -> Result:
    return codec.read(root / cell.result_path("train"), Result)


def check_end(root: Path, cell: Cell, *after_spans: int) -> Result:
    """The end is that of a training that nothing disturbed, in attempts that began after so many spans."""
    found, losses = result(root, cell), [0.3]
    for _ in range(SPANS):
        losses.append(3.9 * losses[-1] * (1 - losses[-1]))
    assert [span.values["loss"] for span in found.spans] == losses[1:]
    assert found.metrics == {"score": sum(losses[1:])}
    assert json.loads((root / cell.output_dir / "model").read_text()) == losses[1:]
    assert tuple(each.after_spans for each in found.attempts) == after_spans
    assert len(found.conditions) == len(after_spans) + 1
    assert found.command_seconds == sum(each.seconds for each in found.attempts)
    said = [warning for warning in found.warnings if " attempts, " in warning]
    words = f"trained in {len(after_spans)} attempts, anew after {' and '.join(map(str, after_spans[1:]))} spans, "
    assert len(said) == (len(after_spans) > 1) and all(each.startswith(words) for each in said), said
    return found
