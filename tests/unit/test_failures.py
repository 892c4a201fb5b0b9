"""Why a cell failed, in one line, from how its process ended and what the job said."""

import signal
from contextlib import chdir
from pathlib import Path

import pytest

from stages import codec, holders, records
from stages.errors import KILLED_FOR_MEMORY, NOT_FOR_MEMORY
from stages.harness.cells import failures
from stages.harness.environments.launch import Outcome
from stages.harness.params import schema
from stages.records import Cell
from tests import results
from tests.project import make_project, write_job

CELL = Cell("host", "plain", 1)
ESTIMATE = "import os; open(os.environ['FACEOFF_EVENTS'], 'a').write('{\"estimate\": {\"shm_bytes\": %d}}')"


@pytest.fixture
def root(tmp_path: Path) -> Path:
    make_project(tmp_path, ["host"], container={"memory": "8g", "shm_size": "64m"})
    codec.write(tmp_path / records.MACHINE_PATH, results.machine())
    return tmp_path


def reason(root: Path, outcome: Outcome, last_words: str = "") -> str:
    with chdir(root):
        found = failures.reason(outcome, last_words, CELL, schema.load())
    assert "\n" not in found
    return found


def needs(root: Path, shm_bytes: int) -> None:
    """Have the job say what it needs of /dev/shm."""
    write_job(root, "tiny", {"job.yaml": "train: bash train.sh\nestimate: python estimate.py\n"})
    write_job(root, "tiny", {"estimate.py": ESTIMATE % shm_bytes})


def test_the_jobs_own_words_go_before_its_exit_code(root: Path) -> None:
    assert reason(root, Outcome(1, False), "no loss after step 3") == "no loss after step 3"
    assert reason(root, Outcome(3, False)) == "it ended with exit code 3; its own words are above"


@pytest.mark.parametrize(
    ("number", "said"),
    [
        (signal.SIGSEGV, "it died of a segmentation fault in native code; "),
        (signal.SIGKILL, "it was killed (SIGKILL), and not by faceoff or for want of memory: "),
        (signal.SIGILL, "it died of an instruction that this CPU does not have: "),
    ],
)
def test_a_signal_tells_more_than_the_words_before_it(root: Path, number: int, said: str) -> None:
    assert reason(root, Outcome(128 + number, False), "the command was killed by signal").startswith(said)


def test_limits_are_named_with_their_value(root: Path) -> None:
    with_limits = Outcome(137, False, overdue="stall_minutes")
    assert reason(root, with_limits).startswith("no event for 10 minutes (limits.stall_minutes)")


def test_memory_of_a_container_and_of_the_machine(root: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    assert reason(root, Outcome(137, True)) == (
        "it ran out of memory: it needs more than the 8g of container.memory: raise that, or lower the variant's "
        "memory need (batch size, workers)"
    )
    monkeypatch.setattr(holders, "of_memory", lambda total_bytes: "")
    assert "this machine has (8 GiB): end what else runs here, or " in reason(root, Outcome(137, True, isolated=False))
    monkeypatch.setattr(holders, "of_memory", lambda total_bytes: "pid 17 (hog.py) holds 5 GiB of it")
    of_machine = reason(root, Outcome(137, True, isolated=False))
    assert "end what else runs here (pid 17 (hog.py) holds 5 GiB of it), or lower" in of_machine
    assert "hog.py" not in reason(root, Outcome(137, True))


def test_memory_that_a_loader_wanted_is_told_by_the_supervisor_where_the_engine_says_nothing(root: Path) -> None:
    said = f"{KILLED_FOR_MEMORY}; the command ended with exit code 1; its own words are above"
    assert reason(root, Outcome(1, False), said) == reason(root, Outcome(137, True))


def test_a_neighbours_death_for_memory_is_not_taken_for_the_jobs(root: Path) -> None:
    """The host counts the whole machine; the supervisor, where it lives, its own cgroup."""
    killed = Outcome(137, False, some_killed=True)
    known = f"the command was killed by SIGKILL, {NOT_FOR_MEMORY}"
    assert reason(root, killed, known).startswith("it was killed (SIGKILL), and not by faceoff or for want of memory: ")
    for said in ("", "the command was killed by SIGKILL"):  # the supervisor died too, or cannot count
        assert reason(root, killed, said).startswith(
            "it was killed (SIGKILL), and not by faceoff; perhaps for want of memory, "
        )


def test_a_bus_error_is_put_down_to_dev_shm_unless_the_job_needs_less(root: Path) -> None:
    died = Outcome(128 + signal.SIGBUS, False)
    full = reason(root, died)  # the job does not say what it needs
    assert full.startswith("it died of a bus error, as one does whose /dev/shm is full: /dev/shm has 64 MiB: raise ")
    needs(root, 100 * 2**20)
    assert "its batches may need 100 MiB: raise container.shm_size, or lower" in reason(root, died)
    needs(root, 2**20)
    assert "and not for want of /dev/shm" in reason(root, died)
    needs(root, 10**15)
    assert "enlarge it (mount -o remount" in reason(root, Outcome(128 + signal.SIGBUS, False, isolated=False))


def test_a_write_to_what_a_container_only_reads_is_told_where_to_go(root: Path) -> None:
    said = reason(root, Outcome(1, False, met_read_only=True), "the command ended with exit code 1")
    assert said.startswith(
        "the command ended with exit code 1: it wrote into a folder that is read-only; write below {out"
    )
