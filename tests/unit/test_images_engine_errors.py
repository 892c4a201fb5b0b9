"""What Docker's failures become: one line that says what to do. By a stand-in at the engine's end of the socket."""

import re
import threading
from collections.abc import Iterator
from contextlib import nullcontext
from pathlib import Path

import pytest

from stages.errors import FaceoffError
from stages.harness.environments.docker_container import Output, out_of_memory
from stages.harness.environments.docker_engine import DockerEngine
from stages.harness.environments.launch import BuildFailed, Job, ProgramForbidden, ProgramMissing
from tests.stand_in_engine import Answers, StandIn, answering

JOB = Job("image:1", ("true",), Path("/"), (), {}, "0:0", (), 2**26, None, None, None, False, {})


@pytest.fixture
def answers() -> Answers:
    return {}


@pytest.fixture
def stand_in(answers: Answers, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[StandIn]:
    path = tmp_path / "engine.sock"
    monkeypatch.setenv("DOCKER_HOST", f"unix://{path}")
    with answering(path, answers) as server:
        yield server


@pytest.mark.parametrize(
    ("host", "said"),
    [
        (
            "unix:///nowhere/docker.sock",
            r"no Docker engine answers: install or start it .* or face off images that need none",
        ),
        ("tcp://127.0.0.1:1", r"no Docker engine answers: start it, or correct DOCKER_HOST"),
        ("tcp://engine.invalid:2375", r"no Docker engine answers: correct DOCKER_HOST"),
        ("nonsense", r"Docker at nonsense \(DOCKER_HOST\) failed: Invalid bind address format"),
    ],
)
def test_no_engine(host: str, said: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("DOCKER_HOST", host)
    with pytest.raises(FaceoffError, match=said) as caught:
        DockerEngine()
    assert "\n" not in str(caught.value)


def test_no_permission_on_the_socket(monkeypatch: pytest.MonkeyPatch) -> None:
    """The tests may run as root, whom no socket refuses: the system call's answer is made up."""

    def refuse(*_: object) -> None:
        raise PermissionError(13, "Permission denied")

    monkeypatch.setattr("socket.socket.connect", refuse)
    monkeypatch.setenv("DOCKER_HOST", "unix:///var/run/docker.sock")
    with pytest.raises(FaceoffError, match=r"no permission on Docker's socket: .* usermod -aG docker"):
        DockerEngine()


NO_SPACE = "write /opt/faceoff/lib/libtorch.so: no space left on device"


@pytest.mark.usefixtures("stand_in")
@pytest.mark.parametrize(
    "answers",
    [{"POST /build": (200, [{"stream": "Step 1/2 : FROM x\n"}, {"error": NO_SPACE}])}],
)
def test_no_space_while_building() -> None:
    shown: list[str] = []
    with pytest.raises(BuildFailed, match=NO_SPACE) as caught:
        DockerEngine().build({"Dockerfile": b"FROM x\n"}, "x:1", {}, None, shown.append)
    assert caught.value.lines == ("Step 1/2 : FROM x",)
    assert shown == ["Step 1/2 : FROM x"]


@pytest.mark.usefixtures("stand_in")
@pytest.mark.parametrize("answers", [{"POST /build": (500, [{"message": "mkdir /var/lib/docker/tmp: " + NO_SPACE}])}])
def test_no_space_before_building() -> None:
    with pytest.raises(FaceoffError, match=r"the disk that holds Docker's images is full; make room"):
        DockerEngine().build({"Dockerfile": b"FROM x\n"}, "x:1", {}, None, print)


@pytest.mark.usefixtures("stand_in")
@pytest.mark.parametrize(
    ("answers", "said"),
    [
        (
            {"POST /images/create": (404, [{"message": "pull access denied for team/train"}])},
            r"team/train:1 cannot be pulled: pull access denied for team/train; log in with `docker login`",
        ),
        (
            {"POST /images/create": (404, [{"message": "manifest for team/train:1 not found: manifest unknown"}])},
            r"cannot be pulled: .*; the registry has no such image: correct the name",
        ),
        (
            {"POST /images/create": (500, [{"message": "toomanyrequests: You have reached your pull rate limit"}])},
            r"cannot be pulled: .*; wait, or log in",
        ),
        (
            {"POST /images/create": (500, [{"message": "dial tcp: lookup registry-1.docker.io: no such host"}])},
            r"cannot be pulled: .*; where that registry is out of reach, name an image .* `pull` .* FACEOFF_BASE_IMAGE",
        ),
        (
            {"POST /images/create": (200, [{"status": "Extracting"}, {"error": f"failed to register: {NO_SPACE}"}])},
            r"cannot be pulled: .*; the disk that holds Docker's images is full; make room",
        ),
    ],
)
def test_a_pull_that_is_refused(said: str) -> None:
    with pytest.raises(FaceoffError, match=said) as caught:
        DockerEngine().pull("team/train:1", print)
    assert "\n" not in str(caught.value)


NOT_OF_THE_ENGINE = [  # of a build step's command, a registry, a program in an image
    "process '/bin/sh -c pip install x' did not complete: HTTPSConnectionPool: Read timed out.",
    "Get https://r.example/v2/: dial tcp 10.0.0.1:443: connect: connection refused",
    "python: PermissionError: [Errno 13] Permission denied: '/x'",
    "exec: prlimit missing from the image",
]


@pytest.mark.usefixtures("stand_in")
@pytest.mark.parametrize(
    ("answers", "words"), [({"POST /build": (500, [{"message": each}])}, each) for each in NOT_OF_THE_ENGINE]
)
def test_what_an_engine_says_of_others_is_not_taken_for_its_own_fault(words: str) -> None:
    with pytest.raises(FaceoffError, match=rf"^Docker failed: {re.escape(words)}$"):
        DockerEngine().build({"Dockerfile": b"FROM x\n"}, "x:1", {}, None, print)


def test_an_engine_that_does_not_answer_in_time_is_told(monkeypatch: pytest.MonkeyPatch) -> None:
    def wait(*_: object) -> None:
        raise TimeoutError("timed out")

    monkeypatch.setattr("socket.socket.connect", wait)
    monkeypatch.setenv("DOCKER_HOST", "unix:///var/run/docker.sock")
    with pytest.raises(FaceoffError, match=r"^the Docker engine does not answer in time: restart it"):
        DockerEngine()


RUN = {
    "POST /containers/create": (201, [{"Id": "c1", "Warnings": []}]),
    "GET /containers/c1/json": (200, [{"Id": "c1", "Config": {"Tty": False}}]),
    "POST /containers/c1/attach": (200, []),
    "POST /containers/c1/stop": (304, []),
    "DELETE /containers/c1": (204, []),
}
PODMAN_WORDS = {  # of Podman 4.3, and what is to be done
    "container-init binary not found on the host: stat /usr/libexec/podman/catatonit": "install catatonit",
    "crun: the requested cgroup controller `cpu` is not available: OCI runtime error": r"Delegate=cpu .*to null",
    "crun: cgroups in hybrid mode not supported, drop all controllers from cgroupv2": 'runtime = "runc"',
    "crun: setrlimit `RLIMIT_NOFILE`: Operation not permitted: OCI permission denied": "set default_ulimits",
    "runc create failed: error setting rlimits for ready process: error setting rlimit type 6": "set default_ulimits",
}


@pytest.mark.parametrize(
    ("answers", "words"),
    [(RUN | {"POST /containers/c1/start": (500, [{"message": each}])}, each) for each in PODMAN_WORDS],
)
@pytest.mark.usefixtures("stand_in")
def test_what_podman_lacks_is_told_with_its_remedy(words: str) -> None:
    with pytest.raises(FaceoffError, match=PODMAN_WORDS[words]) as caught:
        DockerEngine().run(JOB)
    assert "\n" not in str(caught.value)


START = b"[FATAL tini (7)] "
DENIED = (START, b"exec python failed: Permission denied", b"\n")
ENDED = [  # pieces of stderr, exit code: what is handed on of it, and the error
    ((START + b"exec python failed: No such file or directory\n",), 127, b"", ProgramMissing),
    (DENIED, 126, b"", ProgramForbidden),
    (DENIED, 2, b"".join(DENIED), None),
    ((START + b"I am a job\n", b"that goes on\n"), 1, START + b"I am a job\nthat goes on\n", None),
    ((b"a line\n", *DENIED), 126, b"a line\n" + b"".join(DENIED), None),
    ((START, b"x" * 5000, b"live\n"), 0, START + b"x" * 5000 + b"live\n", None),
]


@pytest.mark.parametrize(("pieces", "code", "shown", "error"), ENDED)
def test_an_inits_words_that_no_program_started_are_an_error_in_whatever_pieces_they_come(
    pieces: tuple[bytes, ...],
    code: int,
    shown: bytes,
    error: type[FaceoffError] | None,
    capfdbinary: pytest.CaptureFixture[bytes],
) -> None:
    output = Output()
    for each in pieces:
        output.copy((None, each))
    with pytest.raises(error) if error else nullcontext():
        output.ended(code, JOB, "1000:1000")
    assert capfdbinary.readouterr().err == shown


NO_TOOLKIT = (
    r"^Docker cannot hand out this machine's GPU: install the NVIDIA Container Toolkit, or set container\.gpus: none"
)
NO_TOOLKIT_WORDS = [  # of engines with and without CDI
    'could not select device driver "" with capabilities: [[gpu]]',
    'could not select device driver "cdi" with capabilities: [[gpu]]',
    "failed to discover GPU vendor from CDI: no known GPU vendor found",
    "failed to create task for container: CDI device injection failed: unresolvable CDI devices nvidia.com/gpu=all",
    "unknown or invalid runtime name: nvidia",
]


@pytest.mark.parametrize(
    "answers", [RUN | {"POST /containers/c1/start": (500, [{"message": each}])} for each in NO_TOOLKIT_WORDS]
)
def test_a_gpu_that_docker_cannot_hand_out_leaves_no_container(stand_in: StandIn) -> None:
    with pytest.raises(FaceoffError, match=NO_TOOLKIT) as caught:
        DockerEngine().run(JOB)
    assert "\n" not in str(caught.value)
    assert "POST /containers/c1/start" in stand_in.asked
    assert "DELETE /containers/c1" in stand_in.asked


@pytest.mark.usefixtures("stand_in")
@pytest.mark.parametrize("answers", [{"POST /containers/create": (400, [{"message": NO_TOOLKIT_WORDS[-1]}])}])
def test_a_runtime_that_is_not_there_is_told_when_the_container_is_created() -> None:
    with pytest.raises(FaceoffError, match=NO_TOOLKIT):
        DockerEngine().run(JOB)


@pytest.mark.parametrize("is_likely", [True, False])
def test_a_late_word_of_memory_is_waited_for_where_it_is_likely(stand_in: StandIn, is_likely: bool) -> None:
    """Under cgroup 1 Docker may say that a container has ended before it knows why."""

    def say(killed: bool) -> None:
        stand_in.answers["GET /containers/one/json"] = (200, [{"Id": "one", "State": {"OOMKilled": killed}}])

    say(False)
    container = DockerEngine()._client.containers.get("one")
    late = threading.Timer(0.2, say, [True])
    late.start()
    try:
        assert out_of_memory(container, is_likely) is is_likely
    finally:
        late.join()
