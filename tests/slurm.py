"""A throw-away Slurm of a test's own: real daemons on 127.0.0.1, two nodes on this machine, nothing enforced."""

import contextlib
import os
import random
import shutil
import signal
import socket
import subprocess
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

PROGRAMS = ("munged", "slurmctld", "slurmd", "sbatch", "scontrol", "scancel", "sinfo")
SEARCHED = os.pathsep.join((os.environ.get("PATH", os.defpath), "/usr/sbin", "/sbin"))
PACKAGES = "apt-get install --no-install-recommends slurmctld slurmd slurm-client munge"
REQUIRED = "FACEOFF_REQUIRE_SLURM"
# Without NoCtldInAddrAny and NoInAddrAny it listens everywhere; cred_expire is also how long a requeued job waits.
CONF = """\
ClusterName=loopback
SlurmctldHost={host}(127.0.0.1)
SlurmctldPort={port}
SlurmUser={user}
SlurmdUser={user}
CommunicationParameters=NoCtldInAddrAny,NoInAddrAny
AuthType=auth/munge
AuthInfo=socket={folder}/munge/socket,cred_expire=5
CredType=cred/munge
StateSaveLocation={folder}/state
SlurmdSpoolDir={folder}/spool-%n
SlurmctldPidFile={folder}/slurmctld.pid
SlurmdPidFile={folder}/slurmd.%n.pid
SlurmctldLogFile={folder}/slurmctld.log
SlurmdLogFile={folder}/slurmd.%n.log
AccountingStorageType=accounting_storage/none
JobAcctGatherType=jobacct_gather/none
MailProg=/bin/true
MpiDefault=none
ProctrackType=proctrack/linuxproc
TaskPlugin=task/none
EnforcePartLimits=ALL
SchedulerType=sched/backfill
SchedulerParameters=batch_sched_delay=0,sched_interval=1,bf_interval=1,bf_resolution=1
SelectType=select/cons_tres
SelectTypeParameters=CR_Core
KillWait=15
MinJobAge=3600
ReturnToService=2
SlurmdParameters=config_overrides
{nodes}
PartitionName=main Nodes=ALL Default=YES DefaultTime=10 MaxTime=60 State=UP
"""


@contextlib.contextmanager
def running(folder: Path, nodes: int = 2) -> Iterator[dict[str, str]]:
    """Start one in a folder of at most 60 letters; the environment of its commands. Skips where it is not installed."""
    missing = [name for name in PROGRAMS if shutil.which(name, path=SEARCHED) is None]
    if missing:
        if os.environ.get(REQUIRED):
            pytest.fail(f"{', '.join(missing)} missing: {PACKAGES}")
        pytest.skip(f"NOT TESTED: no Slurm here ({', '.join(missing)}): {PACKAGES}")
    for name in ("munge", "state", *(f"spool-n{number + 1}" for number in range(nodes))):
        (folder / name).mkdir(parents=True)
    within, host = _name()
    port = _free_port(nodes)
    lines = (
        f"NodeName=n{number} NodeHostname={host} NodeAddr=127.0.0.1 Port={port + number} CPUs=2 RealMemory=1024"
        for number in range(1, nodes + 1)
    )
    user = subprocess.run(["id", "-un"], capture_output=True, text=True, check=True).stdout.strip()
    conf = folder / "slurm.conf"
    conf.write_text(CONF.format(host=host, port=port, user=user, folder=folder, nodes="\n".join(lines)))
    # A session gets HOME of the shell, and of git and DVC what lies there.
    environment = {**os.environ, "PATH": SEARCHED, "HOME": str(folder), "SLURM_CONF": str(conf)}
    try:
        _start(folder, within, nodes, environment)
        yield environment
    finally:
        _stop(folder, environment)


def _start(folder: Path, within: list[str], nodes: int, environment: dict[str, str]) -> None:
    key = folder / "munge/key"
    key.write_bytes(os.urandom(128))
    key.chmod(0o600)
    files = {"key-file": "key", "socket": "socket", "pid-file": "pid", "log-file": "log", "seed-file": "seed"}
    options = [f"--{option}={folder}/munge/{name}" for option, name in files.items()]
    commands = [["munged", "--force", "--origin=127.0.0.1", *options], ["slurmctld", "-f", f"{folder}/slurm.conf"]]
    commands += [["slurmd", "-f", f"{folder}/slurm.conf", "-N", f"n{number}"] for number in range(1, nodes + 1)]
    with (folder / "start.log").open("w") as log:
        for command in commands:
            subprocess.run([*within, *command], env=environment, stdin=subprocess.DEVNULL, stdout=log, stderr=log)
    end = time.monotonic() + 120
    idle = ["sinfo", "-h", "-N", "-t", "idle", "-o", "%N"]
    while len(subprocess.run(idle, env=environment, capture_output=True, text=True).stdout.split()) < nodes:
        assert time.monotonic() < end, (folder / "slurmctld.log").read_text()[-2000:]
        time.sleep(0.1)


def _stop(folder: Path, environment: dict[str, str]) -> None:
    """End its jobs, while the daemons can, then the daemons by their pids."""
    with contextlib.suppress(OSError, subprocess.TimeoutExpired):
        jobs = subprocess.run(["squeue", "-h", "-o", "%A"], env=environment, capture_output=True, text=True, timeout=15)
        if jobs.stdout.split():
            subprocess.run(["scancel", *jobs.stdout.split()], env=environment, timeout=15)
        end = time.monotonic() + 25
        while jobs.stdout.split() and time.monotonic() < end:
            time.sleep(0.2)
            jobs = subprocess.run(["squeue", "-h"], env=environment, capture_output=True, text=True, timeout=15)
    for path in (*folder.glob("slurmctld.pid"), *folder.glob("slurmd.*.pid"), folder / "munge/pid"):
        with contextlib.suppress(OSError, ValueError):
            pid = int(path.read_text())
            if str(folder) in Path(f"/proc/{pid}/cmdline").read_text():
                os.kill(pid, signal.SIGTERM)
                _wait_for(pid)


def _wait_for(pid: int) -> None:
    end = time.monotonic() + 10
    with contextlib.suppress(OSError):
        while time.monotonic() < end and Path(f"/proc/{pid}/cmdline").read_bytes():  # empty once it is a zombie
            time.sleep(0.05)


def _name() -> tuple[list[str], str]:
    """Return what to start daemons with, and the machine's name for them: it must lead to 127.0.0.1 alone."""
    host = socket.gethostname().partition(".")[0]
    with contextlib.suppress(OSError):
        if socket.gethostbyname(socket.gethostname()) == "127.0.0.1":
            return [], host
    within = ["unshare", "--uts", "bash", "-c", 'echo localhost >/proc/sys/kernel/hostname && exec "$@"', "-"]
    if subprocess.run([*within, "true"], capture_output=True).returncode:
        pytest.skip("NOT TESTED: this machine's name does not lead to 127.0.0.1, and only root can give Slurm another")
    return within, "localhost"


def _free_port(nodes: int) -> int:
    while True:
        first = random.randrange(20000, 30000)  # noqa: S311 - a port
        if all(_is_free(first + each) for each in range(nodes + 1)):
            return first


def _is_free(port: int) -> bool:
    with socket.socket() as one:
        return one.connect_ex(("127.0.0.1", port)) != 0
