"""The measured part on a GPU, with stand-ins for it: a queue of work that takes as long as it is told, and no CUDA."""

import dataclasses
import time
import types
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from stages.records import Facts, ImageTask
from stages.workload.measure import cards, device, measure, of_job, peaks, plan, sampling
from tests.gpu_queue import Card
from tests.project import ROOT
from tests.supervised import Checkout
from tests.unit import slow_gpu
from tests.unit.test_measure import TELLS, image_task, make_facts

LAUNCH_SECONDS = 8e-6  # of the host, for whatever it queues
WAKE_SECONDS = 10e-6  # until the host sees that the queue is empty


class Tensor:
    """What device.py does with tensors, on the card."""

    def __init__(self, card: Card, shape: tuple[int, ...], on_card: bool) -> None:
        self.card, self.shape, self.on_card = card, shape, on_card

    def to(self, *_: object, **__: object) -> "Tensor":
        return self

    pin_memory = half = to

    def add_(self, _: int) -> None:
        self.card.launches(1, LAUNCH_SECONDS, 2e-6)

    def copy_(self, source: "Tensor", non_blocking: bool = False) -> None:
        speed = self.card.bytes_per_second if source.on_card else self.card.link
        self.card.launches(1, LAUNCH_SECONDS, 4.0 * self.shape[0] * (2 if source.on_card else 1) / speed)


class Gpu(Card):
    """A card of so many operations per second, which no product below 1 µs reaches."""

    def __init__(self, flops: float, bytes_per_second: float = 3e12, free: float = 80e9) -> None:
        super().__init__()
        self.flops, self.bytes_per_second, self.link, self.free = flops, bytes_per_second, 25e9, free
        self.edges: list[int] = []

    def multiplies(self, left: Tensor, right: Tensor) -> None:
        self.edges.append(left.shape[0])
        self.launches(1, LAUNCH_SECONDS, 1e-6 + 2.0 * left.shape[0] ** 3 / self.flops)

    def wakes(self) -> None:
        self.synchronises()
        self.waits(WAKE_SECONDS)


@pytest.fixture
def put_in(monkeypatch: pytest.MonkeyPatch) -> Callable[[Gpu], None]:
    """Make it what torch drives and the clock shows."""

    def put_in(gpu: Gpu) -> None:
        def tensor(*shape: int, device: str = "cpu", **_: object) -> Tensor:
            return Tensor(gpu, shape, device == "cuda")

        torch = types.SimpleNamespace(
            ones=tensor,
            randn=tensor,
            mm=gpu.multiplies,
            empty_like=lambda source, device="cuda": Tensor(gpu, source.shape, True),
            float32="fp32",
            float16="fp16",
            bfloat16="bf16",
            __version__="2.14",
            backends=types.SimpleNamespace(
                cuda=types.SimpleNamespace(matmul=types.SimpleNamespace(allow_tf32=False)),
                cudnn=types.SimpleNamespace(allow_tf32=True),
            ),
            cuda=types.SimpleNamespace(
                synchronize=gpu.wakes,
                mem_get_info=lambda: (gpu.free, gpu.free),
                get_device_properties=lambda _: types.SimpleNamespace(total_memory=gpu.free),
                get_device_capability=lambda _: (9, 0),
            ),
        )
        clock = types.SimpleNamespace(perf_counter=lambda: gpu.host)
        monkeypatch.setattr(device, "torch", torch)
        monkeypatch.setattr(device, "time", clock)
        monkeypatch.setattr(sampling, "time", clock)

    return put_in


def rates_of(found: Iterator[Any]) -> list[float]:
    return [each for each in found if isinstance(each, float)]


@pytest.mark.parametrize("tera", [8.0, 65.0, 990.0, 2250.0])
def test_launching_and_waiting_are_less_than_2_percent_of_a_product(put_in: Callable[[Gpu], None], tera: float) -> None:
    gpu = Gpu(tera * 1e12)
    put_in(gpu)
    samples = rates_of(device.matrix_product("cuda", "fp16", 3.0))
    assert len(samples) == sampling.MOST_SAMPLES
    assert all(0.98 * gpu.flops < each < gpu.flops for each in samples)
    assert 2.0 * gpu.edges[-1] ** 3 / gpu.flops > (LAUNCH_SECONDS + WAKE_SECONDS) / 0.02
    assert gpu.host < 3.5


