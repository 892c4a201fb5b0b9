"""`python -m stages.inside` on a real Docker engine: what a command sees there, what it may do, and how it ends."""

import dataclasses
import fcntl
import os
import pty
import re
import signal
import struct
import subprocess
import sys
import termios
import time
from collections.abc import Callable
from pathlib import Path

import pytest

from stages import codec, records
from stages.errors import FaceoffError
from stages.harness.environments.docker_engine import DockerEngine
from tests import real_engine
from tests.project import make_project, run_stage
from tests.real_engine import make_job

pytestmark = pytest.mark.engine


@pytest.fixture(scope="module")
def engine() -> DockerEngine:
    return real_engine.connect()


@pytest.fixture(scope="module")
def make_probe(engine: DockerEngine, tmp_path_factory: pytest.TempPathFactory) -> Callable[..., Path]:
    """Makes a project whose image `probe` is a bare Python, with the given `container` section."""

    def make(**container: object) -> Path:
        root = make_project(tmp_path_factory.mktemp("project"), ["host"], container=container)
        (root / "docker/probe").mkdir()
        (root / "docker/probe/image.yaml").write_text(f"pull: {real_engine.base(engine)}\nexpects: {{python: '3'}}\n")
        (root / "data/photos").mkdir(parents=True)
        (root / "data/photos/cat.jpg").write_text("a cat")
        (root / "secrets").touch()
        made = run_stage(root, "image", "probe")
        assert made.returncode == 0, made.stderr
        return root

    return make


@pytest.fixture(scope="module")
def project(make_probe: Callable[..., Path]) -> Path:
    return make_probe(shm_size="100m", memory="200m", cpus=0.5)


def inside(project: Path, *command: str) -> subprocess.CompletedProcess[str]:
    return run_stage(project, "inside", "probe", "--", *command)


def python(project: Path, script: str) -> str:
    done = inside(project, "python", "-c", script)
    assert done.returncode == 0, done.stderr
    return done.stdout


def start(project: Path, *command: str) -> subprocess.Popen[str]:
    arguments = [sys.executable, "-m", "stages.inside", "probe", "--", *command]
    return subprocess.Popen(arguments, cwd=project, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)


# ---------------------------------------------------------------------------------------------- what it sees and may do


def test_the_image_stage_recorded_what_the_image_holds(project: Path) -> None:
    image = codec.read(project / records.image_path("probe"), records.Image)
    assert image.contents.python.startswith("3.")
    assert image.contents.torch is None
    assert image.image_id is not None and image.image_id.startswith("sha256:")


def test_it_runs_where_the_checkout_is_and_sees_nothing_else_of_it(project: Path) -> None:
    seen = python(project, "import os; print(os.getcwd(), sorted(os.listdir('.')))")
    assert seen == f"{project} ['data', 'jobs', 'metrics', 'models', 'params.yaml', 'stages']\n"


def test_code_data_and_system_are_read_only(project: Path) -> None:
    script = """
import errno, sys
for path in sys.argv[1:]:
    try:
        open(path, "a")
    except OSError as error:
        print(path, errno.errorcode[error.errno])
"""
    paths = ("stages/new.py", "stages/train.py", "data/new", "data/photos/cat.jpg", "params.yaml", "/usr/new")
    done = inside(project, "python", "-c", script, *paths)
    assert done.stdout.split("\n") == [*(f"{path} EROFS" for path in paths), ""]


def test_results_belong_to_the_caller(project: Path) -> None:
    inside(project, "sh", "-c", "mkdir models/deep && echo 1 > models/deep/weights && echo 2 > metrics/number")
    for path in (project / "models/deep/weights", project / "metrics/number"):
        assert (path.stat().st_uid, path.stat().st_gid) == (os.getuid(), os.getgid())


def test_a_caller_without_a_name_in_the_image_has_a_home_and_owns_its_results(
    engine: DockerEngine, tmp_path: Path
) -> None:
    tmp_path.chmod(0o755)
    folder = tmp_path / "results"
    folder.mkdir()
    os.chown(folder, 12345, 12346) if os.getuid() == 0 else folder.chmod(0o777)
    script = "import getpass, pathlib, tempfile; pathlib.Path('out').write_text(getpass.getuser()); tempfile.mkdtemp()"
    environment = {"HOME": "/tmp", "USER": "faceoff"}
    command = ("python", "-c", script)
    job = make_job(real_engine.base(engine), folder, *command, user="12345:12346", environment=environment)
    assert engine.run(job).exit_code == 0
    assert (folder / "out").read_text() == "faceoff"
    assert ((folder / "out").stat().st_uid, (folder / "out").stat().st_gid) == (12345, 12346)


