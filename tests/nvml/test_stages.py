"""Stages with cards in the machine: what machine.json and a profile have of them, on the host and in a 3.7 image."""

import json
from pathlib import Path

import pytest

from stages import codec, records
from stages.harness.environments.launch import Mount
from tests import nvml, real_engine
from tests.nvml import A100, K80, LOST, SILENT, T4
from tests.nvml.test_gpus import LOOK, look
from tests.project import ROOT, make_project, run_stage
from tests.supervised import write_image_task

MOVED = {
    "temperature": 80,
    "power_milliwatts": 69000,
    "sm_megahertz": 1590,
    "memory_megahertz": 5001,
    "busy_percent": 99,
    "throttle_reasons": 0x20,
    "pcie_generation": 3,
    "pcie_width": 16,
    "memory_used": 2**33,
    "compute_processes": "17:5",
}


@pytest.fixture(scope="module")
def project(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return make_project(tmp_path_factory.mktemp("project"), ["host"], container={"gpus": "auto"})


def machine(project: Path, *cards: nvml.Card, **system: object) -> records.Machine:
    done = run_stage(project, "machine", **nvml.environment(project / "driver", *cards, **system))
    assert done.returncode == 0, done.stderr
    return codec.read(project / records.MACHINE_PATH, records.Machine)


def test_machine_json_has_the_cards_and_its_fingerprint_what_stays_of_them(project: Path) -> None:
    found = machine(project, T4, A100)
    assert [gpu.name for gpu in found.hardware.gpus] == ["Tesla T4", "NVIDIA A100-SXM4-40GB"]
    assert machine(project, {**T4, **MOVED}, A100) == found
    others = {
        "driver": machine(project, T4, A100, driver="550.54.14"),
        "CUDA of the driver": machine(project, T4, A100, cuda=12040),
        "power limit": machine(project, {**T4, "power_limit_milliwatts": 60000}, A100),
        "MIG": machine(project, T4, {**A100, "mig": 1}),
        "a card less": machine(project, T4),
        "another order": machine(project, A100, T4),
    }
    fingerprints = {name: codec.fingerprint(each) for name, each in others.items()} | {"": codec.fingerprint(found)}
    assert len(set(fingerprints.values())) == len(fingerprints)


@pytest.mark.parametrize(
    ("key", "why"), [("crashes", "ended without an answer (SIGSEGV)"), ("hangs", "did not answer")]
)
def test_a_driver_that_fails_does_not_fail_the_stage(project: Path, key: str, why: str) -> None:
    (project / records.MACHINE_PATH).unlink(missing_ok=True)  # of cards that did answer
    found = machine(project, {**T4, key: "nvmlDeviceGetMemoryInfo"}).hardware
    assert found.gpus == () and found.gpus_reason is not None
    assert found.gpus_reason.startswith(f"the NVIDIA driver {why}")


@pytest.mark.slow
def test_a_profile_has_what_the_cards_are_and_what_they_do(project: Path) -> None:
    card = {**T4, "temperature": 88, "compute_processes": "17:1073741824"}
    environment = nvml.environment(project / "driver", card, LOST, process_17="/usr/bin/other")
    done = run_stage(project, "profile", "--task", write_image_task(project), **environment)
    assert done.returncode == 0, done.stderr
    profile = codec.read(project / records.profile_path("host"), records.Profile)
    first, second = profile.facts.hardware.gpus
    assert (first.name, second.absent["name"]) == ("Tesla T4", "the driver answers: GPU is lost")
    assert profile.facts.device == "cpu"  # the stand-in is a driver that answers, and computes nothing
    state = profile.conditions.gpus[0]
    assert (state.temperature_celsius, state.other_processes) == (88, ("pid 17, other, 1 GiB",))


# ------------------------------------------------------------------------------- in a container, by its own binding


@pytest.fixture(scope="module")
def legacy(tmp_path_factory: pytest.TempPathFactory) -> str:
    """The image cuda-10.0: Python 3.7, and the last nvidia-ml-py that its lock may name."""
    real_engine.connect()
    folder = make_project(tmp_path_factory.mktemp("image"), ["cuda-10.0"], container={"gpus": "auto"})
    done = run_stage(folder, "image", "cuda-10.0")
    assert done.returncode == 0, done.stdout[-2000:] + done.stderr
    return str(codec.read(folder / records.image_path("cuda-10.0"), records.Image).reference)


def look_inside(reference: str, driver: Path, script: str, capfd: pytest.CaptureFixture[str], *mounts: Mount) -> str:
    """What the script prints in a container that has this folder's driver."""
    job = real_engine.make_job(
        reference,
        driver,
        *("python", "-c", script),
        mounts=(Mount(driver, driver, False), Mount(ROOT / "stages", driver / "stages", True), *mounts),
        environment={"LD_LIBRARY_PATH": str(driver), "NVML_STANDIN": str(driver / "cards.txt")},
    )
    capfd.readouterr()
    outcome = real_engine.connect().run(job)
    captured = capfd.readouterr()
    assert outcome.exit_code == 0, captured.err
    return captured.out


@pytest.mark.engine
@pytest.mark.slow
@pytest.mark.parametrize("before_510", [False, True])
def test_python_3_7_reads_the_same_by_its_binding(
    legacy: str, tmp_path: Path, capfd: pytest.CaptureFixture[str], before_510: bool
) -> None:
    cards = (T4, {**A100, "mig": 1, "throttle_reasons": 0x24}, LOST, SILENT, K80)
    environment = nvml.environment(tmp_path, *cards, before_510=before_510)
    inside = json.loads(look_inside(legacy, tmp_path, LOOK, capfd))
    outside = look(environment)
    if before_510:  # this binding has none of the functions by which an older driver names processes
        for mine, theirs in zip(inside["states"], outside["states"], strict=True):
            reason = mine["absent"].pop("other_processes")
            theirs["absent"].pop("other_processes", None)
            mine["other_processes"] = theirs["other_processes"] = None
            assert reason
    assert inside == outside


# In a container of its own numbers of processes, the driver may list this process under the machine's number.
COMPUTING = "cuda = open('/dev/nvidia-uvm')\n"
LISTED_AS_SEEN_HERE = """
import os
text = open(os.environ["NVML_STANDIN"]).read()
open(os.environ["NVML_STANDIN"], "w").write(text.replace("4242", str(os.getpid())))
"""


@pytest.mark.engine
@pytest.mark.slow
@pytest.mark.parametrize(
    ("before", "others"),
    [
        ("", ["pid 17, name not known, 1 KiB", "pid 4242, name not known, 1 KiB"]),
        (COMPUTING, None),
        (COMPUTING + LISTED_AS_SEEN_HERE, ["pid 17, name not known, 1 KiB"]),
    ],
    ids=["it does not compute", "it does, under another number", "it does, under its own number"],
)
def test_in_a_container_a_process_is_not_taken_for_another(
    legacy: str, tmp_path: Path, capfd: pytest.CaptureFixture[str], before: str, others: "list[str] | None"
) -> None:
    driver = tmp_path / "driver"
    nvml.environment(driver, {**T4, "compute_processes": "17:1024 4242:1024"})
    (tmp_path / "nvidia-uvm").touch()
    device = Mount(tmp_path / "nvidia-uvm", Path("/dev/nvidia-uvm"), True)
    (state,) = json.loads(look_inside(legacy, driver, before + LOOK, capfd, device))["states"]
    assert state["other_processes"] == others
    assert ("other_processes" in state["absent"]) == (others is None)
