"""A Docker daemon of a test's own, which can be killed. Only root can start one."""

import os
import shutil
import subprocess
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from tests.real_engine import unable

START_SECONDS = 120


class Daemon:
    """dockerd with everything that it keeps in one folder."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.host = f"unix://{folder}/sock"
        self._process: subprocess.Popen[bytes] | None = None

    def start(self) -> None:
        """Start it, more than once if need be: after a kill its containerd may not find its feet in time."""
        end = time.monotonic() + START_SECONDS
        while not self._answers():
            assert time.monotonic() < end, (self.folder / "log").read_text()[-2000:]
            if self._process is None or self._process.poll() is not None:
                self._begin()
            time.sleep(0.2)

    def _begin(self) -> None:
        for left in (
            "pidfile",
            "exec-root/containerd/containerd.pid",
        ):  # of a killed one; the pids may be others' by now
            (self.folder / left).unlink(missing_ok=True)
        places = [f"--{name}={self.folder / name}" for name in ("data-root", "exec-root", "pidfile")]
        with (self.folder / "log").open("ab") as log:
            command = ["dockerd", *places, "--host", self.host, "--bridge=none", "--iptables=false"]
            self._process = subprocess.Popen(command, stdout=log, stderr=log)

    def _answers(self) -> bool:
        command = ["docker", "version"]
        return subprocess.run(command, env=self.environment(), capture_output=True).returncode == 0

    def environment(self) -> dict[str, str]:
        return {**os.environ, "DOCKER_HOST": self.host}

    def load(self, reference: str) -> None:
        """An image that the tests' engine has."""
        with subprocess.Popen(["docker", "save", reference], stdout=subprocess.PIPE) as saving:
            subprocess.run(["docker", "load"], stdin=saving.stdout, env=self.environment(), check=True)

    def kill(self) -> None:
        assert self._process is not None
        self._process.kill()
        self._process.wait()

    def stop(self) -> None:
        """It and all that it has started: what containers a killed one has left, it ends when it starts."""
        self.start()
        assert self._process is not None
        self._process.terminate()
        self._process.wait()
        subprocess.run(["umount", "--quiet", self.folder / "data-root"])  # which it mounted, and a killed one left so


@contextmanager
def running(folder: Path) -> Iterator[Daemon]:
    """The daemon, for a test. Its folder's path must be short: it holds sockets."""
    if os.getuid() != 0 or shutil.which("dockerd") is None:
        unable("only root starts a dockerd")
    daemon = Daemon(folder)
    daemon.start()
    try:
        yield daemon
    finally:
        daemon.stop()
