"""A cell that dies on image host: each way is told from the others by how it ends, in one line and in its result.

The jobs are real processes that really die; tests/engine/test_deaths.py has those that need a container.
"""

import contextlib
import json
import os
import shlex
import subprocess
import sys
import uuid
from collections.abc import Iterator
from pathlib import Path

import pytest

from stages import codec
from stages.harness.params import schema
from stages.harness.results.read import read_all
from stages.records import Cell, Result, step_times
from tests import attempts
from tests.attempts import attempt, failed, told
from tests.mounts import mounting
from tests.project import run_stage
from tests.real_engine import unable

CELL = Cell("host", "plain", 1)
WHERE = "host/plain, repeat 1: "
MIB = 2**20
BUS_ERROR = """
import mmap, tempfile
file = tempfile.TemporaryFile(dir="/dev/shm")
file.truncate(4096)
memory = mmap.mmap(file.fileno(), 4096)
file.truncate(0)
memory[0]
"""
# A real sign of life, as often as a step would give one, and then none.
STEPS_THEN_HANG = """
import os, time
for _ in range(40):
    time.sleep(0.1)
    os.utime(os.environ["FACEOFF_EVENTS"])
print("stepped", flush=True)
def waits_for_a_loader():
    time.sleep(600)
waits_for_a_loader()
"""


@pytest.fixture
def root(tmp_path: Path) -> Path:
    return attempts.make(tmp_path)


@pytest.mark.parametrize(
    ("script", "code", "words"),
    [
        ("import ctypes; ctypes.string_at(0)", 139, "it died of a segmentation fault in native code"),
        (BUS_ERROR, 135, "it died of a bus error in native code, and not for want of /dev/shm ("),
        ("import os; os.abort()", 134, "it aborted in native code"),
        (
            "import os; os.kill(os.getpid(), 9)",
            137,
            "it was killed (SIGKILL), and not by faceoff or for want of memory",
        ),
        ("import os; os.kill(os.getpid(), 15)", 1, "the command was killed by SIGTERM, and not by faceoff"),
        ("raise SystemExit(7)", 1, "the command ended with exit code 7; its own words are above"),
    ],
    ids=["segmentation fault", "bus error", "abort", "kill", "a stop that is not ours", "exit code"],
)
def test_each_death_is_told_from_the_others(root: Path, script: str, code: int, words: str) -> None:
    done = attempt(root, script, CELL)
    reason = failed(root, CELL)
    assert done.returncode == code
    assert reason.startswith(words)
    assert told(done)[-1] in (f"faceoff: {WHERE}{reason}", f"faceoff: {reason}")


def test_a_bus_error_tells_how_much_room_dev_shm_has(root: Path) -> None:
    """With what helps on this machine: container.shm_size is for containers."""
    attempts.is_run(root, BUS_ERROR)
    command = [sys.executable, "-m", "stages." + attempts.arguments(CELL)[0], *attempts.arguments(CELL)[1:]]
    done = mounting(f"mount -t tmpfs -o size=1m tmpfs /dev/shm\n{shlex.join(command)}", root)
    assert done.returncode == 135, done.stderr
    reason = failed(root, CELL)
    assert reason.startswith("it died of a bus error, as one does whose /dev/shm is full: /dev/shm has 1 MiB, ")
    assert "enlarge it (mount -o remount,size=" in reason and "container.shm_size" not in reason


def test_a_segmentation_fault_says_where(root: Path) -> None:
    done = attempt(root, "def reads_nothing():\n import ctypes; ctypes.string_at(0)\nreads_nothing()", CELL)
    assert "Fatal Python error: Segmentation fault" in done.stderr and "in reads_nothing" in done.stderr


def test_on_failure_record_goes_on_and_says_how_to_try_again(root: Path) -> None:
    attempts.params_with(root, on_failure="record")
    done = attempt(root, "raise SystemExit(7)", CELL)
    assert done.returncode == 0
    again = ".venv/bin/dvc repro -s -f train@1-host-plain"
    assert told(done)[1:] == [f"faceoff: recorded as failed; to try again: {again}, then make repro"]
    assert (root / CELL.output_dir).is_dir()  # an output of the stage, which DVC asks for
    assert (root / CELL.steps_path).read_text() == step_times.NONE  # another


