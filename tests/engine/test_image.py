"""`python -m stages.image` on a real Docker engine: what is built, what it holds, and what is refused."""

import json
import re
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path

import pytest
import yaml

from stages import codec, records
from stages.harness.environments import container, definition
from stages.harness.environments.docker_engine import DockerEngine
from tests import real_engine
from tests.project import ROOT, make_project, run_stage

pytestmark = pytest.mark.engine


@pytest.fixture(scope="module")
def engine() -> DockerEngine:
    return real_engine.connect()


@pytest.fixture(scope="module")
def project(tmp_path_factory: pytest.TempPathFactory, engine: DockerEngine) -> Path:
    return make_project(tmp_path_factory.mktemp("project"), ["cuda-9.2", "cuda-10.0"])


@pytest.fixture(scope="module")
def built(project: Path) -> records.Image:
    """The image cuda-10.0, built for real where the engine does not have it."""
    done = run_stage(project, "image", "cuda-10.0")
    assert done.returncode == 0, done.stdout[-2000:] + done.stderr
    return codec.read(project / records.image_path("cuda-10.0"), records.Image)


@pytest.mark.slow
def test_cuda_10_is_built_and_holds_what_it_should(built: records.Image) -> None:
    assert built.reference is not None and built.reference.startswith("faceoff/cuda-10.0:")
    contents = built.contents
    assert (contents.torch, contents.packages["torchvision"]) == ("1.2.0", "0.4.0")
    assert (contents.cuda, contents.cudnn, contents.nccl) == ("10.0.130", 7602, "2.4.8")
    for line in (ROOT / "docker/legacy.in").read_text().splitlines():
        if not line.startswith("#"):
            name, version = line.split("==")
            assert contents.packages[name.lower().replace("_", "-")] == version


@pytest.mark.slow
def test_its_torch_was_compiled_for_what_image_yaml_says(built: records.Image) -> None:
    binaries = [each for each in built.contents.cuda_architectures if each.startswith("sm_")]
    numbers = sorted(int(each.removeprefix("sm_")) for each in binaries)
    stated = definition.load("cuda-10.0", ROOT)
    assert stated.compute_capabilities == (f"{numbers[0] / 10}", f"{numbers[-1] / 10}") == ("3.5", "7.5")


@pytest.mark.slow
def test_what_docker_says_of_it(built: records.Image) -> None:
    def docker(*command: str) -> str:
        return subprocess.run(["docker", *command], capture_output=True, text=True, check=True).stdout.strip()

    size = docker("image", "inspect", "--format", "{{.Id}} {{.Size}}", str(built.reference))
    assert size == f"{built.image_id} {built.size_bytes}"
    assert docker("version", "--format", "{{.Server.Version}}") == built.engine
    assert docker("info", "--format", "{{.DefaultRuntime}}") == built.runtime
    digests = docker("image", "inspect", "--format", '{{join .RepoDigests " "}}', str(built.base))
    assert built.base_digest in digests if built.base_digest else digests == ""


@pytest.mark.slow
def test_nothing_is_built_twice(project: Path, built: records.Image) -> None:
    done = run_stage(project, "image", "cuda-10.0")
    assert done.returncode == 0, done.stderr
    assert done.stdout == ""
    assert codec.read(project / records.image_path("cuda-10.0"), records.Image) == built


@pytest.mark.slow
def test_fastai_imports_in_it_without_writing_to_it(project: Path, built: records.Image) -> None:
    lines = ("import torch", "torch.gesv = torch.solve", "import fastai.vision, pynvml", "print(torch.ones(2).sum())")
    done = run_stage(project, "inside", "cuda-10.0", "--", "python", "-c", "; ".join(lines))
    assert (done.returncode, done.stdout) == (0, "tensor(2.)\n"), done.stderr


@pytest.mark.slow
def test_an_image_that_holds_another_cuda_is_refused(tmp_path: Path, built: records.Image) -> None:
    project = make_project(tmp_path, ["cuda-9.2"])
    path = project / "docker/cuda-9.2/image.yaml"
    stated = yaml.safe_load(path.read_text())
    del stated["build"]
    path.write_text(yaml.safe_dump({**stated, "pull": built.reference}))
    old = project / records.image_path("cuda-9.2")
    codec.write(old, built)
    done = run_stage(project, "image", "cuda-9.2")
    assert done.returncode == 1
    assert "cuda 9.2 expected, 10.0.130 found" in done.stderr
    assert "torch 1.2.0+cu92 expected, 1.2.0 found" in done.stderr
    assert done.stderr.count("\n") == 1
    assert not old.exists()


