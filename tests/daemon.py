"""A Docker daemon of a test's own, which can be killed. Only root can start one."""

import os
import shutil
import subprocess
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

START_SECONDS = 60


class Daemon:
    """dockerd with everything that it keeps in one folder."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.host = f"unix://{folder}/sock"
        self._process: subprocess.Popen[bytes] | None = None

    def start(self) -> None:
        (self.folder / "pid").unlink(missing_ok=True)  # which a killed one has left
        places = [f"--{name}={self.folder / name}" for name in ("data-root", "exec-root", "pidfile")]
        with (self.folder / "log").open("ab") as log:
            command = ["dockerd", *places, "--host", self.host, "--bridge=none", "--iptables=false"]
            self._process = subprocess.Popen(command, stdout=log, stderr=log)
        end = time.monotonic() + START_SECONDS
        while subprocess.run(["docker", "version"], env=self.environment(), capture_output=True).returncode:
            assert self._process.poll() is None and time.monotonic() < end, (self.folder / "log").read_text()[-2000:]
            time.sleep(0.2)

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
        """It and all that it has started, containers among it."""
        if self._process is None or self._process.poll() is not None:
            self.start()
        assert self._process is not None
        self._process.terminate()
        self._process.wait()


@contextmanager
def running(folder: Path) -> Iterator[Daemon]:
    """The daemon, for a test. Its folder's path must be short: it holds sockets."""
    if os.getuid() != 0 or shutil.which("dockerd") is None:
        pytest.skip("only root starts a dockerd")
    daemon = Daemon(folder)
    daemon.start()
    try:
        yield daemon
    finally:
        daemon.stop()
