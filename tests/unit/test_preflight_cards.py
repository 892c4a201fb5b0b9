"""Preflight with cards: the stand-in driver behind the real nvidia-ml-py, from stages.machine to what is refused."""

import pytest

from stages import codec, records
from tests import nvml
from tests.project import make_project, run_stage

BUSY = {**nvml.T4, "busy_percent": 90, "temperature": 88, "throttle_reasons": 0x20}


@pytest.fixture
def project(tmp_path):
    return make_project(tmp_path / "project", ["cuda-9.2", "cuda-10.0", "cuda-13.0"], container={"gpus": "auto"})


def look(project, *cards, **system):
    """Exit code, 'name: status' of what did not pass, and stderr, of machine and preflight with these cards."""
    environment = nvml.environment(project.parent / "driver", *cards, **system)
    done = run_stage(project, "machine", **environment)
    assert done.returncode == 0, done.stderr
    done = run_stage(project, "preflight", **environment)
    found = codec.read(project / records.PREFLIGHT_PATH, records.Preflight).checks
    about_cards = [each for each in found if "capability" in each.name or "driver" in each.name or each.name == "GPUs"]
    return done, {each.name: (each.status, each.found) for each in about_cards}


def test_an_old_and_a_new_card_against_old_and_new_cuda(project):
    done, found = look(project, nvml.A100, driver="580.65.06", cuda=13000)
    a100 = "NVIDIA A100-SXM4-40GB"
    assert found[f"cuda-9.2: compute capability of {a100}"] == ("failed", "8.0: will not run")
    assert found[f"cuda-10.0: compute capability of {a100}"] == ("failed", "8.0: will not run")
    assert found[f"cuda-13.0: compute capability of {a100}"] == ("passed", "8.0: runs natively")
    assert done.returncode == 1
    assert (
        f"faceoff: cuda-10.0: compute capability of {a100}: needs 3.5 to 7.5; found: 8.0: will not run; " in done.stderr
    )

    _, found = look(project, nvml.K80, driver="470.57.02", cuda=11040)
    assert found["cuda-9.2: compute capability of Tesla K80"][0] == "passed"
    assert found["cuda-13.0: compute capability of Tesla K80"] == ("failed", "3.7: will not run")
    assert found["cuda-13.0: driver of Tesla K80 for CUDA 13.0"] == ("failed", "driver 470.57.02")
    assert found["cuda-10.0: driver of Tesla K80 for CUDA 10.0"][0] == "passed"


def test_a_driver_that_is_too_old(project):
    done, found = look(project, nvml.T4, driver="396.44", cuda=9020)
    statuses = {name: status for name, (status, _) in found.items() if "driver" in name}
    assert statuses == {
        "cuda-9.2: driver of Tesla T4 for CUDA 9.2": "passed",
        "cuda-10.0: driver of Tesla T4 for CUDA 10.0": "failed",
        "cuda-13.0: driver of Tesla T4 for CUDA 13.0": "failed",
    }
    assert "needs driver 410.48 or newer; found: driver 396.44; update the driver" in done.stderr


def test_of_two_cards_one_that_runs_is_enough_but_the_other_is_told(project):
    _, found = look(project, nvml.T4, nvml.A100, driver="580.65.06", cuda=13000)
    assert found["cuda-10.0: compute capability of Tesla T4"][0] == "passed"
    assert found["cuda-10.0: compute capability of NVIDIA A100-SXM4-40GB"][0] == "warning"


@pytest.mark.parametrize(
    ("found", "said"),
    [
        ((nvml.T4, nvml.TWIN), ("passed", "2")),
        ((nvml.T4,), ("failed", "1")),
        ((), ("warning", "none: its 2 processes compute on the CPU")),
    ],
)
def test_as_many_cards_as_a_variant_asks_for(tmp_path, found, said):
    variants = {"one": {"batch_size": 8}, "two": {"batch_size": 8, "gpus": 2}}
    auto = {"gpus": "auto"}
    project = make_project(tmp_path / "project", ["host"], job="unchanged_script", variants=variants, container=auto)
    environment = nvml.environment(tmp_path / "driver", *found)
    assert run_stage(project, "machine", **environment).returncode == 0
    run_stage(project, "preflight", **environment)
    checks = codec.read(project / records.PREFLIGHT_PATH, records.Preflight).checks
    assert [(each.status, each.found) for each in checks if each.name == "GPUs of two"] == [said]
    assert not [each for each in checks if each.name in ("GPUs of one", "GPUs left unused")]


def test_cards_that_no_variant_asks_for_are_told(tmp_path):
    variants = {"one": {"batch_size": 8}}
    auto = {"gpus": "auto"}
    project = make_project(tmp_path / "project", ["host"], job="unchanged_script", variants=variants, container=auto)
    environment = nvml.environment(tmp_path / "driver", nvml.T4, nvml.TWIN)
    assert run_stage(project, "machine", **environment).returncode == 0
    said = run_stage(project, "preflight", **environment).stdout
    assert (
        "warning: GPUs left unused: needs 1 (gpus of the variants); found: 2, of which jobs see the first alone" in said
    )


def test_a_card_that_tells_nothing_is_not_checked_and_not_refused(project):
    _, found = look(project, nvml.SILENT)
    statuses = {status for name, (status, _) in found.items() if "capability" in name}
    assert statuses == {"not checked"}


def test_a_busy_hot_and_throttled_card_is_a_warning(project):
    done, _ = look(project, BUSY, driver="580.65.06", cuda=13000)
    lines = [line for line in done.stdout.splitlines() if line.startswith("warning: idle machine: ")]
    for words in ("its clocks are held down (software thermal slowdown)", "it is 88 °C hot", "it was 90% busy"):
        assert [line for line in lines if words in line], (words, lines)


def test_no_driver_and_a_driver_that_is_not_loaded(project):
    done, found = look(project, init="error 9")
    assert found == {}
    text = (project / "params.yaml").read_text()
    (project / "params.yaml").write_text(text.replace("gpus: auto", "gpus: all"))
    done = run_stage(project, "machine", **nvml.environment(project.parent / "driver", init="error 9"))
    assert done.returncode == 1
    assert done.stderr.startswith("faceoff: container.gpus is 'all', but this machine has no GPU: ")
    assert "Driver Not Loaded" in done.stderr
