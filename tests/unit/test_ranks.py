"""A training of several processes: the launcher of the image's torch starts them, and who dies is named.

The launchers are stand-ins that do what torch's do: import of torch takes most of a second. Those are tried in
test_ranks_of_torch.py.
"""

import json
import os
import signal
import socket
import subprocess
import sys
import time
from pathlib import Path

import pytest

from stages.errors import TRY_LATER, FaceoffError
from stages.records import Variant
from stages.workload import processes, rank
from stages.workload.supervisor import ranks, reasons
from stages.workload.supervisor.command import Ended
from tests.supervised import CELL, EVENTS, PYTHONS, SPAN, Checkout

# torch.distributed.run ends the others when one has died; torch.distributed.launch of torch 1.2 waits for the first.
STARTS = """
import argparse, os, signal, subprocess, sys, time
parser = argparse.ArgumentParser()
for name in ("nproc_per_node", "nnodes", "node_rank", "max_restarts", "master_port"):
    parser.add_argument("--" + name, type=int)
for name in ("master_addr", "log_dir"):
    parser.add_argument("--" + name)
parser.add_argument("--use_env", action="store_true")
parser.add_argument("script")
parser.add_argument("arguments", nargs=argparse.REMAINDER)
its = parser.parse_args()
def start(rank):
    environment = dict(os.environ, RANK=str(rank), WORLD_SIZE=str(its.nproc_per_node), MASTER_ADDR=its.master_addr)
    return subprocess.Popen([sys.executable, "-u", its.script, *its.arguments], env=environment)
ranks = [start(rank) for rank in range(its.nproc_per_node)]
"""
RUN = (
    STARTS
    + """
assert its.max_restarts == its.node_rank == 0 and its.nnodes == 1 and its.master_port
while any(each.poll() is None for each in ranks) and not any(each.poll() for each in ranks):
    time.sleep(0.02)
if any(each.poll() for each in ranks):
    for each in ranks:
        each.poll() is None and each.send_signal(signal.SIGTERM)
    for each in ranks:
        each.wait()
    sys.exit(1)
"""
)
LAUNCH = (
    STARTS
    + """
assert its.use_env
for each in ranks:
    if each.wait():
        raise subprocess.CalledProcessError(each.returncode, "rank")
"""
)
LAUNCHERS = {"run.py": RUN, "launch.py": LAUNCH}
BEGIN = "import json, os, signal, sys, time\nrank = int(os.environ['RANK'])\n" + EVENTS


@pytest.fixture
def checkout(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Checkout:
    return make(tmp_path, monkeypatch, "run.py")


def make(folder: Path, monkeypatch: pytest.MonkeyPatch, launcher: str, python: str = PYTHONS[0]) -> Checkout:
    monkeypatch.chdir(folder)
    monkeypatch.delenv("OMP_NUM_THREADS", raising=False)
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "")  # on a machine with one card too
    checkout = Checkout(folder, python)
    checkout.variant = Variant({}, {}, gpus=2)
    distributed = folder / "torch" / "distributed"  # the checkout is on PYTHONPATH
    distributed.mkdir(parents=True)
    for package in (distributed.parent, distributed):
        (package / "__init__.py").touch()
    if launcher:
        (distributed / launcher).write_text(LAUNCHERS[launcher])
    return checkout


def run(checkout: Checkout, text: str, **changes):
    return checkout.run("train", checkout.script(BEGIN + text), ranks=2, **changes)


