"""What Docker's failures become: one line that says what to do. By a stand-in at the engine's end of the socket."""

import json
import socketserver
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler
from pathlib import Path
from typing import Any

import pytest

from stages.errors import FaceoffError
from stages.harness.environments.docker_engine import DockerEngine
from stages.harness.environments.launch import BuildFailed, Job

JOB = Job("image:1", ("true",), Path("/"), (), {}, "0:0", (), 2**26, None, None, None, False, {})


class StandIn(socketserver.ThreadingUnixStreamServer):
    """Answers 'METHOD /path' (without the API's version) with a status and JSON lines, and keeps what was asked."""

    def __init__(self, path: Path, answers: dict[str, tuple[int, list[Any]]]) -> None:
        self.answers = {"GET /version": (200, [{"ApiVersion": "1.41"}]), "GET /_ping": (200, ["OK"]), "GET /info": (200, [{}])} | answers
        self.asked: list[str] = []
        super().__init__(str(path), Answer)


class Answer(BaseHTTPRequestHandler):
    server: StandIn
    protocol_version = "HTTP/1.1"

    def answer(self) -> None:
        path = self.path.partition("?")[0].removeprefix("/v1.41")
        self.rfile.read(int(self.headers.get("Content-Length") or 0))
        if self.headers.get("Transfer-Encoding") == "chunked":
            while self.rfile.readline() != b"0\r\n":
                pass
        self.server.asked.append(f"{self.command} {path}")
        status, lines = self.server.answers.get(f"{self.command} {path}", (404, [{"message": f"no {path}"}]))
        self.send_response(status)
        self.send_header("Content-Type", "application/json")
        body = "\n".join(map(json.dumps, lines)).encode()
        if status == 200 and self.command == "POST" and body:  # a stream of events comes in chunks
            self.send_header("Transfer-Encoding", "chunked")
            body = b"%x\r\n%b\r\n0\r\n\r\n" % (len(body), body)
        else:
            self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)
        self.close_connection = True

    do_GET = do_POST = do_DELETE = answer

    def address_string(self) -> str:
        return "unix"

    def log_message(self, format: str, *args: Any) -> None:
        """Say nothing."""


@pytest.fixture
def answers() -> dict[str, tuple[int, list[Any]]]:
    return {}


@pytest.fixture
def stand_in(
    answers: dict[str, tuple[int, list[Any]]], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> Iterator[StandIn]:
    path = tmp_path / "engine.sock"
    monkeypatch.setenv("DOCKER_HOST", f"unix://{path}")
    with StandIn(path, answers) as server:
        thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
        thread.start()
        yield server
        server.shutdown()
        thread.join()


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
    with pytest.raises(FaceoffError, match=r"the disk that holds Docker's images is full: make room"):
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
            r"cannot be pulled: .*; where that registry is out of reach, name a base image .* FACEOFF_BASE_IMAGE",
        ),
        (
            {"POST /images/create": (200, [{"status": "Extracting"}, {"error": f"failed to register: {NO_SPACE}"}])},
            r"cannot be pulled: .*; the disk that holds Docker's images is full: make room",
        ),
    ],
)
def test_a_pull_that_is_refused(said: str) -> None:
    with pytest.raises(FaceoffError, match=said) as caught:
        DockerEngine().pull("team/train:1", print)
    assert "\n" not in str(caught.value)


NO_DRIVER = {"message": 'could not select device driver "" with capabilities: [[gpu]]'}


@pytest.mark.parametrize(
    "answers",
    [
        {
            "POST /containers/create": (201, [{"Id": "c1", "Warnings": []}]),
            "GET /containers/c1/json": (200, [{"Id": "c1", "Config": {"Tty": False}}]),
            "POST /containers/c1/attach": (200, []),
            "POST /containers/c1/start": (500, [NO_DRIVER]),
            "POST /containers/c1/stop": (304, []),
            "DELETE /containers/c1": (204, []),
        }
    ],
)
def test_a_gpu_that_docker_cannot_hand_out_leaves_no_container(stand_in: StandIn) -> None:
    with pytest.raises(FaceoffError, match=r"install the NVIDIA Container Toolkit, or set container\.gpus: none"):
        DockerEngine().run(JOB)
    assert "POST /containers/c1/start" in stand_in.asked
    assert "DELETE /containers/c1" in stand_in.asked
