"""Variables that steer speed: which are facts of an image, and what is said where they differ."""

import os
import sys
from pathlib import Path

import pytest
import yaml

from stages import codec, records, variables
from stages.harness.comparison.profile_diff import causes, differences, isolation
from stages.harness.params import schema
from stages.harness.results.read import read_all
from tests.environments import facts, hardware
from tests.project import make_project, run_stage, stage, write_job
from tests.supervised import LEGACY


@pytest.mark.parametrize(
    "name",
    [
        *("OMP_NUM_THREADS", "MKL_NUM_THREADS", "KMP_AFFINITY", "GOMP_CPU_AFFINITY", "OPENBLAS_NUM_THREADS"),
        *("NUMEXPR_MAX_THREADS", "VECLIB_MAXIMUM_THREADS", "ATEN_CPU_CAPABILITY", "DNNL_MAX_CPU_ISA"),
        *("ONEDNN_MAX_CPU_ISA", "CUDA_LAUNCH_BLOCKING", "CUDA_MODULE_LOADING", "CUBLAS_WORKSPACE_CONFIG"),
        *("CUDNN_LOGDEST_DBG", "NCCL_P2P_DISABLE", "NVIDIA_TF32_OVERRIDE", "PYTORCH_CUDA_ALLOC_CONF"),
        *(
            "TORCH_ALLOW_TF32_CUBLAS_OVERRIDE",
            "TORCHINDUCTOR_MAX_AUTOTUNE",
            "TRITON_INTERPRET",
            "XLA_FLAGS",
            "TF_XLA_FLAGS",
        ),
        *("MKLDNN_VERBOSE", "LD_BIND_NOW"),
        *("LD_PRELOAD", "LD_LIBRARY_PATH", "MALLOC_ARENA_MAX", "GLIBC_TUNABLES", "PYTHONMALLOC"),
    ],
)
def test_what_steers_is_told(name: str) -> None:
    assert variables.look({name: "1", "HOME": "/root"}) == {name: "1"}


@pytest.mark.parametrize(
    "name",
    [
        *("PATH", "HOME", "FACEOFF_EVENTS", "KAGGLE_KEY", "OMPI_COMM_WORLD_RANK", "cuda_x"),
        # Secrets, though they begin like the others.
        *("NVIDIA_API_KEY", "NVIDIA_TOKEN", "TORCH_HUB_PASSWORD", "NVIDIA_PASS", "NVIDIA_APIKEY2"),
        *("TF_VAR_token", "TF_CLI_CONFIG_FILE"),  # Terraform's
        *("CUDA_VISIBLE_DEVICES", "CUDA_DEVICE_ORDER", "NVIDIA_VISIBLE_DEVICES"),  # told as UUIDs of cards
        *("CUDA_VERSION", "NCCL_VERSION", "NVIDIA_REQUIRE_CUDA", "PYTORCH_BUILD_VERSION"),  # labels
        *("PYTORCH_INDEX_URL", "TORCH_INDEX_URL", "CUDA_PIP_INDEX", "CUDA_PKG_URL"),  # where packages come from
        *("TORCH_CUDA_ARCH_LIST", "PYTORCH_BUILD_NUMBER"),  # of a build
        *("CUDA_HOME", "TORCH_HOME", "TRITON_CACHE_DIR", "TF_CPP_MIN_LOG_LEVEL"),  # places, and what is printed
    ],
)
def test_what_steers_nothing_or_is_told_otherwise_is_left_out(name: str) -> None:
    assert variables.look({name: "1"}) == {}


def test_a_value_is_one_line_whatever_it_holds() -> None:
    raw = os.fsdecode(b"a\nb\x1b[31m\xff \xc3\xa9")
    assert variables.look({"LD_PRELOAD": raw}) == {"LD_PRELOAD": "a\\nb\\x1b[31m\\udcff \xe9"}


@pytest.mark.parametrize(
    ("name", "value", "expected"),
    [
        *((name, "abc", "(set)") for name in ("HF_TOKEN", "NGC_APIKEY2", "db_pass")),
        ("TOKENIZERS_PARALLELISM", "false", "false"),
        ("HTTPS_PROXY", "http://me:abc@proxy:3128", "http://(login)@proxy:3128"),
        ("MINE", "2\n3", "2\\n3"),
    ],
)
def test_what_opens_something_is_not_shown(name: str, value: str, expected: str) -> None:
    assert variables.shareable(name, value) == expected


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