def test_what_compare_reads_is_failed_and_why(root: Path) -> None:
    attempts.params_with(root, on_failure="record")
    attempt(root, "raise SystemExit(7)", CELL)
    found = next(each for each in read_all(schema.load(root), root) if each.cell == CELL)
    assert (found.status, found.reason) == ("failed", "the command ended with exit code 7; its own words are above")


def test_a_failed_evaluation_is_a_failed_cell(root: Path) -> None:
    attempts.params_with(root, on_failure="record")
    attempts.is_run(root, "", "import os; os.abort()")
    for each in ("train", "evaluate"):
        assert run_stage(root, *attempts.arguments(CELL, each)).returncode == 0
    found = next(each for each in read_all(schema.load(root), root) if each.cell == CELL)
    assert (found.status, found.reason) == ("failed", "it aborted in native code; its last words are above")
    assert (root / CELL.predictions_path).exists()


@pytest.mark.parametrize("stage", ["train", "evaluate"])
def test_a_supervisor_that_dies_while_it_writes_leaves_nothing_half_written(root: Path, stage: str) -> None:
    attempts.params_with(root, on_failure="record")
    attempts.is_run(root, "import os; open(os.environ['FACEOFF_OUTPUT'] + '/model', 'w')", "")
    assert run_stage(root, *attempts.arguments(CELL)).returncode == 0
    dies = root / "site/sitecustomize.py"
    dies.parent.mkdir()
    dies.write_text(
        f"import os, sys\nif sys.orig_argv[1:3] == ['-m', 'stages.{stage}']:\n"
        "    os.fsync = lambda _: os.kill(os.getpid(), 9)\n"
    )
    with (root / "docker/host/image.yaml").open("a") as definition:
        definition.write(f"env: {{PYTHONPATH: {dies.parent}}}\n")
    run_stage(root, *attempts.arguments(CELL, stage))
    assert failed(root, CELL, stage).startswith("it was killed (SIGKILL)")
    assert list((root / "metrics").rglob(".*")) == []
    assert any((root / CELL.output_dir).iterdir()) == (stage == "evaluate")  # a failed evaluation has its model


@pytest.mark.parametrize(
    ("script", "code"),
    [("import os, time; os.kill(os.getppid(), 15); time.sleep(60)", 143), ("raise SystemExit(75)", 75)],
    ids=["the supervisor is stopped", "stopped on purpose"],
)
def test_an_interruption_is_no_failure(root: Path, script: str, code: int) -> None:
    attempts.params_with(root, on_failure="record")
    assert attempt(root, script, CELL).returncode == code
    assert not (root / CELL.result_path("train")).exists() and not (root / CELL.running_path).exists()


@pytest.mark.parametrize("name", ["EVENTS", "OUTPUT", "STATE"])
def test_a_job_that_puts_something_else_in_the_place_of_what_it_was_given_fails_in_a_line(
    root: Path, name: str
) -> None:
    """And the next attempt finds things in order."""
    kind = "os.makedirs(path + '/deep')" if name == "EVENTS" else "open(path, 'w').write('x')"
    script = f"""import os, shutil
path = os.environ["FACEOFF_{name}"]
os.path.isdir(path) and shutil.rmtree(path) or os.path.exists(path) and os.remove(path)
{kind}
raise SystemExit({name!r} == "STATE")
"""
    for _ in range(3):
        done = attempt(root, script, CELL)
        assert done.returncode == 1 and "Traceback" not in done.stderr, done.stderr
        assert name == "STATE" or failed(root, CELL).startswith(
            ("FACEOFF_OUTPUT (", f"{CELL.events_path}: not readable")
        )
    assert attempt(root, "", CELL).returncode == 0
    assert (root / CELL.output_dir).is_dir() and codec.read(root / CELL.result_path("train"), Result).status == "ok"


# --------------------------------------------------------------------------------------------------------------- memory


@contextlib.contextmanager
def memory_limit(size_bytes: int) -> Iterator[str]:
    """A shell line that puts itself into a new cgroup with so much memory and goes on as its arguments."""
    if os.getuid() != 0:
        unable("only root makes a cgroup")
    tops = [top for top in (Path("/sys/fs/cgroup/memory"), Path("/sys/fs/cgroup")) if (top / "cgroup.procs").exists()]
    group = tops[0] / f"faceoff-test-{uuid.uuid4().hex[:8]}"
    group.mkdir()
    limits = {"memory.limit_in_bytes", "memory.memsw.limit_in_bytes", "memory.max", "memory.swap.max"}
    for name in sorted(limits & {each.name for each in group.iterdir()}):
        (group / name).write_text("0" if name == "memory.swap.max" else str(size_bytes))
    try:
        yield f'echo $$ > {group}/cgroup.procs && exec "$@"'
    finally:
        group.rmdir()


