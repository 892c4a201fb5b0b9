"""What a container may not, tried for real from inside: the network, other files, other users' files, becoming root."""

import json
import os
import socket
import subprocess
import threading
import uuid
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path

import pytest

from stages.harness.environments import launch
from stages.harness.environments.docker_engine import DockerEngine
from tests import real_engine
from tests.project import make_project, run_stage
from tests.real_engine import make_job

pytestmark = pytest.mark.engine

NOBODY = "12345:12346"


@pytest.fixture(scope="module")
def engine() -> DockerEngine:
    return real_engine.connect()


def checkout(folder: Path, engine: DockerEngine) -> Path:
    """A project whose image `probe` is a bare Python."""
    root = make_project(folder, ["host"])
    (root / "docker/probe").mkdir()
    (root / "docker/probe/image.yaml").write_text(f"pull: {real_engine.base(engine)}\nexpects: {{python: '3'}}\n")
    (root / "data/photos").mkdir(parents=True)
    made = run_stage(root, "image", "probe")
    assert made.returncode == 0, made.stderr
    return root


@pytest.fixture(scope="module")
def project(tmp_path_factory: pytest.TempPathFactory, engine: DockerEngine) -> Path:
    return checkout(tmp_path_factory.mktemp("project"), engine)


def inside(project: Path, *command: str) -> subprocess.CompletedProcess[str]:
    return run_stage(project, "inside", "probe", "--", *command)


def python(project: Path, script: str, *arguments: str) -> str:
    done = inside(project, "python", "-c", script, *arguments)
    assert done.returncode == 0, done.stderr
    return done.stdout


# ----------------------------------------------------------------------------------------------------------- network


@pytest.fixture
def listeners() -> Iterator[list[str]]:
    """Servers of this machine: on its loopback, on all its addresses, and on a socket without a file."""
    loop, everywhere = (socket.create_server((address, 0)) for address in ("127.0.0.1", ""))
    with closing(loop), closing(everywhere), closing(socket.socket(socket.AF_UNIX)) as nameless:
        nameless.bind(f"\0faceoff-{uuid.uuid4()}")
        nameless.listen()
        for each in (loop, everywhere, nameless):
            threading.Thread(target=_serve, args=(each,), daemon=True).start()
        own = subprocess.run(["hostname", "-I"], capture_output=True, text=True).stdout.split()
        ports = [f"127.0.0.1 {loop.getsockname()[1]}"]
        ports += [f"{each} {everywhere.getsockname()[1]}" for each in ("127.0.0.1", *own) if ":" not in each]
        yield [*ports, "@" + nameless.getsockname().decode().removeprefix("\0")]


def _serve(listener: socket.socket) -> None:
    while True:
        try:
            listener.accept()[0].close()
        except OSError:
            return


CALL = """
import socket, sys
for address in sys.argv[1:]:
    try:
        if address.startswith("@"):
            socket.socket(socket.AF_UNIX).connect("\\0" + address[1:])
        else:
            socket.create_connection(address.split(), timeout=5)
        print(address, "answers")
    except OSError as error:
        print(address, "does not answer:", error)
"""


def test_no_server_of_the_machine_can_be_reached(project: Path, listeners: list[str]) -> None:
    here = subprocess.run(["python3", "-c", CALL, *listeners], capture_output=True, text=True, check=True).stdout
    assert here.count(" answers\n") == len(listeners) >= 3, here
    there = python(project, CALL, *listeners)
    assert there.count(" does not answer: ") == len(listeners), there


# ----------------------------------------------------------------------------------------------------------- commands

ODD = """it's a "$(touch pwned)" `touch pwned`; touch pwned, \\ -x: é"""


