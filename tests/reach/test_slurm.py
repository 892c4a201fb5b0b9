"""Sessions on a real Slurm with two nodes; and what each end is called."""

import os
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from reach import session
from reach.slurm import __main__ as command
from reach.slurm import queue, sessions
from stages.errors import FaceoffError
from stages.harness.sites import names
from tests import checkouts, project, slurm

# The second repeat waits as long as there is a file `hold`; how long the work takes is up to the image's variables.
TRAIN = """\
import json, os, pathlib, sys, time
repeat = json.loads(os.environ["FACEOFF_CELL"])["repeat"]
while repeat == 2 and pathlib.Path(sys.argv[1], "hold").exists():
    time.sleep(0.05)
began = time.perf_counter()
time.sleep(float(os.environ["DELAY"]))
with open(os.environ["FACEOFF_EVENTS"], "a") as events:
    events.write(json.dumps({"span": "work", "seconds": time.perf_counter() - began}) + "\\n")
"""
JOB = {"job.yaml": "train: python train.py {hold}\ntotal: [work]\n", "train.py": TRAIN}
COUNT = 3


class Cluster:
    """Two nodes, and a checkout for each, whose images differ in one variable."""

    def __init__(self, folder: Path, environment: dict[str, str]) -> None:
        self.folder, self.environment = folder, environment
        self.hold = folder / "hold"
        self.checkouts = {"old": self._checkout("old", 0.2), "new": self._checkout("new", 0.4)}

    def _checkout(self, site: str, delay: float) -> Path:
        made = checkouts.make_checkout(
            self.folder / f"of {site}", job="held", repeats=[1, 2], variants={"plain": {"hold": str(self.folder)}}
        )
        project.write_job(made, "held", JOB)
        image = made / "docker/host/image.yaml"
        image.write_text(f'{image.read_text()}env: {{DELAY: "{delay}"}}\n')
        checkouts.commit(made)
        return made

    def reach(self, site: str, *arguments: str, code: int = 0) -> str:
        command = [sys.executable, "-m", "reach.slurm", *arguments]
        done = subprocess.run(
            command, cwd=self.checkouts[site], env=self.environment, capture_output=True, text=True, timeout=1200
        )
        assert done.returncode == code, done.stdout + done.stderr
        return done.stdout + done.stderr

    def slurm(self, *command: str) -> None:
        subprocess.run(command, env=self.environment, check=True, timeout=60)

    def at(self, site: str, number: int) -> Path:
        return self.checkouts[site] / f".reach/slurm/{site}-{number}"

    def job(self, site: str, number: int) -> str:
        return str(sessions.codec.read(self.at(site, number) / sessions.SUBMITTED, sessions.Submitted).jobs[-1])

    def wait_for(self, site: str, number: int, is_so: Callable[[str, Path], bool], seconds: float = 600) -> None:
        end = time.monotonic() + seconds
        folder = self.at(site, number)
        while not is_so(self.state(site, number), folder):
            log = folder / sessions.LOG
            assert time.monotonic() < end, log.read_text()[-3000:] if log.exists() else self.state(site, number)
            time.sleep(0.3)

    def state(self, site: str, number: int) -> str:
        folder = self.at(site, number)
        return sessions.standing(folder, sessions.codec.read(folder / sessions.SUBMITTED, sessions.Submitted)).state


def is_held(state: str, folder: Path) -> bool:
    """Whether the session's second repeat has begun, and its first is whole."""
    metrics = folder / sessions.CHECKOUT / "metrics/host/plain"
    log = folder / sessions.LOG
    began = log.exists() and "training, cell 2 of 2: " in log.read_text()
    return state == session.RUNNING and began and (metrics / "train-1.json").exists()


@pytest.fixture
def cluster(monkeypatch: pytest.MonkeyPatch) -> Iterator[Cluster]:
    folder = Path(tempfile.mkdtemp(prefix="slurm-", dir="/tmp"))  # short: of sockets
    folder.chmod(0o755)
    try:
        with slurm.running(folder / "s") as environment:
            for name in ("SLURM_CONF", "PATH"):
                monkeypatch.setenv(name, environment[name])
            yield Cluster(folder, environment)
    finally:
        shutil.rmtree(folder, ignore_errors=True)


@pytest.mark.slow
def test_three_sessions_on_each_of_two_nodes_whatever_ends_them(cluster: Cluster) -> None:
    cluster.hold.touch()
    for site, node in (("old", "n1"), ("new", "n2")):
        cluster.reach(site, "submit", "--node", node, "--as", site, "--sessions", str(COUNT), "--hours", "0.5")
    for site in cluster.checkouts:
        cluster.wait_for(site, 1, is_held)
    before = (cluster.at("old", 1) / "checkout/metrics/host/plain/train-1.json").read_bytes()

    cluster.slurm("scontrol", "requeue", cluster.job("new", 1))
    cluster.wait_for("new", 1, lambda state, _: state == sessions.REQUEUED)
    cluster.slurm("scancel", cluster.job("old", 1))
    cluster.wait_for("old", 1, lambda state, _: state == sessions.CANCELLED)
    cluster.wait_for("old", 2, is_held)
    cluster.slurm("scontrol", "update", f"JobId={cluster.job('old', 2)}", "EndTime=now+1")
    cluster.wait_for("old", 2, lambda state, _: state == session.TIMED_OUT)
    cluster.hold.unlink()

    printed = cluster.reach("old", "follow", code=1)
    assert "old-1: cancelled" in printed and "old-2: timed-out" in printed and "old-3: done" in printed
    assert len(names.session_dirs("old", cluster.checkouts["old"])) == 1
    printed = cluster.reach("old", "again")
    assert "old-1: was cancelled, goes on as job" in printed and "old-3" not in printed
    cluster.reach("old", "follow")
    cluster.reach("new", "follow")
    assert (cluster.at("old", 1) / "checkout/metrics/host/plain/train-1.json").read_bytes() == before

    for site, checkout in cluster.checkouts.items():
        assert len(names.session_dirs(site, checkout)) == COUNT
    assert "Restarts=1" in subprocess.run(
        ["scontrol", "show", "job", "-o", cluster.job("new", 1)], capture_output=True, text=True
    ).stdout.replace("Requeue=1 ", "")
    cluster.reach("new", "follow")  # again: nothing counts twice
    assert len(names.session_dirs("new", cluster.checkouts["new"])) == COUNT
    compared(cluster)