def test_waiting_that_takes_long_makes_the_samples_longer(
    put_in: Callable[[Gpu], None], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("tests.unit.test_measure_gpu.WAKE_SECONDS", 2e-3)
    gpu = Gpu(900e12)
    put_in(gpu)
    assert min(rates_of(device.matrix_product("cuda", "fp16", 6.0))) > 0.98 * gpu.flops
    assert min(rates_of(device.memory_copy("cuda", 6.0))) > 0.98 * gpu.bytes_per_second


def test_matrices_leave_the_gpus_memory_to_others(put_in: Callable[[Gpu], None]) -> None:
    gpu = Gpu(2250e12, free=1.3e9)
    put_in(gpu)
    assert rates_of(device.matrix_product("cuda", "fp16", 3.0))
    assert gpu.edges[-1] == 4096 and 0.25 * gpu.free >= 3 * 4 * 4096**2
    detail = next(device.memory_copy("cuda", 3.0))
    assert str(detail).startswith("128 MiB from one place")


def test_a_slow_card_multiplies_what_leaves_time_for_samples(put_in: Callable[[Gpu], None]) -> None:
    gpu = Gpu(0.3e12)
    put_in(gpu)
    assert len(rates_of(device.matrix_product("cuda", "fp32", 1.0))) >= device.SAMPLES_WANTED
    assert gpu.host < 1.5


def test_copies_are_what_the_memory_and_the_link_reach(put_in: Callable[[Gpu], None]) -> None:
    gpu = Gpu(990e12, bytes_per_second=8e12)
    put_in(gpu)
    assert rates_of(device.memory_copy("cuda", 3.0))[-1] == pytest.approx(8e12, rel=0.02)
    assert rates_of(device.host_to_device("cuda", True, 3.0))[-1] == pytest.approx(25e9, rel=0.02)


def test_what_takes_longer_than_its_share_says_how_long(put_in: Callable[[Gpu], None]) -> None:
    gpu = Gpu(1e9)
    put_in(gpu)
    with pytest.raises(sampling.NotPossible, match=r"once takes 0\.27 s, and its share of the time is 0 s: raise"):
        rates_of(device.matrix_product("cuda", "fp32", 0.1))


@pytest.mark.parametrize(("tera", "gigabytes"), [(4.0, 100.0), (65.0, 320.0), (990.0, 4800.0)])
def test_all_of_it_takes_less_than_half_of_the_20_s_that_there_are(
    put_in: Callable[[Gpu], None], tera: float, gigabytes: float
) -> None:
    """So that the job's own have the other half at least, and every part all of its samples."""
    gpu = Gpu(tera * 1e12, gigabytes * 1e9)
    put_in(gpu)
    for part in plan(make_facts("NVIDIA H200", name="NVIDIA H200")):
        samples = rates_of(getattr(device, part.function)(seconds=10.0 / 7, **part.arguments))
        assert len(samples) == sampling.MOST_SAMPLES, part.name
    assert gpu.host < 10.0


# ----------------------------------------------------------------------------------------------------- the time it has


@pytest.fixture
def gpu_facts(monkeypatch: pytest.MonkeyPatch) -> Facts:
    monkeypatch.chdir(ROOT)  # from which the process that measures imports it
    monkeypatch.setattr("stages.workload.measure.DEVICE", slow_gpu.__name__)
    return make_facts("NVIDIA H200", name="NVIDIA H200", compute_capability="9.0", max_sm_hertz=1_980_000_000)


def test_starting_the_gpu_takes_none_of_the_time_for_measurements(gpu_facts: Facts) -> None:
    """It takes longer here than there are seconds, and each part has its samples or says why it has none."""
    seconds = 2.0
    began = time.monotonic()
    measured = measure(image_task(seconds), gpu_facts)
    took = time.monotonic() - began
    assert seconds < slow_gpu.START_SECONDS
    assert slow_gpu.START_SECONDS < took < slow_gpu.START_SECONDS + seconds + 10.0  # Python starts on a loaded machine
    assert {each.name: each.absent.get("median") for each in measured if not each.samples} == {
        "matrix product, tf32": "compute capability 7.5 has no tf32: 8.0 brought it"
    }


def test_a_gpu_that_does_not_start_is_the_reason_of_all(gpu_facts: Facts, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("stages.workload.measure.START_SECONDS", 1.0)
    began = time.monotonic()
    measured = measure(image_task(20.0), gpu_facts)
    assert time.monotonic() - began < 20.0
    [reason] = {each.absent["median"] for each in measured}
    assert reason.startswith("the start of the GPU: did not end within ")


def test_the_jobs_own_have_the_same_time_and_a_start_beside_it(
    gpu_facts: Facts, monkeypatch: pytest.MonkeyPatch
) -> None:
    given = []

    def run(task: ImageTask, facts: Facts, seconds: float, start_seconds: float) -> tuple[tuple[()], None]:
        given.append((seconds, start_seconds))
        return (), None

    monkeypatch.setattr("stages.workload.measure.of_job.run", run)
    measure(dataclasses.replace(image_task(4.0), measure=("true",)), gpu_facts)
    [(seconds, start_seconds)] = given
    assert 1.0 < seconds < 4.0 and start_seconds == 60.0  # about half, had the start's 3 s not been beside it none


def test_the_jobs_command_is_not_ended_while_the_gpu_starts(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, gpu_facts: Facts
) -> None:
    monkeypatch.chdir(tmp_path)
    task = image_task(1.0, Checkout(tmp_path), "sleep 3\n" + TELLS)
    reported, failure = of_job.run(task, gpu_facts, 1.0, 60.0)
    assert ([each.name for each in reported], failure) == (["reads", "cold"], None)


# --------------------------------------------------------------------------------------------------------------- peaks


@pytest.mark.parametrize(
    ("name", "expected"),
    [  # dense, 1e12 operations per second at fp32, tf32, fp16 and bf16; 1e9 bytes per second
        ("NVIDIA L4", (30.3, 60, 121, 121, 300)),
        ("NVIDIA L40S", (91.6, 183, 362.05, 362.05, 864)),
        ("NVIDIA GeForce RTX 4090", (82.6, 82.6, 165.2, 165.2, 1008)),
        ("NVIDIA H100 80GB HBM3", (66.9, 494.7, 989.4, 989.4, 3352)),
        ("NVIDIA H100 PCIe", (51.2, 378, 756, 756, 2039)),
        ("NVIDIA H100 NVL", (60, 417.5, 835.5, 835.5, 3900)),
        ("NVIDIA H200", (67, 494.5, 989.5, 989.5, 4800)),
        ("NVIDIA GH200 480GB", (None, 494, 990, 990, 4000)),
        ("NVIDIA B200", (75, 1125, 2250, 2250, None)),
        ("NVIDIA GB200", (80, 1250, 2500, 2500, 8000)),
        ("NVIDIA GeForce RTX 5090", (104.8, 104.8, 209.5, 209.5, 1792)),
        ("Tesla T4", (8.1, None, 65, None, None)),
        ("Tesla V100-PCIE-32GB", (14, None, 112, None, 900)),
        ("NVIDIA A100 80GB PCIe", (19.5, 156, 312, 312, 1935)),
        ("NVIDIA A10", (31.2, 62.5, 125, 125, 600)),
        ("Tesla P100-SXM2-16GB", (10.6, None, 21.2, None, 732)),
        ("NVIDIA GeForce RTX 3080", (None, None, None, None, None)),
        ("NVIDIA A10G", (None, None, None, None, None)),
        ("NVIDIA GeForce RTX 4090 Laptop GPU", (None, None, None, None, None)),
        ("NVIDIA GeForce RTX 4090 D", (None, None, None, None, None)),
        ("NVIDIA H20", (None, None, None, None, None)),
    ],
)
def test_peaks_of_todays_cards_are_those_of_their_data_sheets(name: str, expected: tuple[float | None, ...]) -> None:
    facts = make_facts(name, name=name)  # a driver that tells the name alone
    for number_format, tera in zip(("fp32", "tf32", "fp16", "bf16"), expected, strict=False):
        peak = peaks.arithmetic(facts, number_format)
        assert peak.value == (None if tera is None else pytest.approx(tera * 1e12)), number_format
        assert peak.source.startswith("NVIDIA's ") and peak.source.endswith(", dense") if tera else peak.reason
    memory = peaks.memory(facts)
    assert memory.value == (None if expected[4] is None else pytest.approx(expected[4] * 1e9))


def test_the_table_has_no_number_with_sparsity_among_those_without() -> None:
    """bf16 is as fast as fp16 where there is one; tensor cores are at least as fast as the rest."""
    for pattern, card in cards.CARDS.items():
        tera = card.tera
        assert tera.get("bf16", tera["fp16"]) == tera["fp16"], pattern
        assert tera.get("fp32", 0) <= tera.get("tf32", 1e9) <= 1e9 and tera["fp16"] >= 2 * tera.get("fp32", 0) * 0.99
        if "tf32" in tera:
            assert 1.9 < tera["fp16"] / tera["tf32"] < 2.1, pattern


def test_who_says_the_peak_stands_beside_it(gpu_facts: Facts) -> None:
    measured = {each.name: each for each in measure(image_task(2.0), gpu_facts)}
    assert measured["matrix product, fp16"].detail == "a nap; peak by NVIDIA's data sheet of the H200, dense"
    assert measured["matrix product, fp16"].peak == pytest.approx(989.5e12)
