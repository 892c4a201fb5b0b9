"""metrics/<image>/facts.json and profile.json by the real command, in this environment: it imports torch once."""

import os
import platform
import shutil

import pytest
import torch

from stages import codec, records
from tests.project import make_project, stage


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    folder = make_project(tmp_path_factory.mktemp("profile") / "project", ["host"], profile={"measure_seconds": 0})
    (folder / "data").mkdir()
    (folder / "printed").write_text(stage(folder, "profile", "--image", "host"))
    return folder


@pytest.fixture
def profile(folder):
    return codec.read(folder / records.profile_path("host"), records.Profile)


def test_it_is_this_environment(profile):
    facts = profile.facts
    assert facts.image == "host"
    assert facts.contents.torch == torch.__version__
    assert facts.contents.cuda_architectures == tuple((torch._C._cuda_getArchFlags() or "").split())
    assert facts.hardware.kernel == os.uname().release
    assert facts.glibc == platform.libc_ver()[1]
    assert facts.torch_threads == torch.get_num_threads()
    assert 0 < facts.hardware.limits.usable_cpus <= len(os.sched_getaffinity(0))
    assert facts.hardware.limits.shm_bytes == shutil.disk_usage("/dev/shm").total
    assert 0 < profile.conditions.disk_free_bytes <= facts.hardware.disk.total_bytes
    assert 0 < profile.conditions.memory_available_bytes <= facts.hardware.memory_bytes


def test_the_facts_stand_alone_and_are_the_same_in_the_next_run(folder, profile):
    first = (folder / records.facts_path("host")).read_bytes()
    assert codec.read(folder / records.facts_path("host"), records.Facts) == profile.facts
    stage(folder, "profile", "--image", "host")
    assert (folder / records.facts_path("host")).read_bytes() == first
    again = codec.read(folder / records.profile_path("host"), records.Profile)
    assert again.conditions.at > profile.conditions.at


def test_no_gpu_has_a_reason_and_a_cpu_is_called_one(folder, profile):
    printed = (folder / "printed").read_text()
    if profile.facts.device == "cpu":
        assert profile.facts.hardware.gpus_reason in printed and printed.startswith("host: CPU ")
    else:
        assert printed.startswith(f"host: GPU {profile.facts.device}")
