"""Images as Kaggle and Colab make them, with what is odd about theirs: one stand-in that has it all, built here.

Kaggle's Dockerfile is public (Kaggle/docker-python): a sitecustomize with an import hook, an ENTRYPOINT, packages below
/root, variables that steer libraries. Colab's has no public Dockerfile; Kaggle's is made from it.
"""

import signal
import subprocess
import sys
import time
import uuid
from collections.abc import Iterator
from pathlib import Path

import pytest

from stages import codec, records
from stages.harness.environments.docker_engine import DockerEngine
from stages.harness.environments.launch import Mount
from tests import real_engine
from tests.project import PARAMS, cell_stage, make_project, run_stage, stage, write_job
from tests.real_engine import make_job

pytestmark = pytest.mark.engine

DOCKERFILE = b"""
ARG BASE
FROM ${BASE}
COPY sitecustomize.py /
RUN mv /sitecustomize.py "$(python -c 'import os; print(os.path.dirname(os.__file__))')" && rm "$(command -v python)" \
    && mkdir -p /root/packages/hidden-1.0.dist-info /opt/packages/shown-1.0.dist-info && chmod 700 /root
ENV PYTHONPATH=:/root/packages:/opt/packages PYTHONUSERBASE=/root/.local HOME=/root \
    LD_LIBRARY_PATH=/usr/local/nvidia/lib64 OMP_NUM_THREADS=1 MKL_THREADING_LAYER=GNU \
    CUDA_MODULE_LOADING=LAZY CUDA_VERSION=12.8.1 NVIDIA_VISIBLE_DEVICES=all TF_FORCE_GPU_ALLOW_GROWTH=true
HEALTHCHECK --interval=1s CMD touch /tmp/looked-at
STOPSIGNAL SIGWINCH
WORKDIR /root
USER 4711
ENTRYPOINT ["/bin/false"]
"""
SITECUSTOMIZE = b"""
import importlib.abc, importlib.machinery, sys

class Finder(importlib.abc.MetaPathFinder, importlib.abc.Loader):
    def find_spec(self, name, path, target=None):
        return importlib.machinery.ModuleSpec(name, self) if name == "made_by_the_image" else None
    def create_module(self, spec):
        return None
    def exec_module(self, module):
        module.answer = 42

print("welcome to this image", flush=True)
sys.meta_path.insert(0, Finder())
open("/etc/hosts", "a")
"""
TRAINING = """
import json, os, time
import made_by_the_image

time.sleep(1.5)
facts = {"answer": made_by_the_image.answer, "looked_at": os.path.exists("/tmp/looked-at")}
facts["path"] = os.environ["PYTHONPATH"]
with open(os.environ["FACEOFF_EVENTS"], "a") as events:
    for name, value in facts.items():
        events.write(json.dumps({"fact": name, "value": str(value)}) + "\\n")
"""
NOBODY = "12345:12346"
GREETING = "welcome to this image\n"


@pytest.fixture(scope="module")
def engine() -> DockerEngine:
    return real_engine.connect()


@pytest.fixture(scope="module")
def reference(engine: DockerEngine) -> Iterator[str]:
    name = f"faceoff-test/{uuid.uuid4().hex[:12]}:1"
    files = {"Dockerfile": DOCKERFILE, "sitecustomize.py": SITECUSTOMIZE}
    engine.build(files, name, {"BASE": real_engine.base(engine)}, "none", print)
    yield name
    real_engine.remove_image(engine, name)


@pytest.fixture(scope="module")
def project(reference: str, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Ready for its cells."""
    root = make_project(tmp_path_factory.mktemp("project"), ["provider"], job="mine", container={"gpus": "none"})
    write_job(root, "mine", {"job.yaml": "train: python train.py\n", "train.py": TRAINING})
    (root / "docker/provider").mkdir()
    (root / "docker/provider/image.yaml").write_text(f"pull: {reference}\n")
    for each in ("machine", "job", "download"):
        stage(root, each)
    return root


@pytest.fixture(scope="module")
def profiled(project: Path) -> records.Facts:
    stage(project, "image", "provider")
    stage(project, "inside", "provider", "--profile")
    return codec.read(project / records.facts_path("provider"), records.Facts)


def test_its_python3_is_found_and_what_it_prints_or_fails_at_is_no_trouble(project: Path) -> None:
    done = run_stage(project, "image", "provider")
    assert done.returncode == 0 and done.stdout.startswith(GREETING), done.stderr
    assert "Error in sitecustomize" in done.stderr  # Python's own words: root in a container can't write there either
    made = codec.read(project / records.image_path("provider"), records.Image)
    assert (made.kind, made.python, made.contents.torch) == ("pulled", "python3", None)
    assert made.contents.packages["shown"] == "1.0"


def test_its_variables_are_facts(profiled: records.Facts) -> None:
    assert profiled.variables == {
        "CUDA_MODULE_LOADING": "LAZY",
        "LD_LIBRARY_PATH": "/usr/local/nvidia/lib64",
        "MKL_THREADING_LAYER": "GNU",
        "OMP_NUM_THREADS": "1",
        **PARAMS["env"],
        "TF_FORCE_GPU_ALLOW_GROWTH": "true",
    }


def test_a_cell_runs_beside_its_import_hook_and_without_looks_at_its_health(
    project: Path, profiled: records.Facts
) -> None:
    cell_stage(project, "train", "provider")
    result = codec.read(project / "metrics/provider/plain/train-1.json", records.Result)
    assert (result.status, result.facts["answer"], result.facts["looked_at"]) == ("ok", "42", "False")
    assert result.facts["path"].endswith("::/root/packages:/opt/packages")  # beside the observer's


def test_folders_that_root_alone_may_read_are_passed_over(
    project: Path, reference: str, engine: DockerEngine, tmp_path: Path
) -> None:
    tmp_path.chmod(0o777)
    code = project / "stages"
    job = make_job(reference, tmp_path, "python3", "-m", "stages.workload.contents", "--output", "found.json")
    mounts = (Mount(code, tmp_path / "stages", True), *job.mounts)
    (tmp_path / "stages").mkdir()
    outcome = engine.run(make_job(reference, tmp_path, *job.command, user=NOBODY, mounts=mounts))
    assert outcome.exit_code == 0
    packages = codec.read(tmp_path / "found.json", records.Contents).packages
    assert packages["shown"] == "1.0" and "hidden" not in packages


def test_it_is_stopped_as_any_other(project: Path, profiled: records.Facts) -> None:
    script = "trap 'touch models/asked; exit' TERM; touch models/began; while :; do sleep 0.05; done"
    command = [sys.executable, "-m", "stages.inside", "provider", "--", "sh", "-c", script]
    process = subprocess.Popen(command, cwd=project)
    for _ in range(2400):
        if (project / "models/began").exists():
            break
        time.sleep(0.05)
    assert (project / "models/began").exists()
    process.send_signal(signal.SIGTERM)
    assert process.wait(60) == 128 + signal.SIGTERM
    assert (project / "models/asked").exists()
