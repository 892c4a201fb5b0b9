"""A soak: a face-off of 24 cells, in a container and on image host, while faults strike at random, from a seed.

DVC, stages.repro, stages.inside, stages.image and the containers are real, and so is what kills them. A run that ends
badly is started again at once, as an impatient user would. Every cell must end in a result that says what really was
measured, or as failed with the reason that belongs to its fault; and nothing may be left over.
"""

import dataclasses
import json
import os
import random
import signal
import subprocess
import sys
import time
from collections import Counter
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from stages.harness.params import schema
from stages.harness.results.read import CellResult, read_all
from stages.records import STAGES, Cell
from tests import real_engine
from tests.pipeline.test_pipeline import Checkout
from tests.project import ROOT, write_job

pytestmark = [pytest.mark.slow, pytest.mark.engine]

SEED = int(os.environ.get("FACEOFF_SOAK_SEED", "20261124"))
REPEATS = 6  # of 2 images x 2 variants: 24 cells
STALL_MINUTES = 0.4
LONGEST_RUN_SECONDS = 900
RUNS_AT_MOST = 40

# What happens to the job itself, and how its result must begin then to say why it failed.
REASONS = {
    "SIGKILL": "it was killed (SIGKILL), and not by faceoff",
    "SIGSEGV": "it died of a segmentation fault in native code",
    "exception": "the command ended with exit code 1; its own words are above",
    "stall": f"no event for {STALL_MINUTES} minutes (limits.stall_minutes)",
    "memory": "it ran out of memory: it needs more than the 100m of container.memory",
}
# What happens to those that run the job, who are killed by the command that they are.
AT_WORK = {"make": ["stages.repro"], "dvc": ["dvc", "repro"], "inside": ["stages.inside"]}
DAMAGES = {
    "cut short": lambda text: text[: len(text) // 2],
    "edited": lambda text: text.replace('_seconds": ', '_seconds": 1', 1),
}
JOB = ["SIGKILL", "SIGSEGV", "exception"]
# All but a few of the 12 cells of each image.
FAULTS = {
    "host": [*JOB, *DAMAGES, "inside SIGKILL", "inside SIGTERM", "make SIGINT", "dvc SIGKILL"],
    "probe": [
        *(*JOB, "stall", "memory", *DAMAGES),
        *("inside SIGKILL", "make SIGTERM", "make SIGKILL", "dvc SIGTERM"),
    ],
}


@dataclasses.dataclass(frozen=True)
class Fault:
    name: str
    result: Path  # of the training or evaluation that it strikes
    moment: str  # 'at work' or 'writing'


class Soak:
    """The checkout, what is to happen in it, and the sessions of processes that ran in it."""

    def __init__(self, path: Path, base: str) -> None:
        self.path = path
        make(path, base)
        self.params = schema.load(path)
        self.faults = deal(self.params.cells(), random.Random(SEED))  # noqa: S311
        running = [each for each in self.faults.values() if each.name not in DAMAGES]
        plan = {str(each.result): [each.name, each.moment] for each in running}
        (path / "jobs/soak/plan.json").write_text(json.dumps(plan))
        self.sessions: set[int] = set()
        self.struck: set[Path] = set()

    def run_to_the_end(self) -> None:
        """As often as it takes."""
        while self._run() != 0:
            assert len(self.sessions) < RUNS_AT_MOST, f"what the runs said: {self.path.parent}/output-*"

    def _run(self) -> int:
        """One `make repro`, as far as DVC: its exit code. Whoever the plan says is killed on the way."""
        environment = {**os.environ, "PATH": f"{Path(sys.executable).parent}:{os.environ['PATH']}"}
        command = [sys.executable, "-m", "stages.repro"]
        output_path = self.path.parent / f"output-{len(self.sessions)}"
        with output_path.open("w") as output:
            process = subprocess.Popen(
                command, cwd=self.path, env=environment, stdout=output, stderr=output, start_new_session=True
            )
        self.sessions.add(process.pid)
        end = time.monotonic() + LONGEST_RUN_SECONDS
        while process.poll() is None:
            assert time.monotonic() < end, f"no end: {output_path.read_text()[-5000:]}"
            self._strike(process.pid)
            time.sleep(0.05)
        return process.returncode

    def _strike(self, session: int) -> None:
        for reached in (self.path / "models").rglob("*.reached"):
            fault = reached.read_text()
            if fault and reached not in self.struck:
                who, number = fault.split()
                for pid in pids(session, AT_WORK[who]):
                    os.kill(pid, signal.Signals[number])
                    self.struck.add(reached)

    def results(self) -> dict[Cell, CellResult]:
        found = read_all(self.params, self.path)
        assert [each.cell for each in found] == self.params.cells()
        return {each.cell: each for each in found}

    def damage(self) -> set[Cell]:
        """Do to results what the plan says; the cells that they are of."""
        damaged = {cell: fault for cell, fault in self.faults.items() if fault.name in DAMAGES}
        for fault in damaged.values():
            file = self.path / fault.result
            file.write_text(DAMAGES[fault.name](file.read_text()))
        return set(damaged)

    def check(self, result: CellResult, damaged: set[Cell]) -> None:
        """Of one cell: its status, its reason, its metrics."""
        fault = self.faults.get(result.cell)
        if result.cell in damaged:
            assert fault is not None and result.status == "refused" and str(fault.result) in str(result.reason)
        elif fault is not None and fault.name in REASONS:
            assert result.status == "failed" and str(result.reason).startswith(REASONS[fault.name]), (fault, result)
            evaluated = fault.result == result.cell.result_path("evaluate")
            assert evaluated or not any((self.path / result.cell.output_dir).iterdir())
        else:
            assert (result.status, result.reason) == ("ok", None), (fault, result)
            measured = self.measured()
            for each in result.stages:
                path = result.cell.result_path(each.stage)
                assert [span.seconds for span in each.spans] == measured[str(path)]
            assert len(result.stages) == 2

    def measured(self) -> dict[str, list[float]]:
        """What each job says that it measured last, by its result."""
        files = (self.path / "models").rglob("measured")
        return dict(json.loads(line) for file in files for line in file.read_text().splitlines())

    def left_over(self) -> list[str]:
        """Containers, temporary files and locks, and processes, zombies among them."""
        parts = [self.path / name for name in ("metrics", "models", "reports", ".dvc/tmp")]
        files = [each for part in parts for each in part.rglob("*")]
        left = [str(each) for each in files if each.name.startswith(".") or each.suffix in (".tmp", ".running")]
        left += [" ".join(argv) or "zombie" for session in self.sessions for argv in at_work(session).values()]
        containers = real_engine.containers(real_engine.connect(), f"faceoff.checkout={self.path}")
        return left + [f"container {each.name}" for each in containers]

    def end(self) -> None:
        """Of a soak that failed: end what is left of it."""
        for session in self.sessions:
            for pid in at_work(session):
                os.kill(pid, signal.SIGKILL)
        for each in real_engine.containers(real_engine.connect(), f"faceoff.checkout={self.path}"):
            each.remove(force=True)


def make(path: Path, base: str) -> None:
    """A checkout with the matrix of the soak; `probe` is an image that holds nothing but Python."""
    checkout = Checkout(
        path,
        images=list(FAULTS),
        job="soak",
        variants={"one": {}, "two": {}},
        repeats=list(range(1, REPEATS + 1)),
        on_failure="record",
        container={"memory": "100m"},
        limits={"stall_minutes": STALL_MINUTES},
    )
    (path / "docker/probe").mkdir()
    (path / "docker/probe/image.yaml").write_text(f"pull: {base}\nexpects: {{python: '3'}}\n")
    job = "train: python train.py\nevaluate: python evaluate.py\ntotal: [train, evaluate]\n"
    script = (ROOT / "tests/faults/soak_job.py").read_text()
    write_job(path, "soak", {"job.yaml": job, "train.py": script, "evaluate.py": script})
    checkout.commit("The soak")


def deal(wanted: list[Cell], draw: random.Random) -> dict[Cell, Fault]:
    """Which cells a fault strikes, and in what."""
    dealt = {}
    for image, names in FAULTS.items():
        struck = draw.sample([cell for cell in wanted if cell.image == image], len(names))
        for cell, name in zip(struck, names, strict=True):
            result = cell.result_path(draw.choice(STAGES))
            dealt[cell] = Fault(name, result, draw.choice(("at work", "writing")))
    return dealt


def at_work(session: int) -> dict[int, list[str]]:
    """Processes of a session by pid, with their command line, which a zombie has none of."""
    found = {}
    for each in Path("/proc").glob("[0-9]*"):
        try:
            if os.getsid(int(each.name)) == session:
                found[int(each.name)] = (each / "cmdline").read_text().split("\0")[:-1]
        except OSError:  # it has ended
            continue
    return found


def pids(session: int, module: list[str]) -> list[int]:
    """Processes of a session that run `python -m` with these."""
    return [pid for pid, argv in at_work(session).items() if argv[1 : 2 + len(module)] == ["-m", *module]]


def settled(soak: Soak) -> list[str]:
    """What is still left over after a while: those that were killed last may take a moment."""
    end = time.monotonic() + 120
    while soak.left_over() and time.monotonic() < end:
        time.sleep(0.2)
    return soak.left_over()


@pytest.fixture
def soak(tmp_path: Path) -> Iterator[Soak]:
    made = Soak(tmp_path / "project", real_engine.base(real_engine.connect()))
    yield made
    made.end()


def test_every_cell_ends_in_the_truth_or_a_named_failure_and_nothing_is_left(
    soak: Soak, record_property: Callable[[str, object], None]
) -> None:
    soak.run_to_the_end()
    assert settled(soak) == []
    for result in soak.results().values():
        soak.check(result, damaged=set())

    damaged = soak.damage()
    before = soak.measured()
    for result in soak.results().values():
        soak.check(result, damaged)
    soak.run_to_the_end()
    assert settled(soak) == []
    for result in soak.results().values():
        soak.check(result, damaged=set())
    again = {path for path, seconds in soak.measured().items() if seconds != before[path]}
    assert again >= {str(soak.faults[cell].result) for cell in damaged}

    statuses = Counter(each.status for each in soak.results().values())
    faults = Counter(each.name for each in soak.faults.values())
    cells = f"soak, seed {SEED}: {len(soak.results())} cells, {dict(statuses)}; {len(soak.sessions)} runs"
    record_property("told", f"{cells}; faults: {dict(faults)}")
    assert len(soak.struck) == sum(name.split()[0] in AT_WORK for name in faults.elements())
