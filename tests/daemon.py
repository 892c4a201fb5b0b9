"""Docker daemons of a test's own: plain ones to be killed, remapped ones, rootless ones. Only root can start them."""

import os
import pwd
import shutil
import signal
import socket
import socketserver
import subprocess
import tempfile
import threading
import time
import uuid
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path

from tests.real_engine import unable

START_SECONDS = 120
ROOTLESS = (  # dockerd-rootless.sh without a network of its own
    *("rootlesskit", "--net=host", "--copy-up=/etc", "--copy-up=/run", "--propagation=rslave"),
    *("sh", "-c", 'rm -f /run/docker /run/containerd /run/xtables.lock; exec "$@"', "-"),
)


class Daemon:
    """dockerd with everything that it keeps in one folder."""

    def __init__(self, folder: Path, options: Sequence[str] = (), through: Sequence[str] = ()) -> None:
        """`through`: the command that starts it."""
        self.folder = folder
        self.host = f"unix://{folder}/sock"
        self._options, self._through = options, through
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
            command = ["dockerd", *places, "--host", self.host, "--bridge=none", "--iptables=false", *self._options]
            self._process = subprocess.Popen([*self._through, *command], stdout=log, stderr=log)

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
        # Which it mounted, and a killed one left so. Remapped, it is one folder deeper.
        for each in (self.folder / "data-root", *(self.folder / "data-root").glob("*.*")):
            subprocess.run(["umount", "--quiet", each])


def can_start(*programs: str) -> None:
    """Skip the test where no dockerd can be started, or one of these programs."""
    missing = [each for each in ("dockerd", *programs) if shutil.which(each) is None]
    if os.getuid() != 0 or missing:
        unable(f"only root starts a dockerd, and there must be one (lacking: {', '.join(missing) or 'root'})")


@contextmanager
def running(folder: Path, options: Sequence[str] = (), through: Sequence[str] = ()) -> Iterator[Daemon]:
    """The daemon, for a test. Its folder's path must be short: it holds sockets."""
    can_start(*through[:1])
    daemon = Daemon(folder, options, through)
    daemon.start()
    try:
        yield daemon
    finally:
        daemon.stop()


@contextmanager
def remapped(blind: Path) -> Iterator[Daemon]:
    """One with --userns-remap=default, in a mount namespace of its own, where `blind` is an empty folder."""
    had = _has_user("dockremap")
    mount = ("unshare", "--mount", "sh", "-c", 'mount -t tmpfs none "$0" && exec "$@"', str(blind))
    try:
        with tempfile.TemporaryDirectory(prefix="d-") as folder:
            Path(folder).chmod(0o711)  # who is root in there passes through
            with running(Path(folder), ["--userns-remap=default"], mount) as daemon:
                yield daemon
    finally:
        if not had and _has_user("dockremap"):  # dockerd made it
            subprocess.run(["userdel", "dockremap"], check=True, capture_output=True)


@contextmanager
def rootless() -> Iterator[tuple[Daemon, str]]:
    """One that an ordinary user of its own runs, and uid:gid of that user."""
    missing = [each for each in ("rootlesskit", "newuidmap") if shutil.which(each) is None]
    if os.getuid() != 0 or missing:
        unable(f"only root makes a user for a rootless engine (lacking: {', '.join(missing) or 'root'})")
    for each in ("/etc/subuid", "/etc/subgid"):  # without them useradd gives no IDs to a user of its own
        Path(each).touch()
    name = f"faceoff-{uuid.uuid4().hex[:8]}"
    subprocess.run(["useradd", "--no-create-home", name], check=True, capture_output=True)
    try:
        user = pwd.getpwnam(name)
        with tempfile.TemporaryDirectory(prefix="d-") as folder:
            os.chown(folder, user.pw_uid, user.pw_gid)
            plain = ("env", "-i", "PATH=/usr/sbin:/usr/bin:/sbin:/bin", f"HOME={folder}", f"XDG_RUNTIME_DIR={folder}")
            become = ("setpriv", f"--reuid={name}", f"--regid={name}", "--clear-groups", *plain)
            with running(Path(folder), ["--rootless"], (*become, *ROOTLESS)) as daemon:
                yield daemon, f"{user.pw_uid}:{user.pw_gid}"
    finally:
        end_all_of(pwd.getpwnam(name).pw_uid)
        subprocess.run(["userdel", name], check=True, capture_output=True)


def end_all_of(uid: int) -> None:
    """End the processes of a user who is a test's own: one keeps the user's namespace beyond the service."""
    processes = _processes(uid)
    while processes:
        for each in processes:
            with suppress(ProcessLookupError):
                os.kill(int(each.name), signal.SIGKILL)
        time.sleep(0.05)
        processes = _processes(uid)


def _processes(uid: int) -> list[Path]:
    return [each for each in Path("/proc").glob("[0-9]*") if _owner(each) == uid]


def _owner(process: Path) -> int | None:
    try:
        return process.stat().st_uid
    except OSError:  # it has ended
        return None


@contextmanager
def over_tcp(daemon: Daemon) -> Iterator[str]:
    """An address by which the daemon answers over the network."""

    class Forward(socketserver.BaseRequestHandler):
        def handle(self) -> None:
            with socket.socket(socket.AF_UNIX) as engine:
                engine.connect(daemon.host.removeprefix("unix://"))
                back = threading.Thread(target=_copy, args=(engine, self.request), daemon=True)
                back.start()
                _copy(self.request, engine)
                back.join()

    with socketserver.ThreadingTCPServer(("127.0.0.1", 0), Forward) as server:
        server.daemon_threads, server.block_on_close = True, False  # a client keeps its connection
        threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01}).start()
        yield f"tcp://127.0.0.1:{server.server_address[1]}"
        server.shutdown()


def _copy(source: socket.socket, target: socket.socket) -> None:
    with suppress(OSError):  # either end may be gone
        for data in iter(lambda: source.recv(2**16), b""):
            target.sendall(data)
        target.shutdown(socket.SHUT_WR)


def _has_user(name: str) -> bool:
    return any(each.pw_name == name for each in pwd.getpwall())
