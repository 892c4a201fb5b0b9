"""Podman services of a test's own, as tests/daemon.py has Docker's; and a command's: `python -m tests.podman COMMAND`.

The command has the service as its engine, which by then has the tests' base image from the engine that was there. Only
root can start one.
"""

import contextlib
import os
import pwd
import resource
import shutil
import signal
import subprocess
import sys
import tempfile
import uuid
from collections.abc import Iterator, Sequence
from pathlib import Path

from tests import real_engine
from tests.daemon import Daemon, end_all_of

PID_MAX = Path("/proc/sys/kernel/pid_max")
# Podman asks for a million files and processes, which not every root may have; crun refuses cgroup 1 beside 2.
CONFIG = """[containers]
default_ulimits = ["nofile={files}:{files}", "nproc={processes}:{processes}"]
[engine]
runtime = "runc"
cgroup_manager = "cgroupfs"
events_logger = "file"
"""
REGISTRIES = '[[registry]]\nlocation = "127.0.0.1"\ninsecure = true\n'  # as Docker holds it: tests/registry.py


class Podman(Daemon):
    """`podman system service` with everything that it keeps in one folder."""

    def __init__(self, folder: Path, through: Sequence[str] = ()) -> None:
        """`through`: the command that starts it."""
        super().__init__(folder, through=through)
        for name, text in (("containers.conf", _config()), ("registries.conf", REGISTRIES)):
            (folder / name).write_text(text)

    def _command(self, *words: str) -> list[str]:
        variables = {
            "CONTAINERS_CONF": "containers.conf",
            "CONTAINERS_REGISTRIES_CONF": "registries.conf",
            "TMPDIR": "",  # where it leaves what it loads
        }
        settings = [f"{variable}={self.folder / name}" for variable, name in variables.items()]
        places = [f"--{name}={self.folder / name}" for name in ("root", "runroot", "tmpdir")]
        return [*self._through, "env", *settings, "podman", *places, "--storage-driver=overlay", *words]

    def _begin(self) -> None:
        (self.folder / "sock").unlink(missing_ok=True)
        with (self.folder / "log").open("ab") as log:
            command = self._command("system", "service", "--time=0", self.host)
            # In its own folder: its conmon leaves a file `oom` where it was started, when a job runs out of memory.
            self._process = subprocess.Popen(command, stdout=log, stderr=log, cwd=self.folder)

    def stop(self) -> None:
        """It and all that it has started: its containers go on without it."""
        self.kill()  # asked to end, it waits half a minute for what it knows of
        subprocess.run(self._command("rm", "--all", "--force", "--time=0"), capture_output=True, cwd=self.folder)
        for each in ("root/overlay", "root", ""):
            subprocess.run(["umount", "--quiet", "--lazy", self.folder / each], stderr=subprocess.DEVNULL)


def _config() -> str:
    files, processes = (_hard(each) for each in (resource.RLIMIT_NOFILE, resource.RLIMIT_NPROC))
    return CONFIG.format(files=min(files, 2**20), processes=min(processes, int(PID_MAX.read_text())))


def _hard(kind: int) -> int:
    limit = resource.getrlimit(kind)[1]
    return sys.maxsize if limit == resource.RLIM_INFINITY else limit


@contextlib.contextmanager
def running(through: Sequence[str] = (), owner: tuple[int, int] = (0, 0)) -> Iterator[Podman]:
    """The service, for a test. `through`: the command by which another user starts it, who is its `owner`."""
    missing = [each for each in ("podman", "runc", *through[:1]) if shutil.which(each) is None]
    if os.getuid() != 0 or missing:
        real_engine.unable(f"only root starts a Podman service (lacking: {', '.join(missing) or 'root'})")
    with tempfile.TemporaryDirectory(prefix="p-") as folder:  # a short path: it holds sockets
        os.chown(folder, *owner)
        if owner == (0, 0):  # in memory, from where an image's thousands of files are gone at once
            subprocess.run(["mount", "-t", "tmpfs", "-o", "mode=755", "faceoff", folder], check=True)
        podman = Podman(Path(folder), [each.format(folder=folder) for each in through])
        try:
            podman.start()
            yield podman
        finally:
            podman.stop()


@contextlib.contextmanager
def rootless() -> Iterator[tuple[Podman, str]]:
    """One that an ordinary user of its own runs, and uid:gid of that user."""
    if os.getuid() != 0 or shutil.which("newuidmap") is None:
        real_engine.unable("only root makes a user for a rootless Podman, and newuidmap must be there")
    name = f"faceoff-{uuid.uuid4().hex[:8]}"
    subprocess.run(["useradd", "--no-create-home", name], check=True, capture_output=True)
    try:
        user = pwd.getpwnam(name)
        plain = ("env", "-i", "PATH=/usr/sbin:/usr/bin:/sbin:/bin", "HOME={folder}", "XDG_RUNTIME_DIR={folder}")
        become = ("setpriv", f"--reuid={name}", f"--regid={name}", "--clear-groups", *plain)
        with running(become, (user.pw_uid, user.pw_gid)) as podman:
            yield podman, f"{user.pw_uid}:{user.pw_gid}"
    finally:
        end_all_of(pwd.getpwnam(name).pw_uid)
        subprocess.run(["userdel", name], check=True, capture_output=True)


def main(command: Sequence[str]) -> int:
    """Run the command on a service of its own."""
    base = real_engine.base(real_engine.connect())
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(128 + signal.SIGTERM))  # by way of what tidies up
    with running() as podman:
        podman.load(base)
        return subprocess.run(command, env=podman.environment()).returncode


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