def test_a_job_that_the_kernel_kills_for_memory_is_told_from_one_that_is_killed(root: Path) -> None:
    attempts.is_run(root, f"x = bytearray({1024 * MIB}); print(len(x))")
    with memory_limit(400 * MIB) as line:
        command = [sys.executable, "-m", "stages." + attempts.arguments(CELL)[0], *attempts.arguments(CELL)[1:]]
        done = subprocess.run(["sh", "-c", line, "sh", *command], cwd=root, capture_output=True, text=True)
    assert done.returncode == 137, done.stderr
    has = "it ran out of memory: it needs more than this machine has (8 GiB): end what else runs here"
    assert failed(root, CELL).startswith(has)


ANOTHERS = f"x = bytearray({1024 * MIB}); print(len(x))"
LETS_ANOTHER_DIE = f"""
import os, subprocess, sys
line = os.environ["MEMORY_LIMIT"]
died = subprocess.run(["sh", "-c", line, "sh", sys.executable, "-c", {ANOTHERS!r}])
assert died.returncode == -9, died
os.kill(%s, 9)
"""


@pytest.mark.parametrize(
    ("pid", "words"),
    [
        ("os.getpid()", "it was killed (SIGKILL), and not by faceoff or for want of memory"),
        ("os.getppid()", "it was killed (SIGKILL), and not by faceoff; perhaps for want of memory"),
    ],
    ids=["the job", "the supervisor, who counts"],
)
def test_a_job_that_is_killed_while_the_kernel_kills_another_for_memory(root: Path, pid: str, words: str) -> None:
    """In a cgroup of its own, as somebody else's container; the kernel counts it for the whole machine as well."""
    with memory_limit(400 * MIB) as line:
        with (root / "docker/host/image.yaml").open("a") as definition:
            definition.write(f"env: {{MEMORY_LIMIT: {json.dumps(line)}}}\n")
        done = attempt(root, LETS_ANOTHER_DIE % pid, CELL)
    assert done.returncode == 137, done.stderr
    assert failed(root, CELL).startswith(words)


# --------------------------------------------------------------------------------------------------------------- limits


def test_a_job_that_stands_still_is_ended_and_says_where_it_stood(root: Path) -> None:
    attempts.params_with(root, limits={"stall_minutes": 0.05, "cell_minutes": None})
    done = attempt(root, STEPS_THEN_HANG, CELL)
    assert "stepped\n" in done.stdout  # for longer than it may stand still
    assert failed(root, CELL).startswith("no event for 0.05 minutes (limits.stall_minutes): a loader that hangs")
    assert "in waits_for_a_loader" in done.stderr


def test_a_job_that_takes_too_long_is_ended_though_it_goes_on(root: Path) -> None:
    attempts.params_with(root, limits={"stall_minutes": 1, "cell_minutes": 0.02})
    done = attempt(root, STEPS_THEN_HANG.replace("range(40)", "range(3000)"), CELL)
    assert done.returncode > 128
    assert failed(root, CELL).startswith("not done after 0.02 minutes (limits.cell_minutes)")


def test_a_job_within_its_limits_is_left_alone(root: Path) -> None:
    attempts.params_with(root, limits={"stall_minutes": 1, "cell_minutes": 1})
    assert attempt(root, "import time; time.sleep(1)", CELL).returncode == 0


def test_a_stage_that_is_no_cells_is_held_to_a_limit_too(root: Path) -> None:
    attempts.params_with(root, limits={"stall_minutes": 0.02, "cell_minutes": None})
    done = run_stage(root, "inside", "host", "--", "sleep", "600", DVC_STAGE="profile@host")
    assert done.returncode > 128 and done.stderr.count("\n") == 1
    assert done.stderr.startswith("faceoff: image host: not done after 0.04 minutes (limits.stall_minutes for each")


def test_a_cell_that_failed_is_measured_when_it_is_run_again(root: Path) -> None:
    attempt(root, "raise SystemExit(7)", CELL)
    assert failed(root, CELL)
    assert attempt(root, "", CELL).returncode == 0
    assert codec.read(root / CELL.result_path("train"), Result).status == "ok"
