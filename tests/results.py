"""Results as training leaves them, made through the records: for tests that need some without training."""

import dataclasses
import hashlib
from collections.abc import Mapping
from typing import Any

from stages import codec, records
from stages.records import Cell, Environment, Epoch, EvaluateResult, Recipe, TrainResult

MIB = 2**20

RECIPE = Recipe(
    arch="tf_efficientnet_lite0",
    pretrained=True,
    size=96,
    frozen_epochs=1,
    unfrozen_epochs=2,
    frozen_learning_rate=3e-3,
    unfrozen_learning_rates=(1e-5, 3e-4),
    pct_start=0.05,
    workers=2,
    channels_last=True,
    seed=42,
)
DATASET_SHA256 = "d" * 64
CONTAINER = records.Container("auto", "1g", None, None)
LOAD = records.Load(41.0, 0.01, 0.0, None, {"throttled_seconds": "no cgroup of this process has a cpu.stat"})
PREDICTIONS = "photo,label\n"
CONTENTS = records.Contents(
    python="3.11.9",
    torch="2.14.1",
    torchvision="0.29.1",
    fastai="2.8.12",
    cuda="13.0",
    cudnn=92400,
    nccl="2.30.7",
    cuda_architectures=("sm_75", "sm_120"),
    pillow="12.0.0",
    pillow_simd=False,
    packages={"torch": "2.14.1"},
    packages_sha256="c" * 64,
    absent={},
)


def epoch(phase: str, index: int, seconds: float, **changes: Any) -> Epoch:
    """An epoch of `seconds`, nine tenths of them training, on 320 photos."""
    plain = Epoch(
        phase=phase,
        index=index,
        train_seconds=0.9 * seconds,
        valid_seconds=0.08 * seconds,
        epoch_seconds=seconds,
        train_images=320,
        train_images_per_second=320 / (0.9 * seconds),
        train_loss=0.7 / (1 + index),
        valid_loss=0.6 / (1 + index),
        accuracy=0.9 + 0.01 * index,
        peak_process_memory_bytes=900 * MIB,
        peak_gpu_memory_bytes=None,
        split=records.Split(20, 0.3 * seconds, 0.0, 0.55 * seconds, 0.05 * seconds),
    )
    return dataclasses.replace(plain, **changes)


def trained(cell: Cell, seconds: float = 10.0, recipe: Recipe = RECIPE, **changes: Any) -> TrainResult:
    """A whole training on the CPU of fastai 2; each of its epochs took `seconds`."""
    planned = [("frozen", index) for index in range(recipe.frozen_epochs)]
    planned += [("unfrozen", index) for index in range(recipe.unfrozen_epochs)]
    plain = TrainResult(
        cell=cell,
        status="ok",
        reason=None,
        recipe=recipe,
        dataset_sha256=DATASET_SHA256,
        machine_sha256=codec.fingerprint(machine()),
        image_sha256=None,
        facts_sha256=None,
        container=CONTAINER,
        environment=Environment("cpu", "3.11.9", "2.14.1+cu130", "13.0", 92400, "2.8.12", 2),
        algorithm="fp32" if cell.precision == "fp32" else "autocast to bfloat16",
        memory_format="channels_last",
        epochs=tuple(epoch(phase, index, seconds) for phase, index in planned),
        ceilings=records.Ceilings(80.0, 55.0),
        sittings=(records.Sitting(0, LOAD),),
        conditions=(CONDITIONS, CONDITIONS),
        warnings=(),
        started_at="2026-01-02T03:04:05+00:00",
        import_seconds=6.1,
        wall_seconds=seconds * len(planned) + 9,
    )
    return dataclasses.replace(plain, **changes)