# ------------------------------------------------------------------------------------------------------- for real


@pytest.fixture
def project(tmp_path: Path) -> Path:
    """With two images of one Python, one of which sets a variable, and a job that says what it sees of them."""
    python = (LEGACY or [sys.executable])[0]
    root = make_project(tmp_path / "project", ["plain", "steered"], job="sees", variants={"asis": {}}, repeats=[1])
    params = yaml.safe_load((root / "params.yaml").read_text())
    (root / "params.yaml").write_text(yaml.safe_dump({**params, "env": {}}))
    for name, env in (("plain", ""), ("steered", "env: {ATEN_CPU_CAPABILITY: default}\n")):
        (root / "docker" / name).mkdir()
        (root / "docker" / name / "image.yaml").write_text(f"python: {python}\n{env}")
    names = ("OMP_NUM_THREADS", "ATEN_CPU_CAPABILITY")
    script = f"""import json, os
with open(os.environ["FACEOFF_EVENTS"], "a") as events:
    for name in {names}:
        events.write(json.dumps({{"fact": name.lower(), "value": os.environ.get(name, "unset")}}) + "\\n")
"""
    write_job(root, "sees", {"job.yaml": "train: python see.py\n", "see.py": script})
    for each in (["machine"], ["job"], ["download"]):
        stage(root, *each)
    return root


def measure(root: Path, image: str, variant: str = "asis") -> dict[str, str]:
    """What the job saw, from a shell that sets a variable of its own."""
    for each in (["image", image], ["inside", image, "--profile"]):
        done = run_stage(root, *each, OMP_NUM_THREADS="1")
        assert done.returncode == 0, done.stderr
    for name in ("train", "evaluate"):
        result = f"metrics/{image}/{variant}/{name}-1.json"
        done = run_stage(root, "inside", image, "--result", result, OMP_NUM_THREADS="1")
        assert done.returncode == 0, done.stderr
    return codec.read(root / f"metrics/{image}/{variant}/train-1.json", records.Result).facts


def test_the_shell_steers_no_job_and_the_images_own_variables_are_its_environment(project: Path) -> None:
    """As `OMP_NUM_THREADS=1 make repro` did for interpreters, and not for containers."""
    plain = {"omp_num_threads": "unset", "aten_cpu_capability": "unset"}
    assert measure(project, "plain") == plain
    assert measure(project, "steered") == {**plain, "aten_cpu_capability": "default"}
    seen = {name: codec.read(project / records.facts_path(name), records.Facts) for name in ("plain", "steered")}
    assert {name: each.variables for name, each in seen.items()} == {
        "plain": {},
        "steered": {"ATEN_CPU_CAPABILITY": "default"},
    }
    lines = run_stage(project, "compare_profiles", "plain", "steered").stdout.splitlines()
    assert "  environment variable ATEN_CPU_CAPABILITY (ATEN_CPU_CAPABILITY): unset | default" in lines
    assert lines[-1].startswith("One cause: a timing of the two shows what ATEN_CPU_CAPABILITY does")
    stage(project, "compare")
    (_, steered) = codec.read(project / records.COMPARISON_PATH, records.Comparison).settings
    assert "environment variable ATEN_CPU_CAPABILITY default, not unset" in steered.differences


def test_what_all_images_get_lies_below_an_images_own_and_a_variants(project: Path) -> None:
    path = project / "params.yaml"
    params = yaml.safe_load(path.read_text())
    params["env"] = {"OMP_NUM_THREADS": "2", "ATEN_CPU_CAPABILITY": "avx2"}
    params["variants"]["own"] = {"env": {"OMP_NUM_THREADS": "3"}}
    path.write_text(yaml.safe_dump(params))
    assert measure(project, "plain") == {"omp_num_threads": "2", "aten_cpu_capability": "avx2"}
    assert measure(project, "steered", "own") == {"omp_num_threads": "3", "aten_cpu_capability": "default"}
    assert codec.read(project / records.image_path("plain"), records.Image).env == params["env"]
    assert codec.read(project / records.facts_path("plain"), records.Facts).variables == params["env"]
    path.write_text(yaml.safe_dump({**params, "env": {}}))
    stage(project, "image", "plain")
    found = {each.cell.setting: each for each in read_all(schema.load(project), project)}["plain/asis"]
    assert found.status == "refused" and "measured in another image" in str(found.reason)