def test_there_is_no_network(project: Path) -> None:
    assert python(project, "import os; print(os.listdir('/sys/class/net'))") == "['lo']\n"


def test_there_are_no_privileges(project: Path) -> None:
    lines = python(project, "print(open('/proc/self/status').read())").splitlines()
    status = dict(line.split(":\t", 1) for line in lines if ":\t" in line)
    assert int(status["CapEff"], 16) == int(status["CapBnd"], 16) == 0
    assert status["NoNewPrivs"] == "1"


def test_limits_of_params_are_the_containers(project: Path) -> None:
    script = """
import os, pathlib
def read(*names):
    for name in names:
        path = pathlib.Path("/sys/fs/cgroup", name)
        if path.exists():
            return path.read_text().split()
shm = os.statvfs("/dev/shm")
print(shm.f_blocks * shm.f_frsize)
print(*read("memory.max", "memory/memory.limit_in_bytes"))
print(*read("cpu.max") or read("cpu/cpu.cfs_quota_us") + read("cpu/cpu.cfs_period_us"))
print(*read("pids.max", "pids/pids.max"))
"""
    shm, memory, cpu, pids = python(project, script).splitlines()
    quota, period = map(int, cpu.split())
    assert int(shm) == 100 * 2**20
    assert int(memory) == 200 * 2**20
    assert quota / period == 0.5
    assert int(pids) == 4096


def test_data_behind_links_can_be_read(make_probe: Callable[..., Path], tmp_path: Path) -> None:
    project = make_probe()
    elsewhere, cache = tmp_path / "elsewhere", tmp_path / "cache"
    cache.mkdir()
    (cache / "ab12").write_text("a dog")
    (project / "data").rename(elsewhere)
    (project / "data").symlink_to(elsewhere)
    (elsewhere / "photos/dog.jpg").symlink_to(cache / "ab12")
    assert inside(project, "sh", "-c", "cat data/photos/cat.jpg data/photos/dog.jpg").stdout == "a cata dog"


# --------------------------------------------------------------------------------------------------------------- output


def test_output_comes_while_the_command_runs(project: Path) -> None:
    gate = project / "models/gate"
    process = start(project, "sh", "-c", "echo first; while [ ! -e models/gate ]; do sleep 0.05; done; echo second")
    assert process.stdout is not None
    assert process.stdout.readline() == "first\n"
    assert process.poll() is None
    gate.touch()
    assert process.communicate(timeout=60) == ("second\n", "")


def test_in_a_pipe_there_is_no_terminal_and_progress_bars_stay_as_they_are(project: Path) -> None:
    script = "import sys; print(sys.stdout.isatty(), end='\\r50%\\r100%\\n'); print('bad', file=sys.stderr)"
    arguments = [sys.executable, "-m", "stages.inside", "probe", "--", "python", "-c", script]
    done = subprocess.run(arguments, cwd=project, capture_output=True)
    assert (done.stdout, done.stderr) == (b"False\r50%\r100%\n", b"bad\n")


def test_on_a_terminal_there_is_one_of_the_same_size(project: Path) -> None:
    ours, theirs = pty.openpty()
    fcntl.ioctl(theirs, termios.TIOCSWINSZ, struct.pack("HHHH", 33, 111, 0, 0))
    # Asks until it is told: Docker can only size a terminal that is there already.
    script = """
import os, sys, time
end = time.monotonic() + 60
while os.get_terminal_size().columns != 111 and time.monotonic() < end:
    time.sleep(0.01)
print(sys.stdout.isatty(), sys.stderr.isatty(), *os.get_terminal_size(), os.environ["TERM"])
"""
    arguments = [sys.executable, "-m", "stages.inside", "probe", "--", "python", "-c", script]
    environment = {**os.environ, "TERM": "xterm-256color", "COLUMNS": "80", "LINES": "24"}  # of another terminal
    process = subprocess.Popen(arguments, cwd=project, stdout=theirs, env=environment)
    os.close(theirs)
    seen = b""
    while True:
        try:
            chunk = os.read(ours, 1024)
        except OSError:  # how a terminal ends on Linux
            break
        if not chunk:
            break
        seen += chunk
    os.close(ours)
    assert process.wait(timeout=60) == 0
    assert seen.split() == [b"True", b"True", b"111", b"33", b"xterm-256color"]


