"""Preflight inside an image: what its checks make of a dry-run, and the real stage on this machine."""

import dataclasses
import re
from pathlib import Path

import pytest

from stages import codec
from stages.records import (
    MANIFEST_PATH,
    Cell,
    Check,
    Conditions,
    Facts,
    GpuState,
    Manifest,
    Photo,
    Preflight,
    preflight_path,
)
from stages.workload import preflight
from stages.workload.dry_run import DryRun, MemoryWatch
from stages.workload.probes import conditions, files
from tests import results
from tests.project import make_project, run_stage, stage
from tests.unit.test_checks import make_gpu

GIB = 2**30
RAN = DryRun(2 * GIB, None, None, 0.5, 6.0, None, None)
MOMENT: Conditions = results.CONDITIONS


def with_limit(limit_bytes: int) -> Facts:
    facts = results.facts("host")
    absent = {key: reason for key, reason in facts.hardware.limits.absent.items() if key != "memory_bytes"}
    limits = dataclasses.replace(facts.hardware.limits, memory_bytes=limit_bytes, absent=absent)
    return dataclasses.replace(facts, hardware=dataclasses.replace(facts.hardware, limits=limits))


# ----------------------------------------------------------------------------------------------------------- memory


def tried(run: DryRun, facts: Facts) -> Check:
    return preflight.tried("fp32", 16, run, facts, MOMENT, dataclasses.replace(results.RECIPE, workers=0))


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


def test_where_the_kernel_does_not_tell_what_was_taken_nothing_is_passed() -> None:
    check = tried(RAN._replace(memory_bytes=None), results.facts("host"))
    assert (check.status, check.needed) == ("not checked", "what the dry-run took")
    assert "smaps_rollup" in check.found
    killed = tried(RAN._replace(memory_bytes=None, failure="MemoryError: "), results.facts("host"))
    assert (killed.status, killed.needed) == ("failed", "more than it could take")


def test_what_others_took_of_the_machines_memory_is_not_there() -> None:
    used = dataclasses.replace(MOMENT, memory_available_bytes=GIB)
    recipe = dataclasses.replace(results.RECIPE, workers=0)
    check = preflight.tried("fp32", 16, RAN, with_limit(4 * GIB), used, recipe)
    assert (check.status, check.found) == ("warning", "1 GiB (available on the machine)")


def test_batches_that_the_loader_holds_later_come_on_top() -> None:
    """fastai 2 on a CPU with 2 workers: 12 at once, of which the dry-run had 2."""
    recipe = dataclasses.replace(results.RECIPE, workers=2, size=1024)
    batch = 16 * 3 * 1024**2 + 4096
    assert preflight._later_bytes(results.facts("host"), 16, recipe) == 10 * batch
    check = preflight.tried("fp32", 16, RAN, results.facts("host"), MOMENT, recipe)
    assert check.needed == "2.5 GiB"


# ------------------------------------------------------------------------------------------------ memory of the card


def on_cards(device: str, *free_bytes: int) -> tuple[Facts, Conditions]:
    """Equal cards with so much free."""
    facts, cards, states = results.facts("host"), [], []
    for index, free in enumerate(free_bytes):
        cards.append(dataclasses.replace(make_gpu("8.0"), name="Card", uuid=f"GPU-{index}"))
        states.append(files.unknown(GpuState, "not told", uuid=f"GPU-{index}", memory_free_bytes=free))
    hardware = dataclasses.replace(facts.hardware, gpus=tuple(cards), gpus_reason=None)
    moment = dataclasses.replace(MOMENT, gpus=tuple(states), gpus_reason=None)
    return dataclasses.replace(facts, device=device, hardware=hardware), moment


def tried_on(device: str, *free_bytes: int) -> Check:
    facts, moment = on_cards(device, *free_bytes)
    ran = RAN._replace(gpu_memory_bytes=4 * GIB, gpu_total_bytes=5 * GIB)
    return preflight.tried("fp32", 16, ran, facts, moment, dataclasses.replace(results.RECIPE, workers=0))


def test_of_two_equal_cards_the_fullest_counts() -> None:
    """torch does not tell which it takes: CUDA_VISIBLE_DEVICES may have it be either."""
    assert tried_on("Card", 14 * GIB, 14 * GIB).status == "passed"
    check = tried_on("Card", 14 * GIB, 1 * GIB)
    assert (check.status, check.found) == ("warning", "7 GiB (available on the machine), 1 GiB free on the GPU")


def test_an_instance_of_a_card_has_what_torch_says_and_its_card_is_known() -> None:
    """MIG: the driver's figures are the whole card's."""
    check = tried_on("Card MIG 1g.5gb", 14 * GIB)
    assert (check.status, check.needed) == ("passed", "2 GiB, 4 GiB on the GPU")
    assert check.found.endswith(", 5 GiB in all on the GPU")
    checks = list(preflight.gpus(with_card("8.0", "Card MIG 1g.5gb"), "auto"))
    assert [each.status for each in checks] == ["failed", "passed"]


