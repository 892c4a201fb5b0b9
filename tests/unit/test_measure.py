"""The measured part of a profile: its limit holds, and what does not work costs its own values alone."""

import dataclasses
import json
import time
from pathlib import Path

import pytest
import torch

from stages import records
from stages.records import Facts, Gpu, Measurement
from stages.workload.measure import Part, device, measure, peaks, run, sampling
from tests import environments, results
from tests.supervised import Checkout

PEAK = peaks.Peak(100.0, None)
MEASURE_SECONDS = 60.0  # the most that an image's measured part may take


def make_parts(*functions: str) -> list[Part]:
    return [Part(name, "things/s", name, {}, PEAK, module="tests.unit.slow_parts") for name in functions]


# --------------------------------------------------------------------------------------------------------- the limit


def test_the_limit_holds_whatever_hangs_and_what_hangs_does_not_take_the_others_with_it() -> None:
    for seconds in (2.0, 15.0):
        began = time.monotonic()
        hung, stopped, worked = run(make_parts("hangs", "hangs_after_two", "works"), seconds)
        # The last may have its samples sooner; each that is killed is waited for, for a second.
        assert 0.8 * seconds < time.monotonic() - began < seconds + 10.0
    assert hung.samples == () and hung.absent["median"].startswith("did not end within")
    assert stopped.samples == (1.0, 3.0) and stopped.median == 2.0 and "did not end within" in stopped.detail
    assert worked.samples and worked.detail.startswith("a nap")


def test_a_part_that_crashes_raises_or_cannot_says_why() -> None:
    crashed, raised, not_possible, worked = run(make_parts("crashes", "raises", "cannot", "works"), 8.0)
    assert crashed.absent["median"] == "ended without an answer (SIGSEGV)"
    assert raised.absent["median"] == "ValueError: no such thing"
    assert not_possible.absent == dict.fromkeys(("median", "spread"), "this device has none of it")
    assert worked.median is not None


def test_what_a_part_prints_is_no_sample() -> None:
    [printed] = run(make_parts("prints"), 5.0)
    assert printed.samples == (7.0,)
    assert printed.absent == {"spread": "one sample has none"}


def test_what_an_images_sitecustomize_prints_is_no_answer(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "sitecustomize.py").write_text("print('welcome to this image', flush=True)\n")
    monkeypatch.setenv("PYTHONPATH", str(tmp_path))
    [worked] = run(make_parts("works"), 5.0)
    assert worked.detail is not None and worked.detail.startswith("a nap") and worked.median is not None


def test_time_that_one_part_leaves_is_the_others() -> None:
    """Three that end at once and one that takes what it gets: it gets nearly all."""
    began = time.monotonic()
    measured = run([*make_parts("cannot", "cannot", "cannot"), *make_parts("works")], 8.0)
    assert len(measured[-1].samples) == sampling.MOST_SAMPLES
    assert time.monotonic() - began < 6.0


