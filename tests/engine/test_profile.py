"""The profile stage in a real image of Python 3.7, torch 1.2 and fastai 1, in a container with limits."""

from pathlib import Path

import pytest

from stages import codec, records
from tests import real_engine
from tests.project import DOGS_CATS, make_project, stage

pytestmark = [pytest.mark.engine, pytest.mark.slow]

IMAGE = "cuda-10.0"
MIB = 2**20
MEASURE_SECONDS = 20


@pytest.fixture(scope="module")
def project(tmp_path_factory: pytest.TempPathFactory) -> Path:
    real_engine.connect()
    folder = make_project(
        tmp_path_factory.mktemp("profile") / "project",
        [IMAGE],
        container={"cpus": 1, "memory": "2g", "shm_size": "256m", "gpus": "none"},
        job="dogs_cats",
        dogs_cats={"dataset": {**DOGS_CATS["dataset"], "train_photos": 24, "valid_photos": 8}},
        variants={"fp32-bs16": {"precision": "fp32", "batch_size": 16}},
        profile={"measure_seconds": MEASURE_SECONDS},
    )
    for each in (["machine"], ["job"], ["download"], ["image", IMAGE]):
        stage(folder, *each)
    return folder


Profiled = tuple[records.Profile, str]


def profile(folder: Path) -> Profiled:
    """The stage inside the image as dvc.yaml runs it, and what it printed."""
    printed = stage(folder, "inside", IMAGE, "--profile")
    return codec.read(folder / records.profile_path(IMAGE), records.Profile), printed


@pytest.fixture(scope="module")
def measured(project: Path) -> Profiled:
    """With its measured part."""
    return profile(project)


def test_it_is_what_the_job_sees_there(project: Path, measured: Profiled) -> None:
    found, printed = measured
    facts, limits = found.facts, found.facts.hardware.limits
    assert (facts.contents.torch, facts.contents.packages["fastai"], facts.device) == ("1.2.0", "1.0.48", "cpu")
    assert facts.contents.python.startswith("3.7.")
    assert facts.contents == codec.read(project / records.image_path(IMAGE), records.Image).contents
    assert (limits.cpu_quota, limits.usable_cpus, limits.memory_bytes) == (1.0, 1.0, 2048 * MIB)
    assert limits.shm_bytes == 256 * MIB
    assert printed.startswith(f"{IMAGE}: CPU ")
    assert f"1 of {facts.hardware.cpu.logical_cpus} CPUs, 2 GiB of memory, /dev/shm 256 MiB" in printed


def test_the_machine_is_the_one_that_the_host_sees(project: Path, measured: Profiled) -> None:
    inside = measured[0].facts.hardware
    outside = codec.read(project / records.MACHINE_PATH, records.Machine).hardware
    assert (inside.cpu, inside.memory_bytes, inside.kernel) == (outside.cpu, outside.memory_bytes, outside.kernel)
    assert inside.disk == outside.disk
    assert inside.limits != outside.limits


def test_every_part_was_measured_there_or_says_why_not(measured: Profiled) -> None:
    """In Python 3.7 and torch 1.2, on the one CPU that the container may use."""
    found = {each.name: each for each in measured[0].measurements}
    reasons = {
        "read of photos, cold": "the kernel keeps ",  # where the checkout is in memory
        "matrix product, tf32": "no GPU: ",
        "host to device, pinned": "no GPU: ",
        "host to device, pageable": "no GPU: ",
    }
    for each in found.values():
        halves = each.name.endswith(("fp16", "bf16"))  # torch 1.2 computes some of it on a CPU, and not all
        assert each.samples or halves or each.absent["median"].startswith(reasons[each.name]), each
        assert each.samples or (each.absent["median"] and each.absent["spread"])
    for name in ("JPEG decode, 1 core", "matrix product, fp32", "memory copy", "read of photos, warm"):
        assert len(found[name].samples) > 1, found[name]
    for layer in ("first", "heaviest"):
        assert len(found[f"convolution, {layer} layer, batch size 16, contiguous, fp32"].samples) > 1
    assert found["JPEG decode, all usable cores"].detail.startswith("Pillow, 1 process,")


def test_its_facts_are_the_same_in_the_next_container(project: Path, measured: Profiled) -> None:
    written = (project / records.facts_path(IMAGE)).read_bytes()
    params = project / "params.yaml"
    params.write_text(params.read_text().replace(f"measure_seconds: {MEASURE_SECONDS}", "measure_seconds: 0"))
    again, _ = profile(project)
    assert (project / records.facts_path(IMAGE)).read_bytes() == written
    assert again.measurements == ()
    assert again.wall_seconds > 0