def test_a_card_that_the_job_does_not_use_casts_no_doubt() -> None:
    facts, moment = on_cards("Card", GIB)
    other = files.unknown(GpuState, "not told", uuid="GPU-other", temperature_celsius=99)
    both = dataclasses.replace(moment, gpus=(*moment.gpus, other))
    assert conditions.doubts(both) and not conditions.doubts(preflight._of_the_job(both, facts))


# ---------------------------------------------------------------------------------------------------------- session


@pytest.mark.parametrize(
    ("step_seconds", "status"),
    # 2 cells of 3 epochs of 10 steps: a minute, 51 minutes, 100 minutes with 17 for an epoch, 7 hours with 67
    [(1.0, "passed"), (50.0, "warning"), (100.0, "warning"), (400.0, "failed")],
)
def test_a_session_must_hold_the_run_or_at_least_an_epoch(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, step_seconds: float, status: str
) -> None:
    monkeypatch.chdir(tmp_path)
    photos = tuple(Photo(f"{split}/cats/{index}.jpg", 1, "") for split in ("train",) for index in range(100))
    codec.write(MANIFEST_PATH, Manifest("drawn", photos, {}, "0" * 64))
    recipe = dataclasses.replace(results.RECIPE, frozen_epochs=1, unfrozen_epochs=2)
    params = {"session": {"max_hours": 1.0}, "images": ["host"], "precisions": ["fp32"]}
    params.update(batch_sizes=[10], repeats=[1, 2])
    runs = {("fp32", 10): RAN._replace(step_seconds=step_seconds)}
    [check] = preflight.session("host", params, recipe, runs)
    assert (check.status, check.found) == (status, "1 h: session.max_hours")
    assert " for 2 cells, " in check.needed


def test_a_cell_that_is_done_is_no_part_of_what_is_left(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    codec.write(MANIFEST_PATH, Manifest("drawn", (Photo("train/cats/0.jpg", 1, ""),) * 100, {}, "0" * 64))
    params = {"session": {"max_hours": 1.0}, "images": ["host"], "precisions": ["fp32"]}
    params.update(batch_sizes=[10], repeats=[1, 2])
    runs = {("fp32", 10): RAN}
    cell = Cell("host", "fp32", 10, 1)
    codec.write(cell.train_path, results.trained(cell, 1.0))
    codec.write(cell.evaluate_path, results.evaluated(cell))
    [check] = preflight.session("host", params, results.RECIPE, runs)
    assert " for 1 cells, " in check.needed
    [check] = preflight.session("host", params, dataclasses.replace(results.RECIPE, size=64), runs)
    assert " for 2 cells, " in check.needed


def test_what_a_cells_processes_take_besides_is_in_the_prediction(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """2 starts of 10 minutes each, beside a second of training."""
    monkeypatch.chdir(tmp_path)
    codec.write(MANIFEST_PATH, Manifest("drawn", (Photo("train/cats/0.jpg", 1, ""),) * 100, {}, "0" * 64))
    params = {"session": {"max_hours": 1.0}, "images": ["host"], "precisions": ["fp32"]}
    params.update(batch_sizes=[10], repeats=[1, 2])
    runs = {("fp32", 10): RAN._replace(step_seconds=0.001, start_seconds=600.0)}
    [check] = preflight.session("host", params, results.RECIPE, runs)
    assert check.needed.startswith("40 min for 2 cells, 20 min for the longest")


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
    """By what `make preflight` runs: the host's checks first, then inside each image, which says how long that took."""
    done = run_stage(project, "preflight", "--all")
    assert done.returncode == 0, done.stderr
    assert "passed: disk of the checkout: needs " in done.stdout
    assert "inside host, a few steps of every setting among it:\n" in done.stdout
    assert re.fullmatch(r"inside host: \d+ s", done.stdout.splitlines()[-1])
    found = {check.name: check for check in codec.read(project / preflight_path("host"), Preflight).checks}
    for name in ("shared memory, batch size 16", "memory, fp32, batch size 16", "memory, mixed, batch size 16"):
        assert found[name].status == "passed", found[name]
    assert found["memory, fp32, batch size 16"].needed.endswith("iB")
    assert found["session"].found == "0.5 h: session.max_hours"


@pytest.mark.slow
def test_a_batch_larger_than_the_photos_fails_before_any_epoch(project: Path) -> None:
    params = (project / "params.yaml").read_text()
    larger = params.replace("batch_sizes:\n- 16", "batch_sizes:\n- 64")
    assert larger != params
    (project / "params.yaml").write_text(larger)
    done = run_stage(project, "preflight_inside", "--image", "host")
    (project / "params.yaml").write_text(params)
    assert done.returncode == 1
    lines = [line for line in done.stderr.splitlines() if line.startswith("faceoff: ")]
    assert len(lines) == 2 and all("64" in line and "training photos" in line for line in lines), done.stderr
    assert "Traceback" not in done.stderr