def test_a_reader_that_goes_away_ends_it(project: Path, engine: DockerEngine) -> None:
    process = start(project, "yes")
    assert process.stdout is not None
    process.stdout.readline()
    process.stdout.close()
    assert process.wait(timeout=60) == 141
    assert process.stderr is not None and process.stderr.read() == ""
    assert real_engine.containers(engine, f"faceoff.pid={process.pid}") == []


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_output_that_nobody_takes_does_not_keep_it_from_ending(
    project: Path, engine: DockerEngine, number: int
) -> None:
    process = start(project, "sh", "-c", "yes | head -c 1000000; sleep 600")  # more than all buffers on the way hold
    assert process.stdout is not None and process.stdout.readline() == "y\n"
    time.sleep(1)  # until every buffer on the way is full
    process.send_signal(number)
    assert process.wait(timeout=180) == 128 + number
    assert real_engine.containers(engine, f"faceoff.pid={process.pid}") == []


# --------------------------------------------------------------------------------------------------------- how it ends


@pytest.mark.parametrize(
    ("command", "code"), [("exit 7", 7), ("kill -9 $$", 137), ("no-such-command", 127)], ids=lambda each: str(each)
)
def test_the_exit_code_is_the_commands(project: Path, command: str, code: int) -> None:
    done = inside(project, "sh", "-c", command)
    assert done.returncode == code
    assert "it ran out of memory" not in done.stderr


