"""The profile stage in a real image of Python 3.7, torch 1.2 and fastai 1, in a container with limits."""

from pathlib import Path

import pytest

from stages import codec, records
from tests import real_engine
from tests.project import make_project, stage

pytestmark = [pytest.mark.engine, pytest.mark.slow]

IMAGE = "cuda-10.0"
MIB = 2**20


@pytest.fixture(scope="module")
def project(tmp_path_factory: pytest.TempPathFactory) -> Path:
    real_engine.connect()
    limits = {"cpus": 1, "memory": "2g", "shm_size": "256m", "gpus": "none"}
    folder = make_project(tmp_path_factory.mktemp("profile") / "project", [IMAGE], container=limits)
    (folder / "data").mkdir()
    stage(folder, "machine")
    stage(folder, "image", IMAGE)
    return folder


def profile(folder: Path) -> tuple[records.Profile, str]:
    """The stage inside the image as dvc.yaml runs it, and what it printed."""
    printed = stage(folder, "inside", IMAGE, "--", "python", "-m", "stages.profile", "--image", IMAGE)
    return codec.read(folder / records.profile_path(IMAGE), records.Profile), printed


def test_it_is_what_the_job_sees_there(project: Path) -> None:
    found, printed = profile(project)
    facts, limits = found.facts, found.facts.hardware.limits
    assert (facts.contents.torch, facts.contents.fastai, facts.device) == ("1.2.0", "1.0.48", "cpu")
    assert facts.contents.python.startswith("3.7.")
    assert facts.contents == codec.read(project / records.image_path(IMAGE), records.Image).contents
    assert (limits.cpu_quota, limits.usable_cpus, limits.memory_bytes) == (1.0, 1.0, 2048 * MIB)
    assert limits.shm_bytes == 256 * MIB
    assert printed.startswith(f"{IMAGE}: CPU ")
    assert f"1 of {facts.hardware.cpu.logical_cpus} CPUs, 2 GiB of memory, /dev/shm 256 MiB" in printed


def test_the_machine_is_the_one_that_the_host_sees(project: Path) -> None:
    inside = profile(project)[0].facts.hardware
    outside = codec.read(project / records.MACHINE_PATH, records.Machine).hardware
    assert (inside.cpu, inside.memory_bytes, inside.kernel) == (outside.cpu, outside.memory_bytes, outside.kernel)
    assert inside.disk == outside.disk
    assert inside.limits != outside.limits


def test_its_facts_are_the_same_in_the_next_container(project: Path) -> None:
    written = set()
    for _ in range(2):
        profile(project)
        written.add((project / records.facts_path(IMAGE)).read_bytes())
    assert len(written) == 1