def compared(cluster: Cluster) -> None:
    """The sites differ by the one cause that there is."""
    shutil.copytree(cluster.checkouts["old"] / "sites/old", cluster.checkouts["new"] / "sites/old")
    done = project.run_stage(cluster.checkouts["new"], "compare", "--sites", "old", "new")
    assert done.returncode == 0, done.stderr
    [line] = [each for each in done.stdout.splitlines() if each.startswith("new, host/plain, total time")]
    assert "slower" in line and "DELAY" in line and "cannot be told" not in line


def shown(state: str, reason: str = "None", restarts: int = 0, ran: int = 10) -> queue.Shown:
    return queue.Shown(state, reason, "n1", restarts, ran, 3600)


@pytest.mark.parametrize(
    ("of_slurm", "own", "expected"),
    [
        (shown("PENDING", "Resources"), None, "waiting"),
        (shown("PENDING", "BeginTime", restarts=1), "stopped", "requeued"),
        (shown("RUNNING"), None, "running"),
        (shown("COMPLETING"), "done", "running"),
        (shown("COMPLETED"), "done", "done"),
        (shown("COMPLETED"), None, "failed"),
        (shown("FAILED", "NonZeroExitCode"), "failed", "failed"),
        (shown("FAILED", "NonZeroExitCode"), "timed-out", "timed-out"),
        (shown("FAILED", "NonZeroExitCode"), "stopped", "stopped"),
        (shown("FAILED", "NonZeroExitCode", ran=3500), "stopped", "timed-out"),
        (shown("CANCELLED"), "stopped", "cancelled"),
        (shown("CANCELLED"), "running", "cancelled"),
        (shown("CANCELLED"), "done", "done"),
        (shown("TIMEOUT", "TimeLimit"), "running", "timed-out"),
        (shown("NODE_FAIL", "NodeDown"), "running", "node-failed"),
        (shown("OUT_OF_MEMORY", "OutOfMemory"), "failed", "out-of-memory"),
        (shown("PREEMPTED"), "stopped", "preempted"),
        (None, "done", "done"),
        (None, "running", "lost"),
        (None, None, "lost"),
        (None, "stopped", "cancelled"),
    ],
)
def test_every_end_has_a_name(of_slurm: queue.Shown | None, own: str | None, expected: str) -> None:
    noted: dict[str, object] = {} if own is None else {"state": own, "job": "7", "code": 1}
    assert sessions.judged(of_slurm, noted, "7").state == expected


def test_the_word_of_an_earlier_job_does_not_count() -> None:
    assert sessions.judged(shown("RUNNING"), {"state": "done", "job": "6"}, "7").state == "running"
    assert sessions.judged(None, {"state": "done", "job": "6"}, "7").state == "lost"


@pytest.mark.parametrize(("text", "found"), [("1-02:03:04", 93784), ("00:10:00", 600), ("UNLIMITED", None)])
def test_times_of_slurm(text: str, found: int | None) -> None:
    assert queue.seconds(text) == found


def test_secrets_of_the_shell_stay_here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    program = tmp_path / "sbatch"
    program.write_text('#!/bin/sh\nenv >"$0.env"\necho "$@" >"$0.arguments"\necho "12;here"\n')
    program.chmod(0o755)
    monkeypatch.setenv("PATH", f"{tmp_path}:{os.environ['PATH']}")
    monkeypatch.setenv("KAGGLE_KEY", "s3cr3t")
    monkeypatch.setenv("SBATCH_PARTITION", "of-an-outer-job")
    assert queue.submit("#!/bin/sh\n", ["--time=1"]) == "12"
    [exported] = [each for each in (tmp_path / "sbatch.arguments").read_text().split() if "--export=" in each]
    assert "PATH" in exported.split("=")[1].split(",") and "KAGGLE_KEY" not in exported and "ALL" not in exported
    assert "SBATCH_PARTITION" not in (tmp_path / "sbatch.env").read_text()


def test_without_slurm_it_is_one_line(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))
    with pytest.raises(FaceoffError, match=r"^cannot run sbatch: .*: run this where Slurm's commands are"):
        queue.submit("#!/bin/sh\n", [])


def test_of_a_session_that_slurm_refuses_nothing_is_left(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    checkout = checkouts.make_checkout(tmp_path / "checkout", repeats=[1])
    (tmp_path / "sbatch").write_text("#!/bin/sh\necho no such node >&2\nexit 1\n")
    (tmp_path / "sbatch").chmod(0o755)
    monkeypatch.setenv("PATH", f"{tmp_path}:{os.environ['PATH']}")
    monkeypatch.chdir(checkout)
    arguments = ["reach.slurm", "submit", "--node", "n9", "--sessions", "2", "--hours"]
    monkeypatch.setattr("sys.argv", [*arguments, "1"])
    with pytest.raises(FaceoffError, match="sbatch refused the job"):
        command.main()
    assert [*(checkout / ".reach/slurm").iterdir()] == []
    monkeypatch.setattr("sys.argv", [*arguments, "inf"])
    with pytest.raises(FaceoffError, match="--hours above 0"):
        command.main()
