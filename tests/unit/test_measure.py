"""The measured part of a profile: its limit holds, and what does not work costs its own figures alone."""

import dataclasses
import time
from pathlib import Path

import pytest

from stages.records import Facts, Gpu, Measurement
from stages.workload.measure import Part, files, measure, peaks, plan, run
from stages.workload.measure.sampling import NotPossible
from tests import results
from tests.unit import helper_photos

PEAK = peaks.Peak(100.0, None)


def make_parts(*functions: str) -> list[Part]:
    return [Part(name, "things/s", "tests.unit.slow_parts", name, {}, PEAK) for name in functions]


@pytest.fixture(scope="module")
def photos(tmp_path_factory: pytest.TempPathFactory) -> list[Path]:
    folder = tmp_path_factory.mktemp("photos")
    paths = [folder / f"{index}.jpg" for index in range(8)]
    for index, path in enumerate(paths):
        path.write_bytes(helper_photos.jpeg(index, (320, 240)))
    return paths


# --------------------------------------------------------------------------------------------------------- the limit


def test_the_limit_holds_whatever_hangs_and_scales_with_what_is_asked() -> None:
    took = {}
    for seconds in (2.0, 6.0):
        began = time.monotonic()
        run(make_parts("hangs", "works", "hangs_after_two", "works"), seconds)
        took[seconds] = time.monotonic() - began
    assert 0.9 < took[2.0] / 2.0 < 1.5
    assert 0.9 < took[6.0] / 6.0 < 1.2


def test_a_part_that_hangs_does_not_take_the_others_with_it() -> None:
    hung, stopped, worked = run(make_parts("hangs", "hangs_after_two", "works"), 16.0)
    assert hung.samples == () and hung.absent["median"].startswith("did not end within")
    assert stopped.samples == (1.0, 3.0) and stopped.median == 2.0 and "did not end within" in stopped.detail
    assert len(worked.samples) > 5 and worked.detail == "a nap"


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


def test_time_that_one_part_leaves_is_the_others() -> None:
    """Three that end at once and one that takes what it gets: it gets nearly all."""
    began = time.monotonic()
    measured = run([*make_parts("cannot", "cannot", "cannot"), *make_parts("works")], 8.0)
    assert len(measured[-1].samples) == 20
    assert time.monotonic() - began < 6.0


def test_the_figures_are_those_of_the_samples() -> None:
    [worked] = run(make_parts("works"), 3.0)
    ordered = sorted(worked.samples)
    assert worked.median is not None and worked.spread is not None
    assert ordered[len(ordered) // 4] <= worked.median <= ordered[-len(ordered) // 4]
    assert 0 <= worked.spread <= ordered[-1] - ordered[0]
    assert worked.median < 10.0 / 0.02  # 10 of them take at least 20 ms
    assert worked.peak == 100.0


# ------------------------------------------------------------------------------------------------- what is measured


@pytest.fixture(scope="module")
def measured(photos: list[Path]) -> dict[str, Measurement]:
    recipe = dataclasses.replace(results.RECIPE, arch="resnet18", size=32)
    return {each.name: each for each in measure(60.0, results.facts("host"), recipe, (4,), photos)}


@pytest.mark.slow
def test_on_a_cpu_everything_is_measured_or_says_why(measured: dict[str, Measurement]) -> None:
    for name in ("read of photos, warm", "JPEG decode, 1 core", "matrix product, fp32", "memory copy"):
        assert len(measured[name].samples) > 1, measured[name]
    for name in ("host to device, pinned", "host to device, pageable", "matrix product, tf32"):
        assert measured[name].absent["median"].startswith("no GPU: ")
    for each in measured.values():
        assert each.samples or each.absent["median"]
        assert all(sample > 0 for sample in each.samples)


@pytest.mark.slow
def test_convolutions_are_those_of_the_recipe(measured: dict[str, Measurement]) -> None:
    first = measured["convolution, first layer, batch size 4, fp32"]
    assert first.detail.startswith("3 to 64 channels, 7 x 7, stride 2 on 4 x 3 x 32 x 32, channels_last")
    assert measured["convolution, heaviest layer, batch size 4, fp32"].detail.startswith("64 to 64 channels, 3 x 3")


def test_a_gpu_is_measured_at_half_precision_and_a_cpu_at_bfloat16(photos: list[Path]) -> None:
    on_gpu = dataclasses.replace(results.facts("host"), device="Tesla T4")
    both = {"gpu": on_gpu, "cpu": results.facts("host")}
    names = {key: [part.name for part in plan(facts, results.RECIPE, (16, 64), photos)] for key, facts in both.items()}
    assert "convolution, first layer, batch size 64, fp16" in names["gpu"]
    assert "convolution, first layer, batch size 64, bf16" in names["cpu"]


# ------------------------------------------------------------------------------------------------------------ photos


def test_cold_photos_are_read_from_the_disk(photos: list[Path]) -> None:
    if files_stay_in_memory(photos):
        pytest.skip("the file system of temporary files is in memory")
    paths = [str(photo) for photo in photos]
    told = list(files.read_cold(paths, 1.0))
    assert "posix_fadvise" in str(told[0]) and len(told) > 2
    files._read(photos)
    assert files._resident_share(photos) == 1.0
    files._drop(photos)
    assert files._resident_share(photos) == 0.0


def test_where_the_kernel_keeps_pages_there_is_no_cold_read() -> None:
    """/dev/shm is a file system in memory."""
    path = Path("/dev/shm/faceoff-test-of-cold-reads")
    path.write_bytes(b"x" * 100_000)
    try:
        with pytest.raises(NotPossible, match="keeps 100% of the pages"):
            list(files.read_cold([str(path)], 1.0))
    finally:
        path.unlink()


def test_every_process_decodes_its_photos(photos: list[Path]) -> None:
    detail, *rates = files.decode([str(photo) for photo in photos], 2, 2.0)
    assert str(detail).startswith("Pillow, 2 processes")
    assert all(isinstance(rate, float) and rate > 1 for rate in rates) and rates


def test_a_photo_that_does_not_decode_is_told(tmp_path: Path, photos: list[Path]) -> None:
    broken = tmp_path / "broken.jpg"
    broken.write_bytes(photos[0].read_bytes()[:200])
    with pytest.raises(OSError):
        list(files.decode([str(broken)], 1, 1.0))


def files_stay_in_memory(photos: list[Path]) -> bool:
    files._drop(photos)
    return files._resident_share(photos) > 0


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
    assert peaks.arithmetic(facts, "fp16") == (None, "the driver does not tell what the tensor cores do at fp16")


def test_a_peak_that_is_not_known_says_why() -> None:
    assert peaks.arithmetic(make_facts("Tesla T4"), "fp32") == (None, "not supported")
    assert peaks.memory(make_facts("Tesla P100")).reason == "the driver does not list the card that torch uses"
    for peak in (peaks.arithmetic(results.facts("host"), "fp32"), peaks.memory(results.facts("host"))):
        assert peak.value is None and peak.reason