@pytest.mark.parametrize("python", PYTHONS)
@pytest.mark.parametrize("launcher", LAUNCHERS)
def test_both_start_and_the_first_one_tells(tmp_path, monkeypatch, launcher, python):
    checkout = make(tmp_path, monkeypatch, launcher, python)
    tells = """
open(os.path.join(os.environ["FACEOFF_OUTPUT"], str(rank)), "w").close()
tell(fact="told", value="{} of {} at {}".format(rank, os.environ["WORLD_SIZE"], os.environ["MASTER_ADDR"]))
tell(fact="threads", value=os.environ["OMP_NUM_THREADS"])
tell(fact="gpus", value=json.loads(os.environ["FACEOFF_CELL"])["gpus"])
tell(fact="marked", value="FACEOFF_RANKS" in os.environ)
"""
    done = run(checkout, tells + SPAN)
    assert done.returncode == 0, done.stderr
    found = checkout.result()
    threads = str(max(1, len(os.sched_getaffinity(0)) // 2))
    assert found.facts == {"told": "0 of 2 at 127.0.0.1", "threads": threads, "gpus": "2", "marked": "false"}
    assert len(found.spans) == 1
    assert {path.name for path in CELL.output_dir.iterdir()} == {"0", "1"} and not CELL.ranks_dir.exists()


def test_a_port_is_given_to_one_launcher_alone_and_it_may_listen_there():
    with ranks.held_port() as one, ranks.held_port() as other, socket.socket() as launchers:
        launchers.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        launchers.bind(("", one))
        launchers.listen()
        assert one != other
        with socket.socket() as careless, pytest.raises(OSError, match="in use"):
            careless.bind(("127.0.0.1", other))


def test_threads_that_the_user_has_set_are_kept(checkout):
    checkout.variant = Variant({}, {"OMP_NUM_THREADS": "7"}, gpus=2)
    run(checkout, 'tell(fact="threads", value=os.environ["OMP_NUM_THREADS"])')
    assert checkout.result().facts == {"threads": "7"}


DEATHS = {
    "raise ValueError('bad\\nand worse')": "rank 1 of 2 ended with exit code 1: ValueError: bad",
    "sys.exit('[rank1]: \\x1b[31mno\\x1b[0m\\n')": "rank 1 of 2 ended with exit code 1: no",
    "sys.exit(4)": "rank 1 of 2 ended with exit code 4; its own words are above",
    "os.kill(os.getpid(), signal.SIGSEGV)": "rank 1 of 2 was killed by SIGSEGV; its own words are above",
    "tell(error='no such file'); sys.exit(1)": "rank 1 of 2 ended with exit code 1: no such file",
}


@pytest.mark.parametrize("death", DEATHS)
def test_the_rank_that_died_is_named_at_once(checkout, death):
    """The other one waits, and is told to end: this process has a minute's patience."""
    done = run(checkout, f"if rank:\n    {death}\ntime.sleep(600)")
    assert (checkout.reason, done.returncode) == (DEATHS[death], 1), done.stderr


def test_the_first_rank_s_own_error_is_named_too(checkout):
    run(checkout, "if rank == 0:\n    tell(error='its disk is full')\n    sys.exit(2)\ntime.sleep(600)")
    assert checkout.reason == "rank 0 of 2 ended with exit code 2: its disk is full"


def test_who_lost_its_peer_is_not_the_cause_though_it_ended_first(checkout):
    """As where the cause takes a while to end: the launcher meets the other's death first."""
    text = f"""
lost = "RuntimeError: [pair.cc:561] Connection closed by peer [127.0.0.1]:45746"
up = {str(checkout.root / "up")!r}
if rank == 0:
    while not os.path.exists(up):
        time.sleep(0.01)
    sys.stderr.write(lost); sys.stderr.flush(); os._exit(1)
open(up, "w").close()
time.sleep(0.2)
sys.exit("out of luck")
"""
    run(checkout, text)
    assert checkout.reason == "rank 1 of 2 ended with exit code 1: out of luck"


def test_a_launcher_that_waits_for_the_others_is_ended(tmp_path, monkeypatch):
    """As torch 1.2's, whose first rank waits for the dead one in NCCL, for half an hour."""
    checkout = make(tmp_path, monkeypatch, "launch.py")
    (tmp_path / "sitecustomize.py").write_text(
        "from stages.workload.supervisor import ranks\nranks.PATIENCE_SECONDS = 0.5\n"
    )
    done = run(checkout, "if rank:\n    sys.exit(5)\ntime.sleep(600)")
    assert checkout.reason == "rank 1 of 2 ended with exit code 5; its own words are above"
    assert done.returncode == 1


def test_none_is_left_whoever_is_killed(checkout):
    """The supervisor asked to stop, and killed; each rank has a process of its own that hears nothing."""
    text = f"""
import subprocess
open({str(checkout.root)!r} + "/pid." + str(rank), "w").write(str(os.getpid()))
signal.signal(signal.SIGTERM, signal.SIG_IGN)
time.sleep(600)
"""
    for number, code in ((signal.SIGTERM, 128 + signal.SIGTERM), (signal.SIGKILL, -signal.SIGKILL)):
        with checkout.start("train", checkout.script(BEGIN + text), ranks=2) as supervisor:
            pids = [_pid(checkout.root / f"pid.{rank}") for rank in (0, 1)]
            supervisor.send_signal(number)
            supervisor.communicate(timeout=30)
        assert supervisor.returncode == code
        deadline = time.monotonic() + 10
        while any(_runs(pid) for pid in pids) and time.monotonic() < deadline:
            time.sleep(0.05)
        assert not any(_runs(pid) for pid in pids)
        for number in (0, 1):
            (checkout.root / f"pid.{number}").unlink()


def _pid(path: Path) -> int:
    deadline = time.monotonic() + 60
    while time.monotonic() < deadline and not (path.exists() and path.read_text()):
        time.sleep(0.05)
    return int(path.read_text())


def _runs(pid: int) -> bool:
    status = Path(f"/proc/{pid}/stat")
    try:
        return status.read_text().rpartition(")")[2].split()[0] != "Z"
    except OSError:
        return False


def test_all_may_stop_before_the_session_s_end(checkout):
    done = run(checkout, f"sys.exit({TRY_LATER})")
    assert done.returncode == TRY_LATER


def test_where_they_stand_each_of_them_says(checkout):
    """The host's watchdog asks; a launcher knows nothing of it."""
    text = f"""
def here():
    open({str(checkout.root)!r} + "/pid." + str(rank), "w").write("1")
    time.sleep(600)
here()
"""
    with checkout.start("train", checkout.script(BEGIN + text), ranks=2) as supervisor:
        for rank in (0, 1):
            _pid(checkout.root / f"pid.{rank}")
        supervisor.send_signal(signal.SIGUSR1)
        _, said = supervisor.communicate(timeout=30)
    assert said.count("in here") == 2, said


def test_without_a_launcher_it_is_said_what_is_lacking(tmp_path, monkeypatch):
    checkout = make(tmp_path, monkeypatch, "")
    run(checkout, "")
    assert checkout.reason.startswith("gpus is 2: processes are started by torch.distributed.run or torch.dist")
    assert "{gpus}" in checkout.reason and not processes.children(os.getpid())


def test_a_full_dev_shm_is_told_of_a_rank_too():
    ended = Ended(1, 1.0, 1, None, False, words="rank 1 of 2 was killed by SIGBUS; its own words are above")
    with pytest.raises(FaceoffError, match="SIGBUS; its own words are above; /dev/shm was full: 0 B of it were free"):
        reasons.check(ended, None, None, 0)


def test_a_rank_whose_words_nobody_reads_goes_on(tmp_path):
    reader, writer = os.pipe()
    os.close(reader)
    script = "import sys\nsys.stderr.write('x' * 200000)\nsys.exit(7)"
    environment = {**os.environ, "RANK": "0", rank.FOLDER: str(tmp_path)}
    command = [sys.executable, rank.__file__, "-c", script]
    done = subprocess.run(command, env=environment, stderr=writer, timeout=20, check=False)
    os.close(writer)
    assert done.returncode == json.loads((tmp_path / "0").read_text())["code"] == 7
