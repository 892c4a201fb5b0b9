"""The cards as a profile has them: the real nvidia-ml-py, in a process of its own, over the compiled stand-in."""

import json
import os
import subprocess
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest

from tests import nvml
from tests.nvml import A100, K80, LOST, SILENT, T4
from tests.project import ROOT

# Prints what the probe says, behind its guard.
LOOK = """
import dataclasses, json
from stages.workload.probes import gpus
from stages.workload.probes.guard import guarded

def ask(what):
    found, refused = guarded("the NVIDIA driver", what, 2.0)
    cards, why = found or ((), refused)
    return {"cards": [dataclasses.asdict(each) for each in cards], "why": why}

facts, states = ask(gpus.facts), ask(gpus.states)
assert facts["why"] == states["why"], states["why"]
print(json.dumps({"cards": facts["cards"], "states": states["cards"], "why": facts["why"]}))
"""


def look(environment: Mapping[str, str], before: str = "") -> Any:
    """`before`: what the process does first."""
    command = [sys.executable, "-c", before + LOOK]
    done = subprocess.run(command, env=environment, cwd=ROOT, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout)


def test_what_two_cards_are_and_do(tmp_path: Path) -> None:
    found = look(nvml.environment(tmp_path, T4, A100))
    first, second = found["cards"]
    assert first == {
        "name": "Tesla T4",
        "uuid": T4["uuid"],
        "driver": "535.104.05",
        "driver_cuda": "12.2",
        "memory_bytes": 15 * 2**30,
        "compute_capability": "7.5",
        "cores": 2560,
        "max_sm_hertz": 1_590_000_000,
        "max_memory_hertz": 5_001_000_000,
        "memory_bus_bits": 256,
        "power_limit_watts": 70.0,
        "pcie_max_generation": 3,
        "pcie_max_width": 16,
        "ecc": True,
        "mig": None,
        "persistence": False,
        "absent": {"mig": "the driver answers: Not Supported"},
    }
    assert (second["name"], second["memory_bytes"], second["mig"]) == ("NVIDIA A100-SXM4-40GB", 40 * 2**30, False)
    assert found["why"] is None
    assert found["states"][0] == {
        "uuid": T4["uuid"],
        "memory_free_bytes": 15 * 2**30 - 3 * 2**20,
        "memory_used_bytes": 3 * 2**20,
        "sm_hertz": 300_000_000,
        "memory_hertz": 405_000_000,
        "temperature_celsius": 36,
        "power_watts": 9.123,
        "busy_share": 0.0,
        "throttle_reasons": [],  # that it idles is none
        "pcie_generation": 1,
        "pcie_width": 8,
        "other_processes": [],
        "absent": {},
    }
    assert [each["uuid"] for each in found["states"]] == [T4["uuid"], A100["uuid"]]


def test_a_card_in_mig_mode_says_so_and_not_how_busy_it_is(tmp_path: Path) -> None:
    found = look(nvml.environment(tmp_path, {**A100, "mig": 1, "busy_percent": "error 3"}))
    assert found["cards"][0]["mig"] is True
    assert found["states"][0]["busy_share"] is None
    assert found["states"][0]["absent"] == {"busy_share": "the driver answers: Not Supported"}


def test_a_busy_throttled_card_with_others_on_it(tmp_path: Path) -> None:
    card = {**T4, "busy_percent": 87, "throttle_reasons": 0x4 | 0x20 | 0x800, "graphics_processes": "99:none"}
    card["compute_processes"] = f"17:{2**30 * 5 // 4} 18:0"
    environment = nvml.environment(tmp_path, card, process_17="/usr/bin/python3 train.py", process_18="")
    state = look(environment)["states"][0]
    assert state["busy_share"] == 0.87
    assert state["throttle_reasons"] == ["software power cap", "software thermal slowdown", "reason 0x800"]
    assert state["other_processes"] == [
        "pid 17, python3 train.py, 1.2 GiB",
        "pid 18, without a name, 0 B",
        "pid 99, name not known, memory not known",
    ]


def test_the_process_that_asks_is_not_among_the_others(tmp_path: Path) -> None:
    environment = nvml.environment(tmp_path, {**T4, "compute_processes": "OWN:1024 17:1024"}, process_17="/bin/other")
    own = "import os; p = os.environ['NVML_STANDIN']; t = open(p).read(); "
    own += "open(p, 'w').write(t.replace('OWN', str(os.getpid())))\n"
    assert look(environment, before=own)["states"][0]["other_processes"] == ["pid 17, other, 1 KiB"]


def test_a_card_that_supports_nothing_is_null_with_that_reason(tmp_path: Path) -> None:
    found = look(nvml.environment(tmp_path, SILENT))
    for record, told in ((found["cards"][0], {"driver", "driver_cuda"}), (found["states"][0], set())):
        nulls = set(record) - told - {"absent"}
        assert {name for name in record if record[name] is None} == nulls
        assert record["absent"] == dict.fromkeys(nulls, "the driver answers: Not Supported")


