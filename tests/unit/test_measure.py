"""The measured part of a profile: its limit holds, and what does not work costs its own figures alone."""

import dataclasses
import os
import subprocess
import sys
import time
from pathlib import Path

import pytest
import torch

from stages.records import Facts, Gpu, Measurement
from stages.workload.measure import Part, device, files, measure, peaks, plan, run
from stages.workload.measure.sampling import NotPossible
from tests import results
from tests.project import ROOT
from tests.unit import helper_photos

PEAK = peaks.Peak(100.0, None)
MEASURE_SECONDS = 60.0  # the most that an image's measured part may take


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
    began = time.monotonic()
    found = {each.name: each for each in measure(MEASURE_SECONDS, results.facts("host"), recipe, (4,), photos)}
    assert time.monotonic() - began < MEASURE_SECONDS + 2.0  # a killed process is waited for, for a second
    return found


@pytest.mark.alone
@pytest.mark.slow
def test_on_a_cpu_everything_is_measured_or_says_why(measured: dict[str, Measurement]) -> None:
    reasons = {
        "host to device, pinned": "no GPU: ",
        "host to device, pageable": "no GPU: ",
        "matrix product, tf32": "no GPU: ",
        "read of photos, cold": "the kernel keeps ",  # where the temporary files are in memory
    }
    for name, each in measured.items():
        if not each.samples:
            assert each.absent["median"].startswith(reasons[name]), each
        else:
            assert len(each.samples) > 1 and each.median is not None and each.spread is not None, each
            assert all(sample > 0 for sample in each.samples)


@pytest.mark.alone
@pytest.mark.slow
def test_convolutions_are_those_of_the_recipe(measured: dict[str, Measurement]) -> None:
    first = measured["convolution, first layer, batch size 4, fp32"]
    assert first.detail.startswith("3 to 64 channels, 7 x 7, stride 2 on 4 x 3 x 32 x 32, channels_last")
    assert measured["convolution, heaviest layer, batch size 4, fp32"].detail.startswith("64 to 64 channels, 3 x 3")


def test_a_gpu_is_measured_at_half_precision_and_a_cpu_at_bfloat16(photos: list[Path]) -> None:
    on_gpu = dataclasses.replace(results.facts("host"), device="Tesla T4")
    both = {"gpu": on_gpu, "cpu": results.facts("host")}
    names = {key: [part.name for part in plan(facts, results.RECIPE, (16, 64), photos)] for key, facts in both.items()}
    for precision in ("fp32", "tf32", "fp16"):
        assert f"convolution, first layer, batch size 64, {precision}" in names["gpu"]
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


def test_of_files_of_others_the_kernel_does_not_tell_which_pages_are_in_memory(tmp_path: Path) -> None:
    """Since Linux 5.2 it says 'all'. The test reads as somebody who neither owns the file nor may write it."""
    if os.getuid() != 0:
        pytest.skip("only root can be somebody else")
    path = tmp_path / "photo.jpg"
    path.write_bytes(b"x" * 100_000)
    script = f"""
import os
from pathlib import Path
from stages.workload.measure import files
os.chmod({str(path)!r}, 0o444)
os.setuid(65534)
assert not files._tells_pages(Path("{path}"))
list(files.read_cold(["{path}"], 1.0))
"""
    for folder in (tmp_path, *tmp_path.parents):
        if "pytest-" in str(folder):
            folder.chmod(0o755)
    command = [sys.executable, "-c", script]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True)
    assert "NotPossible: since Linux 5.2 the kernel tells only who owns a file" in done.stderr, done.stderr


def test_children_that_decode_do_not_outlive_a_killed_process(tmp_path: Path) -> None:
    script = """
import os, time
from stages.workload.measure import files
def work():
    os.write(1, b"%d\\n" % os.getpid())
    time.sleep(600)
files._at_once(2, work)
"""
    command = [sys.executable, "-c", script]
    with subprocess.Popen(command, cwd=ROOT, stdout=subprocess.PIPE, text=True) as process:
        try:
            assert process.stdout is not None
            children = [int(process.stdout.readline()) for _ in range(2)]
        finally:
            process.kill()
            process.wait()
        deadline = time.monotonic() + 10
        while any(is_alive(child) for child in children) and time.monotonic() < deadline:
            time.sleep(0.05)
        assert not any(is_alive(child) for child in children)


def is_alive(pid: int) -> bool:
    """A zombie, which nobody may wait for here, is not."""
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
    except FileNotFoundError:
        return False


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
        value, reason = peaks.arithmetic(facts, precision)
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
        shape = {"layer": "first", "arch": "resnet18", "size": 32, "channels_last": False, "batch_size": 1}
        list(device.convolution(device="cpu", precision="fp32", seconds=0.1, **shape))
        assert allowed() == (False, False)
    finally:
        torch.backends.cuda.matmul.allow_tf32, torch.backends.cudnn.allow_tf32 = before


def test_a_peak_that_is_not_known_says_why() -> None:
    assert peaks.arithmetic(make_facts("Tesla T4"), "fp32") == (None, "not supported")
    assert peaks.memory(make_facts("Tesla P100")).reason == "the driver does not list the card that torch uses"
    for peak in (peaks.arithmetic(results.facts("host"), "fp32"), peaks.memory(results.facts("host"))):
        assert peak.value is None and peak.reason