def test_the_metrics_are_those_of_the_samples() -> None:
    [worked] = run(make_parts("works"), 3.0)
    ordered = sorted(worked.samples)
    assert worked.median is not None and worked.spread is not None
    assert ordered[len(ordered) // 4] <= worked.median <= ordered[-len(ordered) // 4]
    assert 0 <= worked.spread <= ordered[-1] - ordered[0]
    assert worked.median < 10.0 / 0.02  # 10 of them take at least 20 ms
    assert worked.peak == 100.0


# ------------------------------------------------------------------------------------------------- what is measured


def image_task(seconds: float, job: "Checkout | None" = None, script: str | None = None) -> records.ImageTask:
    measure = job.script(script, "measure.sh") if job and script else None
    return records.ImageTask(
        "host", job.job if job else results.JOB, (), {}, "none", (), measure, seconds, None, {}, False, None
    )


@pytest.mark.slow
def test_on_a_cpu_everything_is_measured_or_says_why() -> None:
    """The names, and what each tells about, are what a comparison finds it by."""
    reasons = {"host to device, pinned": "no GPU: ", "host to device, pageable": "no GPU: "}
    reasons["matrix product, tf32"] = "no GPU: "
    measured = measure(image_task(MEASURE_SECONDS), results.facts("host"))
    for each in measured:
        if not each.samples:
            assert each.absent["median"].startswith(reasons[each.name]), each
        else:
            assert len(each.samples) > 1 and each.median is not None and each.spread is not None, each
            assert all(sample > 0 for sample in each.samples)
    assert {(each.explains, *each.applies.values()) for each in measured} == {
        *(("compute", number_format) for number_format in ("fp32", "tf32", "fp16", "bf16")),
        ("copy",),
        (None,),
    }


def test_without_torch_each_says_so_and_no_process_is_started(monkeypatch: pytest.MonkeyPatch) -> None:
    facts = environments.facts(torch=None, device=None)
    facts = dataclasses.replace(facts, absent=dict.fromkeys(("device", "gpu_uuid"), "torch is not installed"))
    monkeypatch.setattr("subprocess.Popen", lambda *_, **__: pytest.fail("a process is started"))
    measured = measure(image_task(60.0), facts)
    assert len(measured) == 7
    assert {(each.samples, each.absent["median"]) for each in measured} == {((), "torch is not installed")}


# ------------------------------------------------------------------------------------------------- the job's own


@pytest.fixture
def without_torch() -> Facts:
    """So that the job's measurements have all the time."""
    facts = environments.facts(torch=None, device=None)
    return dataclasses.replace(facts, absent=dict.fromkeys(("device", "gpu_uuid"), "torch is not installed"))


@pytest.fixture
def checkout(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Checkout:
    monkeypatch.chdir(tmp_path)
    return Checkout(tmp_path)


def of_job(checkout: Checkout, facts: Facts, script: str, seconds: float = 10.0) -> dict[str, Measurement]:
    """What follows the seven that are there by themselves."""
    return {each.name: each for each in measure(image_task(seconds, checkout, script), facts)[7:]}


READS = {"measurement": "reads", "unit": "bytes/s", "samples": [4, 1, 3, 2], "detail": "8 files", "explains": "wait"}
READS |= {"applies": {"batch_size": 16}, "peak": 5}
COLD = {"measurement": "cold", "unit": "bytes/s", "samples": [], "detail": "no disk"}
TELLS = "".join(f"echo '{json.dumps(each)}' >> $FACEOFF_EVENTS\n" for each in (READS, COLD))


def test_what_the_job_measures_is_summed_up_beside_the_rest(checkout: Checkout, without_torch: Facts) -> None:
    found = of_job(checkout, without_torch, TELLS)
    reads, cold = found["reads"], found["cold"]
    assert (reads.median, reads.spread, reads.peak, reads.detail) == (2.5, 1.5, 5.0, "8 files")
    assert (reads.explains, reads.applies, reads.absent) == ("wait", {"batch_size": 16}, {})
    assert (cold.median, cold.absent["median"]) == (None, "no disk")
    assert not list(Path("models").iterdir()), "the file of events goes"


@pytest.mark.parametrize(
    ("script", "why"),
    [
        ("sleep 60", "not done within 2 s: raise profile.measure_seconds in params.yaml"),
        ("exit 3", "the command ended with exit code 3; its own words are above"),
        ("kill -SEGV $$", "the command was killed by SIGSEGV"),
        ('echo \'{"error": "no data"}\' >> $FACEOFF_EVENTS', "no data"),
        ("echo nonsense >> $FACEOFF_EVENTS", "its events, line 3: not JSON ("),
    ],
)
def test_what_came_before_the_job_failed_is_kept(
    checkout: Checkout, without_torch: Facts, script: str, why: str, capsys: pytest.CaptureFixture[str]
) -> None:
    found = of_job(checkout, without_torch, TELLS + script, 2.0)
    assert found["reads"].median == 2.5
    reason = found["measure of job.yaml"].absent["median"]
    assert reason.startswith(why) and capsys.readouterr().out == f"warning: host: measure of job.yaml: {reason}\n"


# ------------------------------------------------------------------------------------------------------------- peaks


def make_facts(device: str, **gpu: object) -> Facts:
    known = {"name": "Tesla T4", "uuid": "GPU-1", "driver": "580.65.06", **gpu}
    names = [field.name for field in dataclasses.fields(Gpu) if field.name not in ("absent", *known)]
    card = Gpu(**known, **dict.fromkeys(names), absent=dict.fromkeys(names, "not supported"))  # type: ignore[arg-type]
    facts = results.facts("host")
    hardware = dataclasses.replace(facts.hardware, gpus=(card,), gpus_reason=None)
    return dataclasses.replace(facts, device=device, hardware=hardware)


def test_peaks_of_a_t4_are_those_of_its_data_sheet() -> None:
    """8.1 Tflop/s, 320 GB/s, 32 GB/s both ways: https://www.nvidia.com/en-us/data-center/tesla-t4/"""
    facts = make_facts(
        "Tesla T4",
        cores=2560,
        max_sm_hertz=1_590_000_000,
        memory_bus_bits=256,
        max_memory_hertz=5_001_000_000,
        pcie_max_generation=3,
        pcie_max_width=16,
    )
    assert peaks.arithmetic(facts, "fp32").value == pytest.approx(8.1e12, rel=0.01)
    assert peaks.memory(facts).value == pytest.approx(320e9, rel=0.01)
    assert peaks.link(facts).value == pytest.approx(16e9, rel=0.02)
    assert peaks.arithmetic(facts, "fp16").value == pytest.approx(65e12, rel=0.01)
    assert peaks.arithmetic(facts, "bf16").value is None


@pytest.mark.parametrize(
    ("name", "capability", "cores", "megahertz", "expected"),
    [  # tera-operations per second of NVIDIA's data sheets, dense
        ("Tesla P100-PCIE-16GB", "6.0", 3584, 1303, {"fp32": 9.3, "fp16": 18.7, "bf16": None}),
        ("Tesla V100-SXM2-16GB", "7.0", 5120, 1530, {"fp32": 15.7, "fp16": 125, "tf32": None}),
        ("NVIDIA A100-SXM4-40GB", "8.0", 6912, 1410, {"fp32": 19.5, "tf32": 156, "fp16": 312, "bf16": 312}),
        ("NVIDIA GeForce RTX 2080 Ti", "7.5", 4352, 1545, {"fp32": 13.4, "fp16": None}),
        ("Tesla K80", "3.7", 2496, 875, {"fp32": 4.4, "fp16": None}),
    ],
)
def test_peaks_at_half_precision_where_all_cards_of_a_capability_have_the_same(
    name: str, capability: str, cores: int, megahertz: int, expected: dict[str, float | None]
) -> None:
    facts = make_facts(name, name=name, compute_capability=capability, cores=cores, max_sm_hertz=megahertz * 10**6)
    for precision, tera in expected.items():
        value, reason, _ = peaks.arithmetic(facts, precision)
        assert value == (None if tera is None else pytest.approx(tera * 1e12, rel=0.02)), precision
        assert (reason is None) == (tera is not None)


def test_an_instance_of_a_card_has_no_peak_of_the_whole() -> None:
    facts = make_facts("NVIDIA A100-SXM4-40GB MIG 1g.5gb", name="NVIDIA A100-SXM4-40GB", cores=6912, max_sm_hertz=10**9)
    for peak in (peaks.arithmetic(facts, "fp32"), peaks.memory(facts), peaks.link(facts)):
        assert peak.value is None and peak.reason is not None and peak.reason.startswith("a MIG instance")


def test_tf32_is_allowed_for_what_bears_its_name_alone() -> None:
    """For products and convolutions, whose defaults differ: torch lets cuDNN use it."""

    def allowed() -> tuple[bool, bool]:
        return torch.backends.cuda.matmul.allow_tf32, torch.backends.cudnn.allow_tf32

    before = allowed()
    try:
        device._allow_tf32(True)
        assert allowed() == (True, True)
        list(device.matrix_product(device="cpu", number_format="fp32", seconds=5.0))
        assert allowed() == (False, False)
    finally:
        torch.backends.cuda.matmul.allow_tf32, torch.backends.cudnn.allow_tf32 = before


def test_a_peak_that_is_not_known_says_why() -> None:
    assert peaks.arithmetic(make_facts("Tesla M60", name="Tesla M60"), "fp32")[:2] == (None, "not supported")
    assert peaks.memory(make_facts("Tesla P100")).reason == "the driver does not list the card that torch uses"
    for peak in (peaks.arithmetic(results.facts("host"), "fp32"), peaks.memory(results.facts("host"))):
        assert peak.value is None and peak.reason
