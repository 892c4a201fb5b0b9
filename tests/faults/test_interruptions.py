"""Ctrl-C, SIGTERM and SIGKILL at every stage of a real `dvc repro`, at the worst moment: when a result is half written.

Image host; tests/engine/test_interruptions.py has containers. The job ends at once, all stages but preflight are real.
"""

import ctypes
import itertools
import os
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import suppress
from pathlib import Path

import pytest

from stages import records
from stages.harness.process.locks import RUNNER_PATH
from stages.records import Cell
from tests.mounts import mounting
from tests.pipeline.test_pipeline import Checkout
from tests.project import ROOT

pytestmark = pytest.mark.slow

STAGES = (
    *("machine", "preflight", "job", "download", "image", "profile"),
    *("train", "evaluate", "compare", "scorecard"),
)
CELL = Cell("host", "fp32", 1)
RESULT_PATH = CELL.result_path("train")
DVC_FILES = ("dvc.lock", "rwlock")
PATIENCE_SECONDS = 300
PR_SET_CHILD_SUBREAPER = 36  # of linux/prctl.h
RESULTS = (RESULT_PATH, CELL.result_path("evaluate"), records.COMPARISON_PATH, records.SCORECARD_PATH)


@pytest.fixture(scope="module", autouse=True)
def orphans() -> Iterator[None]:
    """Orphans become children of the tests, which reap them as an init does; not all of CI's inits do. To DVC a zombie
    is a process that still holds its locks.
    """
    libc = ctypes.CDLL(None)
    libc.prctl(PR_SET_CHILD_SUBREAPER, 1)
    yield
    libc.prctl(PR_SET_CHILD_SUBREAPER, 0)


def reap() -> None:
    with suppress(ChildProcessError):
        while os.waitpid(-1, os.WNOHANG)[0]:
            pass


@pytest.fixture(scope="module")
def checkout(tmp_path_factory: pytest.TempPathFactory) -> Checkout:
    return make(tmp_path_factory.mktemp("checkout") / "project")


def make(path: Path) -> Checkout:
    """A checkout with one cell on image host, and nothing run."""
    made = Checkout(path, images=["host"], variants={"fp32": {"precision": "fp32"}}, repeats=[1])
    shutil.copy(ROOT / "stages/machine.py", path / "stages")
    (path / "site").mkdir()
    shutil.copy(ROOT / "tests/faults/pause.py", path / "site/sitecustomize.py")
    definition = path / "docker/host/image.yaml"
    definition.write_text(f"{definition.read_text()}env: {{PYTHONPATH: {path / 'site'}}}\n")
    (path / ".git/info/exclude").open("a").write("/paused\n/site\n")
    made.commit("One cell")
    return made


def begin(checkout: Checkout, stage: str, *command: str) -> subprocess.Popen[str]:
    """Run the command until that stage stands still."""
    (checkout.path / "paused").unlink(missing_ok=True)
    environment = {
        **os.environ,
        "PATH": f"{Path(sys.executable).parent}:{os.environ['PATH']}",
        "PYTHONPATH": str(checkout.path / "site"),
        "SHELL": "/bin/sh",  # with which DVC runs the stage; Debian's does not replace itself by a single command
        "TMPDIR": str(temporary(checkout)),
    }
    (checkout.path / "site/pause").write_text(stage if stage in DVC_FILES else f"stages.{stage}")
    output = (checkout.path.parent / "output").open("w")
    process = subprocess.Popen(
        command, cwd=checkout.path, env=environment, stdout=output, stderr=output, start_new_session=True, text=True
    )
    wait_until((checkout.path / "paused").exists, lambda: f"{stage} begins: {Path(output.name).read_text()}")
    (checkout.path / "site/pause").unlink()  # what goes on later reads it too
    return process


def wait_until(holds: Callable[[], bool], what: Callable[[], str]) -> None:
    end = time.monotonic() + PATIENCE_SECONDS
    while not holds():
        assert time.monotonic() < end, f"not so in {PATIENCE_SECONDS} s: {what()}"
        time.sleep(0.05)


def processes(folder: Path) -> list[str]:
    """Command lines of what runs in the folder."""
    found = []
    for each in Path("/proc").glob("[0-9]*"):
        try:
            if (each / "cwd").readlink().is_relative_to(folder):
                found.append((each / "cmdline").read_bytes().replace(b"\0", b" ").decode())
        except OSError:  # it has ended
            continue
    return found


def temporary(checkout: Checkout) -> Path:
    """Where its processes have their temporary files."""
    folder = checkout.path.parent / "temporary"
    folder.mkdir(exist_ok=True)
    return folder


def left_over(checkout: Checkout) -> list[Path]:
    """Temporary files and locks."""
    parts = [checkout.path / name for name in ("metrics", "models", "reports", "data")]
    files = [each for part in parts for each in part.rglob("*")]
    left = [each for each in files if each.name.startswith(".") or each.suffix in (".tmp", ".running", ".partial")]
    left += [each for each in temporary(checkout).iterdir() if not each.name.startswith("torchinductor_")]  # empty
    locks = (each for each in (checkout.path / ".dvc/tmp").glob("faceoff.*") if each.name != RUNNER_PATH.name)
    return [*left, *locks]


