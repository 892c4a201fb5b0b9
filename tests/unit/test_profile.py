"""metrics/<image>/facts.json and profile.json by the real command, in this environment: it imports torch once."""

import dataclasses
import os
import platform
import shutil
import subprocess
import sys

import pytest
import torch

from stages import codec, records
from tests import nvml
from tests.project import make_project, run_stage, stage
from tests.supervised import write_image_task

LOOK_SECONDS = 5.0  # that a complete profile may take, imports and measurements left out
IMPATIENT_SECONDS = 3.0  # twice of it and what else there is to look at would be above that


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    folder = make_project(tmp_path_factory.mktemp("profile") / "project", ["host"])
    (folder / "data").mkdir()
    (folder / "printed").write_text(stage(folder, "profile", "--task", write_image_task(folder)))
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


@pytest.fixture
def other(tmp_path):
    """A project of its own, for what spoils one."""
    folder = make_project(tmp_path / "project", ["host"])
    (folder / "data").mkdir()
    write_image_task(folder)
    return folder


def test_variables_that_steer_speed_are_facts_and_do_what_they_say(other):
    """As `env` of an image.yaml sets them; another value is another environment."""
    task, steering = write_image_task(other), {"OMP_NUM_THREADS": "1", "ATEN_CPU_CAPABILITY": "default"}
    done = run_stage(other, "profile", "--task", task, **steering, MINE="no matter")
    assert done.returncode == 0, done.stderr
    facts = codec.read(other / records.facts_path("host"), records.Facts)
    assert facts.torch_threads == 1 and "MINE" not in facts.variables
    assert {name: facts.variables.get(name) for name in steering} == steering
    plain = dataclasses.replace(facts, variables={})
    assert codec.fingerprint(plain) != codec.fingerprint(facts)


def run_impatient(folder, entry, limit, environment):
    """The entry with one limit of time shorter, by which to see that there is one."""
    script = f"""
import sys
from stages.errors import run_entry
from stages.workload import facts
from stages.workload.probes import hardware
from stages import {entry}
{limit} = {IMPATIENT_SECONDS}
sys.argv = ["", "--task", "models/host.task.json"]
run_entry({entry}.main)
"""
    command = [sys.executable, "-c", script]
    return subprocess.run(command, cwd=folder, env=environment, capture_output=True, text=True, timeout=120)


@pytest.mark.alone
def test_a_driver_that_hangs_is_waited_for_once(other):
    environment = nvml.environment(other / "driver", {**nvml.T4, "hangs": "nvmlDeviceGetMemoryInfo"})
    done = run_impatient(other, "profile", "hardware.DRIVER_SECONDS", environment)
    assert done.returncode == 0, done.stderr
    found = codec.read(other / records.profile_path("host"), records.Profile)
    assert IMPATIENT_SECONDS < found.wall_seconds < IMPATIENT_SECONDS + LOOK_SECONDS
    for part in (found.facts.hardware, found.conditions):
        assert part.gpus == () and part.gpus_reason == "the NVIDIA driver did not answer within 3 s"


@pytest.mark.skipif(torch.version.cuda is None, reason="a torch without CUDA asks no driver")
@pytest.mark.parametrize("entry", ["profile", "preflight_inside"])
def test_a_cuda_that_hangs_ends_the_stage_with_a_line(other, tmp_path, entry):
    """As the driver does in a machine whose card is lost: any call of CUDA never returns."""
    done = run_impatient(other, entry, "facts.DEVICE_SECONDS", nvml.with_hanging_cuda(tmp_path))
    assert done.returncode == 1
    assert done.stderr == (
        "faceoff: image host: CUDA did not answer within 3 s; see what nvidia-smi says and mend the driver, or set "
        "container.gpus: none in params.yaml\n"
    )


TEN_LOOKS = """
import torch  # once: the child of each look has them then
from stages import codec
from stages.workload import facts
print(len({codec.fingerprint(facts.look("host")[0]) for _ in range(10)}))
"""


def test_ten_looks_find_the_same_facts(folder):
    done = subprocess.run([sys.executable, "-c", TEN_LOOKS], cwd=folder, capture_output=True, text=True)
    assert done.stdout == "1\n", done.stderr


@pytest.mark.alone
def test_the_facts_are_the_same_in_the_next_run_which_takes_under_5_seconds_beside_imports(folder, profile):
    first = (folder / records.facts_path("host")).read_bytes()
    assert codec.read(folder / records.facts_path("host"), records.Facts) == profile.facts
    stage(folder, "profile", "--task", write_image_task(folder))
    assert (folder / records.facts_path("host")).read_bytes() == first
    again = codec.read(folder / records.profile_path("host"), records.Profile)
    assert again.conditions.at > profile.conditions.at
    assert 0 < again.wall_seconds < LOOK_SECONDS


def test_no_gpu_has_a_reason_and_a_cpu_is_called_one(folder, profile):
    printed = (folder / "printed").read_text()
    if profile.facts.device == "cpu":
        assert printed.startswith("host: CPU ")
        assert profile.facts.hardware.gpus_reason is None or profile.facts.hardware.gpus_reason in printed
    else:
        assert printed.startswith(f"host: GPU {profile.facts.device}")