@pytest.mark.slow
def test_cuda_9_is_built_or_says_which_wheel_cannot_be_had(project: Path) -> None:
    done = run_stage(project, "image", "cuda-9.2")
    if reachable("download.pytorch.org"):
        assert done.returncode == 0, done.stderr
    else:
        assert done.returncode == 1
        wheel = "https://download.pytorch.org/whl/cu92/torch-1.2.0%2Bcu92-cp37-cp37m-manylinux1_x86_64.whl"
        index = "https://pypi.org/simple/"  # where a build does not reach it either, or does not trust who answers
        assert re.match(
            f"faceoff: image cuda-9.2 was not built: ({re.escape(wheel)}|{re.escape(index)}[a-z0-9-]+/) cannot be "
            r"downloaded \(",
            done.stderr,
        ), done.stderr
        assert done.stderr.count("\n") == 1
        assert not (project / records.image_path("cuda-9.2")).exists()


def reachable(host: str) -> bool:
    try:
        socket.create_connection((host, 443), timeout=10).close()
    except OSError:
        return False
    return True


@pytest.fixture
def bare(tmp_path: Path, engine: DockerEngine) -> Path:
    """A project with an image `bare`, by the real Dockerfile, into which nothing is installed."""
    project = make_project(tmp_path, ["host"])
    folder = project / "docker/bare"
    folder.mkdir()
    build = {"base": real_engine.base(engine), "packages": "docker/bare/none.txt", "torch": "docker/bare/none.txt"}
    (folder / "none.txt").write_text(f"# nothing, for {tmp_path}\n")
    (folder / "image.yaml").write_text(yaml.safe_dump({"build": build, "expects": {"python": "3", "torch": "none"}}))
    return project


def test_a_sites_index_and_certificate_are_not_in_the_image(bare: Path, engine: DockerEngine) -> None:
    (bare / "site.pem").write_text("this site's certificate")
    environment = {"PIP_INDEX_URL": "https://me:secret@mirror.invalid/simple", "PIP_CERT": str(bare / "site.pem")}
    done = run_stage(bare, "image", "bare", **environment)
    assert done.returncode == 0, done.stderr
    reference = json.loads((bare / records.image_path("bare")).read_text())["reference"]
    try:
        assert done.stdout.lower().count("step ") > 1
        api = engine._client.api
        history = json.dumps([api.history(reference), api.inspect_image(reference)])
        assert "/opt/faceoff" in history
        assert "secret" not in history and "PIP_" not in history
        search = "! find / -xdev -name ca.pem -o -path '/install*' | grep ."
        assert run_stage(bare, "inside", "bare", "--", "sh", "-c", search).returncode == 0
    finally:
        real_engine.remove_image(engine, reference)


@pytest.mark.parametrize(("number", "code"), [(signal.SIGINT, 130), (signal.SIGTERM, 143)])
def test_a_build_that_is_stopped_leaves_no_container(bare: Path, engine: DockerEngine, number: int, code: int) -> None:
    # Podman 4.3 lets the step end that runs, and then begins no other.
    mark = f"sleep {8 if real_engine.is_podman(engine) else 600}.{time.time_ns()}"
    (bare / container.DOCKERFILE).write_text(f"ARG BASE\nFROM ${{BASE}}\nRUN {mark}\n")

    def building() -> list[str]:
        everything = engine._client.containers.list(all=True, sparse=True)  # of one that goes meanwhile Podman says 500
        found = [each.id for each in everything if mark in str(each.attrs["Command"])]
        return found + processes(mark)  # Podman shows no container of a build

    command = [sys.executable, "-m", "stages.image", "bare"]
    process = subprocess.Popen(command, cwd=bare, stdout=subprocess.PIPE, stderr=subprocess.PIPE)
    wait_until(lambda: bool(building()))
    process.send_signal(number)
    process.communicate(timeout=60)
    assert process.returncode == code
    wait_until(lambda: not building())
    assert not (bare / records.image_path("bare")).exists()


def processes(mark: str) -> list[str]:
    """Those of this machine in whose command the mark is."""
    found = []
    for path in Path("/proc").glob("[0-9]*/cmdline"):
        with suppress(OSError):  # it has ended
            found += [path.parent.name] if mark in path.read_text().replace("\0", " ") else []
    return found


def wait_until(holds: Callable[[], bool]) -> None:
    for _ in range(2400):
        if holds():
            return
        time.sleep(0.05)
    pytest.fail("waited in vain")