def forget(checkout: Checkout, stage: str) -> None:
    """Have the stage run again; 'machine': all of them."""
    for name in ("dvc.lock", "metrics", "reports", "models", "data") if stage == "machine" else ():
        path = checkout.path / name
        shutil.rmtree(path) if path.is_dir() else path.unlink(missing_ok=True)
    if stage == "train":
        (checkout.path / RESULT_PATH).unlink(missing_ok=True)


def check_clean(checkout: Checkout) -> None:
    wait_until(lambda: not processes(checkout.path), lambda: f"all has ended: {processes(checkout.path)}")
    reap()
    assert left_over(checkout) == []


def check_clean_and_going_on(checkout: Checkout) -> None:
    check_clean(checkout)
    checkout.repro()
    assert all((checkout.path / each).exists() for each in RESULTS)


@pytest.mark.parametrize("numbers", [(signal.SIGINT,), (signal.SIGTERM, signal.SIGKILL)], ids=["Ctrl-C", "killed"])
def test_dvc_is_stopped_at_any_stage(checkout: Checkout, numbers: tuple[signal.Signals, ...]) -> None:
    """At one after the other. Ctrl-C reaches all of a terminal's processes; the others, in turn, DVC alone, which
    takes notice of neither and leaves its stage.
    """
    forget(checkout, "machine")
    for stage, number in zip(STAGES, itertools.cycle(numbers), strict=False):
        process = begin(checkout, stage, "dvc", "repro")
        if number == signal.SIGINT:
            os.killpg(process.pid, number)
        else:
            process.send_signal(number)
        assert process.wait(PATIENCE_SECONDS) == (255 if number == signal.SIGINT else -number), stage
        check_clean(checkout)
    check_clean_and_going_on(checkout)


SLOW_GIT = """#!/bin/sh
[ "$1" != write-tree ] || { touch paused; sleep 600; }
exec %s "$@"
"""


def test_publish_is_stopped(checkout: Checkout) -> None:
    if not (checkout.path / records.SCORECARD_PATH).exists():
        checkout.repro()
    tools = checkout.path.parent / "tools"
    tools.mkdir()
    (tools / "git").write_text(SLOW_GIT % shutil.which("git"))
    (tools / "git").chmod(0o755)
    (checkout.path / "paused").unlink(missing_ok=True)
    environment = {**os.environ, "PATH": f"{tools}:{os.environ['PATH']}", "TMPDIR": str(temporary(checkout))}
    before = checkout.run("git", "status", "--porcelain")
    command = [sys.executable, "-m", "stages.publish"]
    process = subprocess.Popen(command, cwd=checkout.path, env=environment, start_new_session=True)
    wait_until((checkout.path / "paused").exists, lambda: "it publishes")
    os.killpg(process.pid, signal.SIGINT)
    assert process.wait(PATIENCE_SECONDS) == 130
    check_clean(checkout)
    assert checkout.run("git", "status", "--porcelain") == before
    assert checkout.run("git", "for-each-ref", "refs/exps") == ""
    assert "dvc metrics diff" in checkout.run(*command)


@pytest.mark.parametrize(("number", "code"), [(signal.SIGINT, 130), (signal.SIGTERM, 143), (signal.SIGKILL, -9)])
def test_what_make_repro_runs_is_stopped(checkout: Checkout, number: int, code: int) -> None:
    forget(checkout, "train")
    process = begin(checkout, "train", sys.executable, "-m", "stages.repro")
    process.send_signal(number)
    assert process.wait(PATIENCE_SECONDS) == code
    if number == signal.SIGKILL:  # which leaves nobody to remove its own file; it holds nobody up
        wait_until(lambda: not processes(checkout.path), lambda: "all has ended")
        assert {each.name for each in left_over(checkout)} == {"faceoff.running"}
        checkout.run(sys.executable, "-m", "stages.repro")
    check_clean_and_going_on(checkout)


def test_a_cell_whose_inside_is_killed_ends_with_it(checkout: Checkout) -> None:
    forget(checkout, "train")
    process = begin(checkout, "train", "dvc", "repro")
    subprocess.run(["pkill", "-KILL", "-g", str(process.pid), "-f", "stages.inside"], check=True)
    assert process.wait(PATIENCE_SECONDS) != 0
    wait_until(lambda: not processes(checkout.path), lambda: "all has ended")
    reap()
    assert left_over(checkout) != []  # nobody was left to take it back
    checkout.repro()
    assert left_over(checkout) == []
    assert all((checkout.path / each).exists() for each in RESULTS)


