"""Engines that are not this machine's plain one: rootless, with remapped users, one that sees another folder."""

import os
import subprocess
import time
import uuid
from collections.abc import Iterator
from pathlib import Path

import pytest
from docker.constants import DEFAULT_TIMEOUT_SECONDS

from stages.errors import FaceoffError
from stages.harness.environments.docker_engine import DockerEngine
from stages.harness.environments.launch import Mount, ProgramForbidden
from stages.harness.preflight import findings
from tests import daemon, own_engines, registry, tiny_image
from tests.project import make_project, run_stage
from tests.real_engine import make_job

pytestmark = [pytest.mark.engine, pytest.mark.own_engine]

NOBODY = 12345


@pytest.fixture(scope="module")
def blind(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder that the remapped engine sees as an empty one."""
    return tmp_path_factory.mktemp("blind")


@pytest.fixture(scope="module")
def own(blind: Path) -> Iterator[daemon.Daemon]:
    with daemon.remapped(blind) as started:
        yield started


@pytest.fixture(scope="module")
def remapped(own: daemon.Daemon) -> DockerEngine:
    return own_engines.connect(own)


@pytest.fixture(scope="module")
def rootless() -> Iterator[tuple[DockerEngine, str]]:
    with daemon.rootless() as (started, user):
        yield own_engines.connect(started), user


@pytest.mark.parametrize("uid", [os.getuid(), NOBODY])
def test_what_a_remapped_engines_job_writes_is_the_callers(remapped: DockerEngine, tmp_path: Path, uid: int) -> None:
    os.chown(tmp_path, uid, uid)
    assert own_engines.owner_of_result(remapped, tmp_path, f"{uid}:{uid}") == f"{uid}:{uid}"


@pytest.fixture
def home(rootless: tuple[DockerEngine, str]) -> Iterator[Path]:
    """A folder of the rootless engine's user, who may not enter pytest's."""
    with own_engines.home(rootless[1]) as folder:
        yield folder


def test_what_a_rootless_engines_job_writes_is_the_callers(rootless: tuple[DockerEngine, str], home: Path) -> None:
    engine, user = rootless
    assert own_engines.owner_of_result(engine, home, user) == user


def test_a_rootless_engine_says_what_it_cannot_limit_and_runs_without(
    rootless: tuple[DockerEngine, str], home: Path
) -> None:
    """Under cgroup 1 it can limit nothing; asked for CPUs, it would refuse the container."""
    engine, user = rootless
    about = engine.about()
    assert "rootless" in engine._security and about.name == "Docker"
    assert own_engines.held(engine, home, user) == {*own_engines.LIMITS} - {*about.unenforced}


def test_a_python_that_only_root_may_run_is_told_with_its_user(
    remapped: DockerEngine, tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    """It lies below /root, whose mode is 700 as in Debian."""
    image = tiny_image.load(remapped, "root/bin/python", "ENV PATH=/root/bin:/usr/bin")
    with pytest.raises(
        ProgramForbidden, match=rf"^python of .* may not be run by uid {NOBODY}, .*/root.*chmod"
    ) as caught:
        remapped.run(make_job(image, tmp_path, "python", "-c", "exit 0", user=f"{NOBODY}:{NOBODY}"))
    assert "\n" not in str(caught.value) and capfd.readouterr() == ("", "")


def make(folder: Path, reference: str) -> Path:
    """A project with the image `probe`, pulled as it is."""
    root = make_project(folder, ["host"])
    (root / "docker/probe").mkdir()
    (root / "docker/probe/image.yaml").write_text(f"pull: {reference}\n")
    return root


def test_stage_image_says_so_in_a_line_too(own: daemon.Daemon, remapped: DockerEngine, tmp_path: Path) -> None:
    """Without capabilities, and outside of the image's users, root is one of those whom /root is closed to."""
    root = make(tmp_path, tiny_image.load(remapped, "root/bin/python", "ENV PATH=/root/bin:/usr/bin"))
    done = run_stage(root, "image", "probe", DOCKER_HOST=own.host)
    assert done.returncode == 1 and done.stderr.count("\n") == 1
    assert done.stderr.startswith("faceoff: image probe: python of ") and "may not be run by uid 0" in done.stderr


def test_an_engine_that_sees_another_folder_is_told_in_a_line_and_leaves_nothing(
    remapped: DockerEngine, blind: Path, tmp_path: Path
) -> None:
    (blind / "checkout").mkdir()
    before = {each.id for each in remapped._client.images.list(all=True)}
    began = time.monotonic()
    remapped.check_sees(tmp_path)
    for folder in (blind, blind / "checkout"):  # empty there, and not there
        with pytest.raises(
            FaceoffError, match=r"this engine does not see this folder: .* another folder or none; run "
        ) as caught:
            remapped.check_sees(folder)
        assert str(caught.value).count("\n") == 0 and f"sock (DOCKER_HOST), {folder} is" in str(caught.value)
    assert time.monotonic() - began < 3 * DEFAULT_TIMEOUT_SECONDS  # none of them waits for what never comes
    assert {each.id for each in remapped._client.images.list(all=True)} == before
    assert remapped._client.containers.list(all=True) == []
    assert list(tmp_path.rglob("*")) == [tmp_path / "models"]


def test_preflight_and_stage_image_tell_it_before_a_build_or_pull(
    own: daemon.Daemon, blind: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    root = make(blind / "project", "127.0.0.1:1/none:1")
    done = run_stage(root, "image", "probe", DOCKER_HOST=own.host)
    assert (done.returncode, done.stdout, done.stderr.count("\n")) == (1, "", 1)
    assert done.stderr.startswith("faceoff: this engine does not see this folder: ")
    monkeypatch.setenv("DOCKER_HOST", own.host)
    engine, problem = findings.look_at_engine(root, is_needed=True)
    assert engine is None and problem is not None and problem.startswith("this engine does not see this folder: ")
    assert findings.look_at_engine(root, is_needed=False) == (None, None)


def test_an_engine_of_the_network_that_answers_is_asked_whether_it_sees_this_folder(
    own: daemon.Daemon, blind: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with daemon.over_tcp(own) as address:
        monkeypatch.setenv("DOCKER_HOST", address)
        engine = DockerEngine()
        assert engine.socket is None
        engine.check_sees(tmp_path)  # it may be this machine's own
        with pytest.raises(FaceoffError, match=rf"^this engine does not see this folder: .* {address} \(DOCKER_HOST\)"):
            engine.check_sees(blind)
        root = make(blind / "checkout-by-tcp", "127.0.0.1:1/none:1")
        done = run_stage(root, "image", "probe", DOCKER_HOST=address)
    assert (done.returncode, done.stdout, done.stderr.count("\n")) == (1, "", 1)
    assert done.stderr.startswith("faceoff: this engine does not see this folder: ")


@pytest.fixture
def settings(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Docker's folder of settings, and a shell that names no engine."""
    monkeypatch.delenv("DOCKER_HOST", raising=False)
    monkeypatch.setenv("DOCKER_CONFIG", str(tmp_path))
    return tmp_path / "config.json"


@pytest.mark.parametrize("by", ["docker context use", "DOCKER_CONTEXT"])
def test_a_contexts_engine_is_used_and_its_socket_mounted_nowhere(
    own: daemon.Daemon, settings: Path, by: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    for command in (["create", "mine", "--docker", f"host={own.host}"], ["use", "mine"]):
        subprocess.run(["docker", "context", *command], check=True, capture_output=True)
    if by == "DOCKER_CONTEXT":
        subprocess.run(["docker", "context", "use", "default"], check=True, capture_output=True)
        monkeypatch.setenv("DOCKER_CONTEXT", "mine")
    engine = DockerEngine()
    assert engine.socket == own.folder / "sock"
    assert engine.folder().parent == own.folder / "data-root"  # remapped, it keeps its images one folder deeper
    job = make_job("image:1", settings.parent, "true", mounts=(Mount(own.folder, Path("/data"), True),))
    with pytest.raises(FaceoffError, match=r"would be mounted, as .*, and no container may have that"):
        engine.run(job)


def test_a_proxy_of_dockers_settings_is_in_no_jobs_environment(
    own: daemon.Daemon, settings: Path, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("DOCKER_HOST", own.host)
    settings.write_text('{"proxies": {"default": {"httpProxy": "http://proxy.example:3128"}}}')
    engine = DockerEngine()
    engine.run(make_job(tiny_image.load(engine), settings.parent, "sh", "-c", 'echo "<$http_proxy$HTTP_PROXY>"'))
    assert capfd.readouterr().out == "<>\n"


def test_a_program_for_credentials_that_is_not_there_stops_neither_pull_nor_build(
    own: daemon.Daemon, settings: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("DOCKER_HOST", own.host)
    settings.write_text('{"credsStore": "nowhere", "credHelpers": {"gcr.io": "nowhere-else"}}')
    engine, shown = DockerEngine(), []
    with registry.serving(uuid.uuid4().bytes) as (reference, digest):
        engine.pull(reference, shown.append)
    assert (
        "is pulled without credentials: " in shown[0] and "docker-credential-nowhere, which is not on PATH" in shown[0]
    )
    engine.build({"Dockerfile": f"FROM {reference}\nLABEL a=b\n".encode()}, "faceoff-test/built:1", {}, "none", print)
    assert engine.find(reference).digest == digest and engine.find("faceoff-test/built:1")
