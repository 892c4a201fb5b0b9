"""metrics/<image>/profile.json by the real command, in this environment: it imports torch and fastai once."""

import os
import shutil

import pytest
import torch

from stages import records
from tests.project import make_project, stage


@pytest.fixture(scope="module")
def profiled(tmp_path_factory):
    """What the command wrote and what it printed."""
    folder = make_project(tmp_path_factory.mktemp("profile") / "project", ["host"])
    printed = stage(folder, "profile", "--image", "host")
    return records.read(folder / records.profile_path("host"), records.Profile), printed


def test_it_is_this_environment(profiled):
    profile, _ = profiled
    assert profile.image == "host"
    assert profile.contents.torch == torch.__version__
    assert profile.kernel == os.uname().release
    assert profile.torch_threads == torch.get_num_threads()
    assert 0 < profile.usable_cpus <= len(os.sched_getaffinity(0))
    assert profile.shm_bytes == shutil.disk_usage("/dev/shm").total
    assert profile.disk_free_bytes <= profile.disk_total_bytes


def test_no_gpu_has_a_reason_and_a_cpu_is_called_one(profiled):
    profile, printed = profiled
    assert bool(profile.gpus) == (profile.gpus_reason is None)
    if profile.device == "cpu":
        assert printed.startswith("host: CPU ")
    else:
        assert printed.startswith(f"host: GPU {profile.device}")