def evaluated(cell: Cell, predict_tta_seconds: float = 3.0, **changes: Any) -> EvaluateResult:
    """A whole evaluation, begun a minute after the training of `trained`."""
    plain = EvaluateResult(
        cell=cell,
        status="ok",
        reason=None,
        photos=96,
        accuracy=0.96,
        accuracy_tta=0.97,
        predict_seconds=predict_tta_seconds / 9,
        predict_tta_seconds=predict_tta_seconds,
        peak_process_memory_bytes=950 * MIB,
        peak_gpu_memory_bytes=None,
        predictions_sha256=hashlib.sha256(PREDICTIONS.encode()).hexdigest(),
        conditions=(CONDITIONS, CONDITIONS),
        load=LOAD,
        warnings=(),
        started_at="2026-01-02T03:05:05+00:00",
        wall_seconds=predict_tta_seconds + 8,
    )
    return dataclasses.replace(plain, **changes)


def not_run(result: Any, status: str, reason: str) -> Any:
    """The record of a cell that did not run: no times, no figures."""
    empty: Mapping[str, Any] = (
        {"epochs": (), "algorithm": None, "ceilings": None, "sittings": ()}
        if isinstance(result, TrainResult)
        else dict.fromkeys(("accuracy", "accuracy_tta", "predict_seconds", "predict_tta_seconds"))
    )
    return dataclasses.replace(result, status=status, reason=reason, **empty)


def write_cell(train: TrainResult, evaluate: EvaluateResult) -> None:
    """Write both records where the pipeline keeps them, under the present folder, and predictions of no photo."""
    codec.write(train.cell.train_path, train)
    codec.write(evaluate.cell.evaluate_path, evaluate)
    codec.write_text(evaluate.cell.predictions_path, PREDICTIONS)


def cell_of(arguments: list[str]) -> Cell:
    """The cell that the arguments of train and evaluate name."""
    given = dict(zip(arguments[::2], arguments[1::2], strict=True))
    return Cell(given["--image"], given["--precision"], int(given["--batch-size"]), int(given["--repeat"]))


NO_GPU = "no NVIDIA driver answers"
HARDWARE = records.Hardware(
    kernel="6.1.0",
    cpu=records.Cpu(
        model="AMD EPYC 7B12",
        architecture="x86_64",
        sockets=1,
        physical_cores=1,
        logical_cpus=2,
        numa_nodes=1,
        base_hertz=None,
        max_hertz=None,
        caches=(records.Cache(1, "data", 32 * 2**10, 1), records.Cache(3, "unified", 16 * MIB, 1)),
        isa=("avx2",),
        absent={"base_hertz": "no cpufreq", "max_hertz": "no cpufreq"},
    ),
    memory_bytes=8 * 2**30,
    limits=records.Limits(2, "0-1", None, 2.0, None, 2**30, {"cpu_quota": "no limit", "memory_bytes": "no limit"}),
    disk=records.Disk("ext4", "solid state", 2**37, {}),
    gpus=(),
    gpus_reason=NO_GPU,
    absent={},
)
CONDITIONS = records.Conditions("2026-01-02T03:04:04+00:00", 7 * 2**30, 2**36, 2_250_000_000, 0.01, (), NO_GPU, {})


def machine(name: str = "one", hardware: records.Hardware = HARDWARE) -> records.Machine:
    """A machine without a GPU."""
    return records.Machine(name, hardware, {})


def facts(image: str, hardware: records.Hardware = HARDWARE) -> records.Facts:
    return records.Facts(image, "cpu", "Debian GNU/Linux 12 (bookworm)", "2.36", 2, hardware, CONTENTS, {})


def profile(image: str) -> records.Profile:
    return records.Profile(facts(image), CONDITIONS, (), 1.5)


def image(name: str) -> records.Image:
    """What the image stage says of `host`."""
    fields = ("reference", "image_id", "size_bytes", "base", "base_digest", "engine", "runtime")
    absent = dict.fromkeys(fields, "image host runs without a container")
    return records.Image(name, contents=CONTENTS, absent=absent, **dict.fromkeys(fields))


def write_dataset() -> None:
    counts = {"train": {"cats": 160, "dogs": 160}, "valid": {"cats": 48, "dogs": 48}}
    dataset = records.Dataset("synthetic", DATASET_SHA256, counts, 416, 9_000_000, {}, "e" * 64)
    codec.write(records.DATASET_PATH, dataset)
