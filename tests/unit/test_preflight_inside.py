"""Preflight inside an image: what its checks make of a dry-run, and the real stage on this machine."""

import dataclasses
from pathlib import Path

import pytest

from stages import codec
from stages.records import Check, Conditions, Facts, Preflight, preflight_path
from stages.workload import preflight
from stages.workload.dry_run import DryRun, MemoryWatch
from tests import results
from tests.project import make_project, run_stage, stage
from tests.unit.test_checks import make_gpu

GIB = 2**30
RAN = DryRun(2 * GIB, None, 0.5, None, None)
MOMENT: Conditions = results.CONDITIONS


def with_limit(limit_bytes: int) -> Facts:
    facts = results.facts("host")
    absent = {key: reason for key, reason in facts.hardware.limits.absent.items() if key != "memory_bytes"}
    limits = dataclasses.replace(facts.hardware.limits, memory_bytes=limit_bytes, absent=absent)
    return dataclasses.replace(facts, hardware=dataclasses.replace(facts.hardware, limits=limits))


# ----------------------------------------------------------------------------------------------------------- memory


def tried(run: DryRun, facts: Facts) -> Check:
    return preflight.tried("fp32", 16, run, facts, MOMENT)


def test_a_dry_run_that_fits_passes_with_its_figures() -> None:
    check = tried(RAN, with_limit(4 * GIB))
    assert (check.name, check.status) == ("memory, fp32, batch size 16", "passed")
    assert (check.needed, check.found) == ("2 GiB", "4 GiB (limit)")


def test_one_that_fills_the_limit_is_a_warning() -> None:
    check = tried(RAN, with_limit(int(2.1 * GIB)))
    assert (check.status, check.found) == ("warning", "2.1 GiB (limit)")
    assert check.advice is not None and "container.memory" in check.advice


def test_one_that_was_killed_says_so_and_what_to_do() -> None:
    check = tried(RAN._replace(failure="ended without an answer (SIGKILL)"), with_limit(2 * GIB))
    assert (check.status, check.needed) == ("failed", "more than the 2 GiB that it had taken")
    assert check.found == "2 GiB (limit); the dry-run ended without an answer (SIGKILL)"
    assert check.advice is not None and "batch_sizes" in check.advice


def test_one_that_failed_otherwise_gives_its_reason_as_it_is() -> None:
    check = tried(RAN._replace(failure="RuntimeError: no such operator"), results.facts("host"))
    assert (check.name, check.status) == ("dry-run, fp32, batch size 16", "failed")
    assert check.found == "RuntimeError: no such operator"


def test_a_precision_that_the_image_cannot_do_is_no_failure() -> None:
    check = tried(RAN._replace(unsupported="no fp16 on a CPU"), results.facts("host"))
    assert (check.status, check.found) == ("not checked", "no fp16 on a CPU")


# ---------------------------------------------------------------------------------------------------------- session


def test_a_compute_bound_cell_takes_its_steps_and_predictions() -> None:
    recipe = dataclasses.replace(results.RECIPE, frozen_epochs=1, unfrozen_epochs=1)
    # 2 epochs of 10 steps of 3 s; 2 validations and 10 passes of prediction over 2 batches, forward alone
    assert preflight.predicted_seconds(3.0, 10, 100, 20, recipe, None) == pytest.approx(60 + 12 * 2 * 1.0)


def test_an_input_bound_cell_takes_what_its_loader_takes() -> None:
    recipe = dataclasses.replace(results.RECIPE, frozen_epochs=1, unfrozen_epochs=1)
    # 2 x 100 photos of training and 12 x 20 of validation, at 10 a second
    assert preflight.predicted_seconds(0.001, 10, 100, 20, recipe, 10.0) == pytest.approx(44.0)


# ------------------------------------------------------------------------------------------------------------- cards


def with_card(capability: str, device: str) -> Facts:
    facts = results.facts("cuda-10.0")
    contents = dataclasses.replace(facts.contents, cuda="10.0", cuda_architectures=("sm_70", "sm_75"))
    contents = dataclasses.replace(contents, absent={k: v for k, v in contents.absent.items() if k != "cuda"})
    hardware = dataclasses.replace(facts.hardware, gpus=(make_gpu(capability),), gpus_reason=None)
    return dataclasses.replace(facts, device=device, contents=contents, hardware=hardware)


def test_the_card_that_trains_is_checked_and_another_is_not() -> None:
    assert [check.status for check in preflight.gpus(with_card("8.0", "Card"), "auto")] == ["failed", "passed"]
    assert list(preflight.gpus(with_card("8.0", "Another card"), "auto")) == []


def test_a_card_that_the_job_shall_not_use_is_no_matter() -> None:
    assert [check.status for check in preflight.gpus(with_card("8.0", "cpu"), "auto")] == ["failed", "passed"]
    assert list(preflight.gpus(with_card("8.0", "cpu"), "none")) == []


# ------------------------------------------------------------------------------------------------------------ watch


def test_the_watch_counts_descendants_and_what_they_share_once() -> None:
    import subprocess
    import sys

    script = """
import os, time
block = bytearray(os.urandom(1) * 200_000_000)
if os.fork() == 0:
    own = bytearray(os.urandom(1) * 100_000_000)
    time.sleep(1)
    os._exit(0)
os.wait()
"""
    process = subprocess.Popen([sys.executable, "-c", script])
    with MemoryWatch(process.pid) as watch:
        process.wait()
    # 300 MB and two interpreters; a look that the fork falls into finds up to 100 more. Counted twice, it is over 500.
    assert 300e6 < watch.peak_bytes < 450e6


# ------------------------------------------------------------------------------------------------------- for real


@pytest.fixture(scope="module")
def project(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = make_project(
        tmp_path_factory.mktemp("project"),
        ["host"],
        dataset={"train_photos": 40, "valid_photos": 10},
        recipe={"arch": "resnet18", "pretrained": False, "size": 32},
        session={"max_hours": 0.5},
    )
    stage(folder, "download")
    stage(folder, "machine")
    return folder


@pytest.mark.slow
def test_on_this_machine_the_small_job_passes(project: Path) -> None:
    done = run_stage(project, "preflight_inside", "--image", "host")
    assert done.returncode == 0, done.stderr
    found = {check.name: check for check in codec.read(project / preflight_path("host"), Preflight).checks}
    for name in ("shared memory, batch size 16", "memory, fp32, batch size 16", "memory, mixed, batch size 16"):
        assert found[name].status == "passed", found[name]
    assert found["memory, fp32, batch size 16"].needed.endswith("iB")
    assert found["session"].found == "0.5 h a session"


@pytest.mark.slow
def test_a_batch_larger_than_the_photos_fails_before_any_epoch(project: Path) -> None:
    params = (project / "params.yaml").read_text()
    larger = params.replace("batch_sizes:\n- 16", "batch_sizes:\n- 16\n- 64")
    assert larger != params
    (project / "params.yaml").write_text(larger)
    done = run_stage(project, "preflight_inside", "--image", "host")
    (project / "params.yaml").write_text(params)
    assert done.returncode == 1
    lines = [line for line in done.stderr.splitlines() if line.startswith("faceoff: ")]
    assert len(lines) == 2 and all("64" in line and "training photos" in line for line in lines), done.stderr
    assert "Traceback" not in done.stderr