@pytest.mark.parametrize("lost", [LOST, {**LOST, "no_handle": ""}], ids=["at every call", "at the first call"])
def test_a_lost_card_is_reported_and_takes_no_other_with_it(tmp_path: Path, lost: nvml.Card) -> None:
    found = look(nvml.environment(tmp_path, T4, lost, A100))
    assert [each["name"] for each in found["cards"]] == ["Tesla T4", None, "NVIDIA A100-SXM4-40GB"]
    assert [each["temperature_celsius"] for each in found["states"]] == [36, None, 36]
    assert found["cards"][1]["absent"]["name"] == "the driver answers: GPU is lost"
    assert set(found["states"][1]["absent"].values()) == {"the driver answers: GPU is lost"}


def test_an_answer_without_sense_is_unknown(tmp_path: Path) -> None:
    unknown = 2**32 - 1  # NVML_VALUE_NOT_AVAILABLE
    card = dict.fromkeys(("temperature", "power_milliwatts", "sm_megahertz", "busy_percent", "ecc", "cores"), unknown)
    card |= {
        "memory_total": 0,
        "memory_used": 0,
        "pcie_max_width": 0,
        "power_limit_milliwatts": 0,
        "memory_bus_bits": 0,
    }
    found = look(nvml.environment(tmp_path, {**T4, **card}))
    absent = {**found["cards"][0]["absent"], **found["states"][0]["absent"]}
    assert {"temperature_celsius", "power_watts", "sm_hertz", "busy_share", "ecc", "cores"} <= set(absent)
    assert {"memory_bytes", "pcie_max_width", "power_limit_watts"} <= set(absent)
    assert absent["cores"] == "the driver answers 4294967295, which is no value"
    assert absent["pcie_max_width"] == "the driver answers 0, which is no value"


def test_a_driver_before_510_answers_by_its_older_functions(tmp_path: Path) -> None:
    card = {**K80, "compute_processes": "17:1024", "throttle_reasons": 0x40}
    state = look(nvml.environment(tmp_path, card, before_510=True, driver="470.256.02", cuda=11040))["states"][0]
    assert state["absent"] == {}
    assert state["throttle_reasons"] == ["hardware thermal slowdown"]
    assert state["other_processes"] == ["pid 17, name not known, 1 KiB"]


def test_a_binding_that_lacks_a_function(tmp_path: Path) -> None:
    lacking = ("nvmlDeviceGetNumGpuCores", "nvmlDeviceGetUtilizationRates", "nvmlSystemGetCudaDriverVersion")
    before = "import pynvml\n" + "".join(f"del pynvml.{name}\n" for name in lacking)
    found = look(nvml.environment(tmp_path, T4), before)
    (card,), (state,) = found["cards"], found["states"]
    assert card["absent"]["cores"] == "this version of nvidia-ml-py has no nvmlDeviceGetNumGpuCores"
    assert card["absent"]["driver_cuda"] == "this version of nvidia-ml-py has no nvmlSystemGetCudaDriverVersion"
    assert (card["name"], state["busy_share"], state["temperature_celsius"]) == ("Tesla T4", None, 36)


@pytest.mark.parametrize(
    ("key", "why"),
    [
        ("hangs", "the NVIDIA driver did not answer within 2 s"),
        ("crashes", "the NVIDIA driver ended without an answer (SIGSEGV)"),
    ],
)
def test_a_driver_that_hangs_or_crashes_is_no_more_than_a_reason(tmp_path: Path, key: str, why: str) -> None:
    found = look(nvml.environment(tmp_path, {**T4, key: "nvmlDeviceGetUUID"}))
    assert found == {"cards": [], "why": why, "states": []}


@pytest.mark.parametrize(
    ("system", "why"),
    [
        ({"count": 0}, "the NVIDIA driver shows no card"),
        ({"init": "error 9"}, "no NVIDIA driver answers: Driver Not Loaded"),
        ({"init": "error 18"}, "no NVIDIA driver answers: RM has detected an NVML/RM version mismatch."),
        ({"count": "error 999"}, "the NVIDIA driver refused: Unknown Error"),
    ],
)
def test_a_driver_without_cards_says_why(tmp_path: Path, system: dict[str, object], why: str) -> None:
    assert look(nvml.environment(tmp_path, **system)) == {"cards": [], "why": why, "states": []}


def test_without_a_driver_there_is_no_card(tmp_path: Path) -> None:
    (tmp_path / nvml.LIBRARY).touch()  # hides what this machine has
    found = look({**os.environ, "LD_LIBRARY_PATH": str(tmp_path)})
    assert found == {"cards": [], "why": "no NVIDIA driver answers: NVML Shared Library Not Found", "states": []}


def test_without_nvidia_ml_py_there_is_no_card(tmp_path: Path) -> None:
    found = look(nvml.environment(tmp_path, T4), "import sys\nsys.modules['pynvml'] = None\n")
    assert found == {"cards": [], "why": "nvidia-ml-py is not installed", "states": []}


def test_the_cards_are_the_drivers_whatever_cuda_is_let_see(tmp_path: Path) -> None:
    environment = nvml.environment(tmp_path, T4, A100)
    assert look({**environment, "CUDA_VISIBLE_DEVICES": "1"}) == look(environment)
