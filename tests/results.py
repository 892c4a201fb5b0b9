"""Results as training leaves them, made through the records: for tests that need some without training.

Runs under Python 3.11+, on the host; `python -m tests.results` is not a command.
"""

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


def write_surroundings() -> None:
    """The data set and the machine, which compare reads besides the cells."""
    counts = {"train": {"cats": 160, "dogs": 160}, "valid": {"cats": 48, "dogs": 48}}
    records.write(
        records.DATASET_PATH, records.Dataset("synthetic", DATASET_SHA256, counts, 416, 9_000_000, {}, "e" * 64)
    )
    records.write(
        records.MACHINE_PATH, records.Machine("m" * 32, "AMD EPYC 7B12", 1, 2, 8 * 2**30, "6.1.0", (), "no driver")
    )