def test_paths_and_arguments_reach_a_command_as_they_are(tmp_path: Path, engine: DockerEngine) -> None:
    odd = ODD.replace(":", "") if real_engine.is_podman(engine) else ODD  # which it takes, or a comma, not both
    (tmp_path / odd).mkdir()
    project = checkout(tmp_path / odd, engine)
    (project / "data/photos/-rf $(touch pwned).jpg").write_text("a cat")
    arguments = [ODD, "--help", "-x", "", "$HOME", "*", "a\nb", "--"]
    script = "import os, sys; print([os.getcwd(), os.listdir('data/photos'), sys.argv[1:]])"
    seen = python(project, script, *arguments)
    assert seen == f"{[str(project), ['-rf $(touch pwned).jpg'], arguments]}\n"
    assert not list(tmp_path.rglob("pwned"))


# ------------------------------------------------------------------------------------------------------------- files


def test_nothing_of_the_machine_is_mounted_but_what_the_stage_declares(project: Path) -> None:
    """The checkout's five and its job; Docker's own files name the container and begin it."""
    mounts = [line.split() for line in python(project, "print(open('/proc/self/mountinfo').read())").splitlines()]
    of_disks = {mount[4]: mount[5].split(",")[0] for mount in mounts if mount and "/dev/" in " ".join(mount[6:])}
    docker = {"/etc/hosts", "/etc/hostname", "/etc/resolv.conf", "/usr/sbin/docker-init", "/sbin/docker-init"}
    docker |= {"/run/podman-init", "/run/.containerenv"}
    declared = dict.fromkeys((*launch.READ_ONLY, "jobs/tiny"), "ro") | dict.fromkeys(launch.WRITABLE, "rw")
    expected = {str(project / name): mode for name, mode in declared.items()}
    assert {place: mode for place, mode in of_disks.items() if place not in docker} == expected


def test_other_files_of_the_machine_are_not_there(project: Path, tmp_path: Path) -> None:
    places = [
        project / "docker",
        tmp_path,
        Path.home() / ".kaggle",
        Path("/run/docker.sock"),
        Path("/var/run/docker.sock"),
    ]
    engine_socket = os.environ.get("DOCKER_HOST", "unix:///run/docker.sock").removeprefix("unix://")
    script = "import os, sys; print([path for path in sys.argv[1:] if os.path.lexists(path)])"
    assert python(project, script, *map(str, places), engine_socket) == "[]\n"


def test_dockers_socket_is_refused_behind_a_link_too(tmp_path: Path, engine: DockerEngine) -> None:
    if not os.environ.get("DOCKER_HOST", "unix:///").startswith("unix:///"):
        pytest.skip("the engine has no socket on this machine")
    path = Path(os.environ.get("DOCKER_HOST", "unix:///var/run/docker.sock").removeprefix("unix://")).resolve()
    project = checkout(tmp_path, engine)
    for target in (path, path.parent, path.parent.parent):
        (project / "data/photos/cat.jpg").unlink(missing_ok=True)
        (project / "data/photos/cat.jpg").symlink_to(target)
        done = inside(project, "true")
        assert done.returncode == 1 and done.stderr.count("\n") == 1
        assert "would be mounted, as " in done.stderr and "no container may have that" in done.stderr


# --------------------------------------------------------------------------------------------------------- privileges

BECOME_ROOT = "import os; print(os.getuid(), os.geteuid()); os.setuid(0); print(os.getuid())"


@pytest.fixture(scope="module")
def setuid(engine: DockerEngine) -> Iterator[str]:
    """An image with a Python that makes root of whoever runs it."""
    tag = f"faceoff/test-setuid:{uuid.uuid4().hex[:12]}"
    program = "/usr/local/bin/become-root"
    copy = f'RUN cp "$(readlink -f "$(command -v python3)")" {program} && chmod 6755 {program}'
    dockerfile = f"FROM {real_engine.base(engine)}\n{copy}\n"
    engine.build({"Dockerfile": dockerfile.encode()}, tag, {}, os.environ.get("FACEOFF_BUILD_NETWORK"), lambda _: None)
    yield tag
    real_engine.remove_image(engine, tag)