@pytest.mark.parametrize(
    ("killed", "file"), [("dvc", "dvc.lock"), ("stages.repro", "dvc.lock"), ("stages.repro", "rwlock")]
)
def test_dvc_is_killed_while_it_writes_its_own_files(checkout: Checkout, killed: str, file: str) -> None:
    """And no cell is measured again that was committed, though DVC has lost half of what it knew."""
    if not (checkout.path / records.SCORECARD_PATH).exists():
        checkout.repro()
    measured = (checkout.path / RESULT_PATH).stat().st_mtime_ns
    process = begin(checkout, file, sys.executable, "-m", "stages.repro")
    subprocess.run(["pkill", "-KILL", "-s", str(process.pid), "-f", f"python.* -m {killed}"], check=True)
    assert process.wait(PATIENCE_SECONDS) != 0
    wait_until(lambda: not processes(checkout.path), lambda: "all has ended")
    reap()
    checkout.run(sys.executable, "-m", "stages.repro")
    assert (checkout.path / RESULT_PATH).stat().st_mtime_ns == measured
    assert left_over(checkout) == []


# As sitecustomize of DVC: once the second cell's result is there, the disk is full from when dvc.lock is written over.
FILLS = """
import builtins, contextlib, pathlib, sys

def open_and_fill(path, mode="r", *arguments, **keywords):
    file = really_open(path, mode, *arguments, **keywords)
    if "w" in mode and str(path).endswith("dvc.lock") and second.exists():
        with really_open("filler", "wb", buffering=0) as filler, contextlib.suppress(OSError):
            while True:
                filler.write(bytes(4096))
    return file

second = pathlib.Path("metrics/host/fp32/train-2.json")
if sys.orig_argv[1:3] == ["-m", "dvc"]:
    really_open, builtins.open = builtins.open, open_and_fill
"""
ON_A_FULL_DISK = """
mkdir disk
mount -t tmpfs -o size=64m tmpfs disk
cp -a {checkout}/. disk
cd disk
{python} -m stages.repro
sha256sum {first} >../before
sed -i 's/^- 1$/- 1\\n- 2/' params.yaml
code=0; PYTHONPATH={fills} {python} -m stages.repro || code=$?
rm filler
{python} -m stages.repro
sha256sum --check ../before
exit $code
"""


def test_the_disk_is_full_when_a_cell_is_committed(checkout: Checkout, tmp_path: Path) -> None:
    """What was committed before is not measured again."""
    (tmp_path / "fills").mkdir()
    (tmp_path / "fills/sitecustomize.py").write_text(FILLS)
    places = {"checkout": checkout.path, "first": RESULT_PATH, "fills": tmp_path / "fills"}
    done = mounting(ON_A_FULL_DISK.format(python=sys.executable, **places), tmp_path)
    assert f"{RESULT_PATH}: OK\n" in done.stdout, done.stdout + done.stderr
    said = ("No space left on device", "Unable to read RWLock-file")  # whichever of DVC's files it is at by then
    assert done.returncode == 255 and any(each in done.stderr for each in said), done.stderr


# ---------------------------------------------------------------------------------------------------- two runs at once


MAKE = ["make", "-o", ".venv/harness.stamp"]  # the set-up counts as done


@pytest.mark.parametrize(
    ("command", "seconds"),
    [
        (["dvc", "repro"], [["dvc", "repro"], [*MAKE, "preflight"]]),
        ([sys.executable, "-m", "stages.repro"], [[*MAKE, "repro"], [*MAKE, "preflight"]]),
    ],
    ids=["dvc repro", "make"],
)
def test_a_second_command_in_one_checkout(checkout: Checkout, command: list[str], seconds: list[list[str]]) -> None:
    """It is refused, and has changed nothing that the first one reads."""
    forget(checkout, "train")
    first = begin(checkout, "train", *command)
    for name in ("Makefile", "stages/preflight.py"):
        shutil.copy(ROOT / name, checkout.path / name)
    read = [checkout.path / each for each in ("params.yaml", records.MACHINE_PATH, records.SESSION_PATH)]
    before = [(each.read_bytes(), each.stat().st_mtime_ns) for each in read]
    for each in seconds:
        second = subprocess.run(each, cwd=checkout.path, env=path_of_tools(), capture_output=True, text=True)
        assert second.returncode != 0
        assert "faceoff: this checkout: another run is at work on it" in second.stderr
    assert [(each.read_bytes(), each.stat().st_mtime_ns) for each in read] == before
    assert first.poll() is None
    first.terminate()
    first.wait(PATIENCE_SECONDS)
    checkout.run("git", "checkout", "-q", "stages/preflight.py")
    check_clean_and_going_on(checkout)


def test_two_attempts_at_one_cell(checkout: Checkout) -> None:
    forget(checkout, "train")
    command = [sys.executable, "-m", "stages.inside", "host", "--result", str(RESULT_PATH)]
    first = begin(checkout, "train", *command)
    second = subprocess.run(command, cwd=checkout.path, capture_output=True, text=True)
    assert (second.returncode, second.stderr) == (
        1,
        f"faceoff: {CELL.setting}, repeat 1: another run is at work on it ({CELL.running_path}): wait for that, or "
        "stop it\n",
    )
    assert first.poll() is None
    first.terminate()
    assert first.wait(PATIENCE_SECONDS) == 143
    check_clean_and_going_on(checkout)


def path_of_tools() -> dict[str, str]:
    return {**os.environ, "PATH": f"{Path(sys.executable).parent}:{os.environ['PATH']}"}
