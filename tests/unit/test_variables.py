"""Variables that steer speed: which are facts of an image, and what is said where they differ."""

import os

import pytest

from stages.harness.comparison.profile_diff import causes, differences, isolation
from stages.workload.probes import variables
from tests.environments import facts, hardware


@pytest.mark.parametrize(
    "name",
    [
        *("OMP_NUM_THREADS", "MKL_NUM_THREADS", "KMP_AFFINITY", "GOMP_CPU_AFFINITY", "OPENBLAS_NUM_THREADS"),
        *("NUMEXPR_MAX_THREADS", "VECLIB_MAXIMUM_THREADS", "ATEN_CPU_CAPABILITY", "DNNL_MAX_CPU_ISA"),
        *("ONEDNN_MAX_CPU_ISA", "CUDA_LAUNCH_BLOCKING", "CUDA_MODULE_LOADING", "CUBLAS_WORKSPACE_CONFIG"),
        *("CUDNN_LOGDEST_DBG", "NCCL_P2P_DISABLE", "NVIDIA_TF32_OVERRIDE", "PYTORCH_CUDA_ALLOC_CONF"),
        *("TORCH_ALLOW_TF32_CUBLAS_OVERRIDE", "TORCHINDUCTOR_MAX_AUTOTUNE", "TRITON_INTERPRET", "XLA_FLAGS"),
        *("LD_PRELOAD", "LD_LIBRARY_PATH", "MALLOC_ARENA_MAX", "GLIBC_TUNABLES", "PYTHONMALLOC"),
    ],
)
def test_what_steers_is_told(name: str) -> None:
    assert variables.look({name: "1", "HOME": "/root"}) == {name: "1"}


@pytest.mark.parametrize(
    "name",
    [
        *("PATH", "HOME", "FACEOFF_EVENTS", "KAGGLE_KEY", "OMPI_COMM_WORLD_RANK", "cuda_x"),
        *("NVIDIA_API_KEY", "NVIDIA_TOKEN", "TORCH_HUB_PASSWORD"),  # secrets, though they begin like the others
        *("CUDA_VISIBLE_DEVICES", "CUDA_DEVICE_ORDER", "NVIDIA_VISIBLE_DEVICES"),  # told as UUIDs of cards
        *("CUDA_VERSION", "NCCL_VERSION", "NVIDIA_REQUIRE_CUDA", "PYTORCH_BUILD_VERSION"),  # labels
        *("CUDA_HOME", "TORCH_HOME", "TRITON_CACHE_DIR"),  # places
    ],
)
def test_what_steers_nothing_or_is_told_otherwise_is_left_out(name: str) -> None:
    assert variables.look({name: "1"}) == {}


def test_a_value_is_one_line_whatever_it_holds() -> None:
    raw = os.fsdecode(b"a\nb\x1b[31m\xff \xc3\xa9")
    assert variables.look({"LD_PRELOAD": raw}) == {"LD_PRELOAD": "a\\nb\\x1b[31m\\udcff \xe9"}


@pytest.mark.parametrize("name", ["OMP_NUM_THREADS", "MKL_NUM_THREADS"])
def test_threads_come_with_the_variable_that_sets_them(name: str) -> None:
    found = differences(facts(torch_threads=1, variables={name: "1"}), facts())
    assert {each.what: (each.a, each.b, each.cause, each.kind) for each in found} == {
        f"environment variable {name}": ("1", "unset", name, "software"),
        "torch's threads": ("1", "2", name, "software"),
    }
    assert isolation(found) == f"One cause: a timing of the two shows what {name} does."


def test_threads_stand_alone_where_no_variable_sets_them() -> None:
    found = differences(facts(torch_threads=1, variables={"MALLOC_ARENA_MAX": "1"}), facts())
    assert causes(found) == ("MALLOC_ARENA_MAX", "torch's threads")


def test_threads_that_follow_a_limit_of_the_cpus_are_put_down_to_it() -> None:
    found = differences(facts(on=hardware(cpuset="0", usable_cpus=1.0), torch_threads=1), facts())
    assert causes(found) == ("CPU limit",)
