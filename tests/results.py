"""Results as training leaves them, made through the records: for tests that need some without training."""

import dataclasses
from collections.abc import Mapping
from typing import Any

from stages import records
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
CONTENTS = records.Contents("3.11.9", "2.14.1", "0.29.1", "2.8.12", "13.0", 92400, {"torch": "2.14.1"}, "c" * 64)


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
        machine_sha256=records.fingerprint(machine()),
        environment=Environment("cpu", "3.11.9", "2.14.1+cu130", "13.0", 92400, "2.8.12", 2),
        algorithm="fp32" if cell.precision == "fp32" else "autocast to bfloat16",
        memory_format="channels_last",
        epochs=tuple(epoch(phase, index, seconds) for phase, index in planned),
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
        started_at="2026-01-02T03:05:05+00:00",
        wall_seconds=predict_tta_seconds + 8,
    )
    return dataclasses.replace(plain, **changes)


def not_run(result: Any, status: str, reason: str) -> Any:
    """The record of a cell that did not run: no times, no figures."""
    empty: Mapping[str, Any] = (
        {"epochs": (), "algorithm": None}
        if isinstance(result, TrainResult)
        else dict.fromkeys(("accuracy", "accuracy_tta", "predict_seconds", "predict_tta_seconds"))
    )
    return dataclasses.replace(result, status=status, reason=reason, **empty)


def write_cell(train: TrainResult, evaluate: EvaluateResult) -> None:
    """Write both records where the pipeline keeps them, under the present folder."""
    records.write(train.cell.train_path, train)
    records.write(evaluate.cell.evaluate_path, evaluate)


def cell_of(arguments: list[str]) -> Cell:
    """The cell that the arguments of train and evaluate name."""
    given = dict(zip(arguments[::2], arguments[1::2], strict=True))
    return Cell(given["--image"], given["--precision"], int(given["--batch-size"]), int(given["--repeat"]))


def machine(name: str = "one") -> records.Machine:
    """A machine without a GPU."""
    return records.Machine(name, "AMD EPYC 7B12", 1, 2, 8 * 2**30, "6.1.0", (), "no NVIDIA driver answers")


def profile(image: str) -> records.Profile:
    return records.Profile(
        image=image,
        contents=CONTENTS,
        gpus=(),
        gpus_reason="no NVIDIA driver answers",
        device="cpu",
        cpu="AMD EPYC 7B12",
        usable_cpus=2.0,
        memory_bytes=8 * 2**30,
        memory_limit_bytes=None,
        shm_bytes=2**30,
        disk_total_bytes=2**37,
        disk_free_bytes=2**36,
        os="Debian GNU/Linux 12 (bookworm)",
        kernel="6.1.0",
        torch_threads=2,
    )


def write_dataset() -> None:
    counts = {"train": {"cats": 160, "dogs": 160}, "valid": {"cats": 48, "dogs": 48}}
    dataset = records.Dataset("synthetic", DATASET_SHA256, counts, 416, 9_000_000, {}, "e" * 64)
    records.write(records.DATASET_PATH, dataset)