def test_a_setuid_binary_makes_nobody_root(
    engine: DockerEngine, setuid: str, tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    job = make_job(setuid, tmp_path, "become-root", "-c", BECOME_ROOT, user=NOBODY)
    arguments = engine._arguments(job)
    unguarded = {key: value for key, value in arguments.items() if key not in ("security_opt", "cap_drop")}
    assert "0\n" in output(engine, unguarded), "this binary makes nobody root anyway, so the test says nothing"
    assert engine.run(job).exit_code == 1
    printed, errors = capfd.readouterr()
    assert printed == "12345 12345\n" and "PermissionError" in errors


def output(engine: DockerEngine, arguments: dict[str, object]) -> str:
    container = engine._client.containers.create(**arguments)
    try:
        container.start()
        container.wait()
        return str(container.logs().decode())
    finally:
        container.remove(force=True)


ATTEMPTS = """
import ctypes, json, os, socket, sys

def attempt(name, function, *arguments):
    try:
        function(*arguments)
        return name, "done"
    except OSError as error:
        return name, type(error).__name__

def mount():
    if ctypes.CDLL(None, use_errno=True).mount(b"none", b"/tmp", b"tmpfs", 0, None):
        raise OSError(ctypes.get_errno(), "mount")

def namespace():
    if ctypes.CDLL(None, use_errno=True).unshare(0x00020000 | 0x10000000):  # mounts and users
        raise OSError(ctypes.get_errno(), "unshare")

open("own", "w").close()
print(json.dumps(dict((
    attempt("read another user's file", open, "theirs"),
    attempt("give a file away", os.chown, "own", 1, 1),
    attempt("become another user", os.setuid, 1),
    attempt("make a device", os.mknod, "device", 0o20666, os.makedev(1, 1)),
    attempt("mount", mount),
    attempt("a namespace of its own", namespace),
    attempt("read the network raw", socket.socket, socket.AF_INET, socket.SOCK_RAW, socket.IPPROTO_ICMP),
    attempt("set the clock", __import__("time").clock_settime, 0, 0),
    attempt("change its root", os.chroot, "/tmp"),
    attempt("write to the kernel", open, "/proc/sys/kernel/hostname", "w"),
    attempt("write the image", open, "/usr/local/bin/python3", "a"),
))))
"""


def test_root_inside_is_no_root(engine: DockerEngine, tmp_path: Path, capfd: pytest.CaptureFixture[str]) -> None:
    """The caller may be root, as in CI, and then so is the job: without any of root's capabilities."""
    theirs = tmp_path / "theirs"
    theirs.touch(mode=0o600)
    if os.getuid() == 0:
        os.chown(theirs, 12345, 12346)
    job = make_job(real_engine.base(engine), tmp_path, "python3", "-c", ATTEMPTS, user="0:0")
    if os.getuid() != 0:
        tmp_path.chmod(0o777)
    assert engine.run(job).exit_code == 0
    found = json.loads(capfd.readouterr().out)
    if real_engine.is_podman(engine):  # its seccomp profile allows that; what is in there can no more than outside
        found.pop("a namespace of its own")
    assert len(found) >= 10 and set(found.values()) <= {"PermissionError", "OSError"}, found


def test_more_processes_than_the_limit_are_refused(
    engine: DockerEngine, tmp_path: Path, capfd: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    # That of jobs is 4096, and would take a while
    monkeypatch.setattr("stages.harness.environments.docker_container.PIDS_LIMIT", 50)
    script = """
import os, signal
children = []
try:
    while len(children) < 200:
        child = os.fork()
        if child == 0:
            signal.pause()
        children.append(child)
except OSError as error:
    print(40 < len(children) < 50, error.strerror, flush=True)
for child in children:
    os.kill(child, signal.SIGKILL)
"""
    assert engine.run(make_job(real_engine.base(engine), tmp_path, "python3", "-c", script)).exit_code == 0
    assert capfd.readouterr().out == "True Resource temporarily unavailable\n"