def test_a_command_may_be_silent_for_longer_than_the_transport_waits(
    engine: DockerEngine, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def exit_code(patience_seconds: int) -> int:
        monkeypatch.setattr(engine._client.api, "timeout", patience_seconds)
        script = f"sleep {2 * patience_seconds + 1}; exit 5"
        return engine.run(make_job(real_engine.base(engine), tmp_path, "sh", "-c", script)).exit_code

    assert real_engine.patiently(exit_code) == 5


def test_out_of_memory_is_told_with_the_limit(project: Path, engine: DockerEngine) -> None:
    done = inside(project, "python", "-c", "x = bytearray(300 * 2**20); print(len(x))")
    assert done.returncode == 137
    assert done.stdout == ""
    # Podman does not say whom the kernel killed, where it is not a container's first process.
    told = "it ran out of memory: it"
    if engine.about().name == "Podman":
        told = r"it was killed \(SIGKILL\), and not by faceoff; perhaps for want of memory, as .* If so, it"
    needs = "needs more than the 200m of container.memory: raise that"
    assert re.match(f"faceoff: image probe: {told} {needs}", done.stderr), done.stderr


@pytest.mark.parametrize(("number", "code"), [(signal.SIGINT, 130), (signal.SIGTERM, 143)])
def test_a_signal_stops_and_removes_the_container(project: Path, engine: DockerEngine, number: int, code: int) -> None:
    process = start(project, "sh", "-c", "echo ready; sleep 600")
    assert process.stdout is not None and process.stdout.readline() == "ready\n"
    assert len(real_engine.containers(engine, f"faceoff.pid={process.pid}")) == 1
    process.send_signal(number)
    _, errors = process.communicate(timeout=60)
    assert process.returncode == code
    assert errors == f"faceoff: {signal.Signals(number).name}: stopping\n"
    assert real_engine.containers(engine, f"faceoff.pid={process.pid}") == []


def test_a_command_that_ignores_signals_is_stopped_and_removed_all_the_same(
    project: Path, engine: DockerEngine
) -> None:
    script = "import signal, time; signal.signal(signal.SIGTERM, signal.SIG_IGN); print(1, flush=True); time.sleep(600)"
    process = start(project, "python", "-c", script)
    assert process.stdout is not None and process.stdout.readline() == "1\n"
    process.send_signal(signal.SIGINT)
    assert process.stderr is not None and process.stderr.readline() == "faceoff: SIGINT: stopping\n"
    process.send_signal(signal.SIGTERM)  # impatience does not interrupt the cleaning
    assert process.wait(timeout=60) == 130
    assert real_engine.containers(engine, f"faceoff.pid={process.pid}") == []


@pytest.mark.parametrize("delay_seconds", [0.0, 0.15, 0.25, 0.35, 0.5])
def test_a_signal_at_any_time_leaves_no_container(project: Path, engine: DockerEngine, delay_seconds: float) -> None:
    """From before the container is there to after it has gone: the command itself ends at once."""
    process = start(project, "true")
    time.sleep(delay_seconds)
    process.terminate()
    process.communicate(timeout=60)
    assert process.returncode in (0, 143, -signal.SIGTERM)
    assert real_engine.containers(engine, f"faceoff.pid={process.pid}") == []


def test_what_a_killed_inside_leaves_behind_bears_its_label(project: Path, engine: DockerEngine) -> None:
    process = start(project, "sh", "-c", "echo ready; sleep 600")
    assert process.stdout is not None and process.stdout.readline() == "ready\n"
    process.kill()
    process.communicate()
    [left] = real_engine.containers(engine, f"faceoff.pid={process.pid}")
    try:
        assert left.labels["faceoff"] == "inside"
        assert left.labels["faceoff.image"] == "probe"
    finally:
        left.remove(force=True)


def test_nothing_is_left_of_a_run_that_ended_by_itself(project: Path, engine: DockerEngine) -> None:
    process = start(project, "true")
    process.communicate(timeout=60)
    assert process.returncode == 0
    assert real_engine.containers(engine, f"faceoff.pid={process.pid}") == []


# ----------------------------------------------------------------------------------------------------- what goes wrong


def test_an_image_that_the_engine_lost_says_how_to_make_it_again(make_probe: Callable[..., Path]) -> None:
    project = make_probe()
    path = project / records.image_path("probe")
    image = codec.read(path, records.Image)
    codec.write(path, dataclasses.replace(image, reference="faceoff/probe:000000000000"))
    done = inside(project, "true")
    assert done.returncode == 1
    assert done.stderr == (
        "faceoff: image probe: faceoff/probe:000000000000 is not here any more; make it: "
        ".venv/bin/dvc repro -s -f image@probe\n"
    )


def test_without_an_engine_it_is_one_line(project: Path) -> None:
    for command in (["inside", "probe", "--", "true"], ["image", "cuda-10.0"]):
        done = run_stage(project, *command, DOCKER_HOST="unix:///nowhere/docker.sock")
        assert done.returncode == 1
        assert done.stderr.startswith("faceoff: no Docker engine answers: install or start it")
        assert done.stderr.count("\n") == 1


def test_gpus_that_are_asked_for_and_are_not_there_are_one_line(
    make_probe: Callable[..., Path], engine: DockerEngine
) -> None:
    if Path("/dev/nvidiactl").exists():
        pytest.skip("this machine has a GPU")
    done = inside(make_probe(gpus="all"), "true")
    assert done.returncode == 1
    assert done.stderr.startswith("faceoff: container.gpus is 'all', but no NVIDIA driver is loaded here")
    assert done.stderr.count("\n") == 1


def test_a_gpu_that_the_engine_cannot_hand_out_leaves_no_container(
    engine: DockerEngine, tmp_path: Path, request: pytest.FixtureRequest
) -> None:
    if Path("/dev/nvidiactl").exists():
        pytest.skip("this machine has a GPU")
    if real_engine.is_podman(engine):
        request.applymarker(
            pytest.mark.xfail(reason="Podman 4.3 drops the request: what is said then, test_podman.py has", strict=True)
        )
    job = make_job(real_engine.base(engine), tmp_path, "true", gpu_uuids=(), labels={"gpu-test": str(os.getpid())})
    with pytest.raises(FaceoffError, match=r"install the NVIDIA Container Toolkit, or set container\.gpus: none"):
        engine.run(job)
    assert real_engine.containers(engine, f"gpu-test={os.getpid()}") == []


def test_more_cpus_than_there_are_is_one_line(make_probe: Callable[..., Path]) -> None:
    done = inside(make_probe(cpus=4096.0), "true")
    assert done.returncode == 1
    assert done.stderr.startswith("faceoff: container.cpus in params.yaml is more than this machine has")
