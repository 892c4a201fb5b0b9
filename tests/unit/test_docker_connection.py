"""Which engine is used, by which credentials, and that its socket is lent to nobody. By stand-ins, each on a socket."""

import base64
import hashlib
import json
import os
import re
import warnings
from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import pytest

from stages.errors import FaceoffError
from stages.harness.environments import docker_connection
from stages.harness.environments.docker_engine import DockerEngine
from stages.harness.environments.launch import Job, Mount
from tests.stand_in_engine import StandIn, answering

PULL = {"POST /images/create": (200, [{"status": "Downloaded"}])}
BUILD = {"POST /build": (200, [{"stream": "Step 1/1 : FROM x\n"}])}


@pytest.fixture
def config(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Docker's folder of settings, empty, of a shell that names no engine."""
    for name in ("DOCKER_HOST", "DOCKER_CONTEXT", "DOCKER_TLS_VERIFY", "DOCKER_CERT_PATH"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("DOCKER_CONFIG", str(tmp_path / "settings"))
    (tmp_path / "settings").mkdir()
    return tmp_path / "settings"


def settings(config: Path, content: Any) -> None:
    (config / "config.json").write_text(json.dumps(content))


def context(config: Path, name: str, host: str) -> None:
    """As `docker context create` writes it; tests/engine/test_other_engines.py has the real one."""
    folder = config / "contexts/meta" / hashlib.sha256(name.encode()).hexdigest()
    folder.mkdir(parents=True)
    meta = {"Name": name, "Metadata": {}, "Endpoints": {"docker": {"Host": host, "SkipTLSVerify": False}}}
    (folder / "meta.json").write_text(json.dumps(meta))


@pytest.fixture
def engines(config: Path, tmp_path: Path) -> Iterator[dict[str, StandIn]]:
    """Three of them: contexts `one` and `two`, and what DOCKER_HOST may name."""
    with ExitStack() as stack:
        found = {name: stack.enter_context(answering(tmp_path / name)) for name in ("one", "two", "host")}
        for name in ("one", "two"):
            context(config, name, f"unix://{tmp_path / name}")
        yield found


@pytest.mark.parametrize(
    ("names", "reached"),
    [
        ({}, "one"),
        ({"DOCKER_CONTEXT": "two"}, "two"),
        ({"DOCKER_CONTEXT": "two", "DOCKER_HOST": "unix://{}/host"}, "host"),
        ({"DOCKER_CONTEXT": "none", "DOCKER_HOST": "unix://{}/host"}, "host"),
        ({"DOCKER_CONTEXT": "", "DOCKER_HOST": ""}, "one"),
    ],
)
def test_the_engine_is_the_one_that_dockers_command_line_would_use(
    engines: dict[str, StandIn],
    names: dict[str, str],
    reached: str,
    config: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    settings(config, {"currentContext": "one"})
    for name, value in names.items():
        monkeypatch.setenv(name, value.format(tmp_path))
    engine = DockerEngine()
    assert engine.socket == tmp_path / reached
    assert [name for name, each in engines.items() if each.asked] == [reached]


def test_without_a_word_of_another_it_is_the_default(config: Path) -> None:
    for content in ({}, {"currentContext": "default"}):
        settings(config, content)
        found = docker_connection.find(docker_connection.Config.read())
        assert found.socket == Path("/var/run/docker.sock")


@pytest.mark.parametrize("by", ["DOCKER_CONTEXT", "currentContext"])
def test_an_unknown_context_is_a_line_and_never_the_default_engine(
    config: Path, by: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    settings(config, {"currentContext": "gone"} if by == "currentContext" else {})
    if by == "DOCKER_CONTEXT":
        monkeypatch.setenv(by, "gone")
    with pytest.raises(
        FaceoffError, match=rf"^there is no Docker context 'gone' \({by}.*\): `docker context ls`"
    ) as caught:
        DockerEngine()
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("{", r"config\.json: not JSON .*: mend it, or name the engine by DOCKER_HOST"),
        ("[1]", r"config\.json: holds \[1\], and an object of JSON was expected"),
        ('{"auths": {"r.example": "me"}}', r"config\.json: auths is not as `docker login` writes it: .*; mend it"),
        (
            '{"auths": {"r.example": {"auth": "x"}}}',
            r"config\.json: auths is not as `docker login` writes it: .*; mend it",
        ),
    ],
)
def test_a_broken_config_is_a_line(config: Path, text: str, said: str) -> None:
    (config / "config.json").write_text(text)
    with pytest.raises(FaceoffError, match=said) as caught:
        DockerEngine()
    assert "\n" not in str(caught.value)


def test_an_engine_by_ssh_is_refused_before_anything_is_asked_of_it(config: Path) -> None:
    context(config, "far", "ssh://me@gpu.example")
    settings(config, {"currentContext": "far"})
    said = (
        r"^the Docker engine ssh://me@gpu\.example \(context 'far'\) is on another machine and does not see this folder"
    )
    with pytest.raises(FaceoffError, match=said):
        DockerEngine()


def test_where_no_engine_answers_another_socket_is_named(
    config: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    other = tmp_path / "podman/podman.sock"
    other.parent.mkdir()
    other.touch()
    monkeypatch.setenv("XDG_RUNTIME_DIR", str(tmp_path))
    monkeypatch.setattr(docker_connection, "RUN", ())
    monkeypatch.setenv("DOCKER_HOST", "unix:///nowhere/docker.sock")
    with pytest.raises(
        FaceoffError, match=rf"no Docker engine answers .*, but {other} is there: export DOCKER_HOST=unix"
    ):
        DockerEngine()


# ------------------------------------------------------------------------------------------------------- its socket


def job(*sources: Path) -> Job:
    mounts = tuple(Mount(each, Path("/checkout/data") / each.name, True) for each in sources)
    return Job("image:1", ("true",), Path("/"), mounts, {}, "0:0", None, 2**26, None, None, None, False, {})


@pytest.mark.usefixtures("engines")
def test_the_socket_that_it_was_reached_by_is_mounted_nowhere(config: Path, tmp_path: Path) -> None:
    settings(config, {"currentContext": "one"})
    for source in (tmp_path, tmp_path.parent, tmp_path / "one"):
        with pytest.raises(
            FaceoffError, match=rf"would be mounted, as {source}, which holds {tmp_path}/one, and no container"
        ):
            DockerEngine().run(job(source))


def test_nor_are_the_sockets_of_other_engines(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("XDG_RUNTIME_DIR", str(tmp_path))
    own = Path(f"/run/user/{os.getuid()}")
    for folder in (
        Path("/run"),
        Path("/run/podman"),
        Path("/run/containerd"),
        tmp_path,
        tmp_path / "podman",
        own.parent,
    ):
        with pytest.raises(FaceoffError, match="would be mounted"):
            docker_connection.check_no_socket(job(folder.resolve()).mounts, None)
    docker_connection.check_no_socket(job(tmp_path / "photos").mounts, None)


# ------------------------------------------------------------------------------------------------------ credentials


@pytest.fixture
def registry_engine(config: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[StandIn]:
    monkeypatch.setenv("DOCKER_HOST", f"unix://{tmp_path}/engine")
    with answering(tmp_path / "engine", PULL | BUILD) as engine:
        yield engine


def helper(folder: Path, name: str, script: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """The program docker-credential-NAME, on PATH."""
    program = folder / f"docker-credential-{name}"
    program.write_text(f"#!/bin/sh\n{script}\n")
    program.chmod(0o755)
    monkeypatch.setenv("PATH", f"{folder}:{os.environ['PATH']}")


def sent(engine: StandIn) -> dict[str, str] | None:
    """The credentials of the last pull."""
    header = engine.headers["POST /images/create"].get("X-Registry-Auth")
    return json.loads(base64.urlsafe_b64decode(header)) if header else None


@pytest.mark.parametrize(
    ("content", "script", "why"),
    [
        (
            {"credsStore": "desktop"},
            None,
            r"credsStore names the program docker-credential-desktop, which is not on PATH",
        ),
        ({"credHelpers": {"r.example": "desktop"}}, None, r"credHelpers names .*-desktop, which is not on PATH"),
        (
            {"credsStore": "desktop"},
            "echo not logged in; exit 1",
            r"credsStore names .*, which gave none: .*not logged in",
        ),
        ({"credsStore": "desktop"}, "echo nonsense", r"credsStore names .*, which gave none: "),
    ],
)
def test_a_pull_goes_on_without_credentials_where_their_program_fails(
    registry_engine: StandIn,
    config: Path,
    tmp_path: Path,
    content: Any,
    script: str | None,
    why: str,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    settings(config, content)
    if script:
        helper(tmp_path, "desktop", script, monkeypatch)
    shown: list[str] = []
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        DockerEngine().pull("r.example/team/train:1", shown.append)
    assert len(shown) == 2 and shown[1] == "Downloaded" and sent(registry_engine) is None
    said = shown[0].removeprefix("r.example/team/train:1 is pulled without credentials: ")
    assert re.match(rf"{config}/config\.json: {why}", said) and "\n" not in said


def test_a_pull_that_is_then_denied_says_why_it_had_none(registry_engine: StandIn, config: Path) -> None:
    registry_engine.answers["POST /images/create"] = (404, [{"message": "pull access denied for team/train"}])
    settings(config, {"credsStore": "desktop"})
    with pytest.raises(
        FaceoffError, match=r"denied.*log in with `docker login`.* \(.*config\.json: credsStore names .*-desktop"
    ) as caught:
        DockerEngine().pull("team/train:1", print)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize(
    "content", [{"credsStore": "desktop"}, {"credHelpers": {"other.example": "gcloud"}}, {"auths": {"r.example": {}}}]
)
def test_a_build_asks_for_no_credentials(registry_engine: StandIn, config: Path, content: Any) -> None:
    settings(config, content)
    DockerEngine().build({"Dockerfile": b"FROM x\n"}, "x:1", {}, None, print)
    assert "X-Registry-Config" not in registry_engine.headers["POST /build"]


def test_a_program_for_another_registry_is_not_asked(registry_engine: StandIn, config: Path) -> None:
    settings(config, {"credHelpers": {"other.example": "gcloud"}})
    shown: list[str] = []
    DockerEngine().pull("r.example/team/train:1", shown.append)
    assert shown == ["Downloaded"]


def test_credentials_that_are_there_are_sent(
    registry_engine: StandIn, config: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    helper(tmp_path, "store", """echo '{"Username": "me", "Secret": "word"}'""", monkeypatch)
    settings(
        config,
        {
            "credHelpers": {"r.example": "store"},
            "auths": {"q.example": {"auth": base64.b64encode(b"you:pass").decode()}},
        },
    )
    engine = DockerEngine()
    for registry, user in (("r.example", "me"), ("q.example", "you")):
        engine.pull(f"{registry}/team/train:1", print)
        found = sent(registry_engine)
        assert found is not None and user in (found.get("Username"), found.get("username"))
