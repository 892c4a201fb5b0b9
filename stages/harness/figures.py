"""The figures of a cell, and of a setting over its repeats. Pure arithmetic: no files, no clocks.

The total is the 2019 article's: the epochs of all training phases plus one prediction with test-time augmentation.
"""

import statistics
from collections.abc import Callable, Iterable, Sequence
from datetime import datetime

from stages.harness.cells import Result
from stages.records import PHASES, Cell, Epoch, EvaluateResult, Summary, TrainResult

TOTAL = "total_seconds"


def phase_seconds(train: TrainResult, phase: str) -> float | None:
    """None where the recipe has no such phase."""
    return train.phase_seconds(phase) if any(epoch.phase == phase for epoch in train.epochs) else None


def images_per_second(epochs: Sequence[Epoch]) -> float:
    """Photos trained on per second of training; validation is not in it."""
    return sum(epoch.train_images for epoch in epochs) / sum(epoch.train_seconds for epoch in epochs)


def peak(values: Iterable[int | None]) -> float | None:
    return max((float(value) for value in values if value is not None), default=None)


def total_seconds(train: TrainResult, evaluate: EvaluateResult) -> float | None:
    """The phases and one prediction with TTA; None where that prediction was not timed."""
    if evaluate.predict_tta_seconds is None:
        return None
    return sum(train.phase_seconds(phase) for phase in PHASES) + evaluate.predict_tta_seconds


Figure = Callable[[TrainResult, EvaluateResult], float | None]

FIGURES: dict[str, Figure] = {
    TOTAL: total_seconds,
    "frozen_seconds": lambda train, _: phase_seconds(train, "frozen"),
    "unfrozen_seconds": lambda train, _: phase_seconds(train, "unfrozen"),
    "predict_tta_seconds": lambda _, evaluate: evaluate.predict_tta_seconds,
    "train_images_per_second": lambda train, _: images_per_second(train.epochs),
    "accuracy": lambda _, evaluate: evaluate.accuracy,
    "accuracy_tta": lambda _, evaluate: evaluate.accuracy_tta,
    "peak_process_memory_bytes": lambda train, evaluate: peak(
        [*(epoch.peak_process_memory_bytes for epoch in train.epochs), evaluate.peak_process_memory_bytes]
    ),
    "peak_gpu_memory_bytes": lambda train, evaluate: peak(
        [*(epoch.peak_gpu_memory_bytes for epoch in train.epochs), evaluate.peak_gpu_memory_bytes]
    ),
}

# Figures that are compared as ratios to the baseline's.
TIMED = (TOTAL, "frozen_seconds", "unfrozen_seconds", "predict_tta_seconds", "train_images_per_second")


def samples(group: Iterable[Result], figure: str) -> dict[Cell, float]:
    """The figure of each cell that ran whole and has it."""
    value = FIGURES[figure]
    whole = [(result.cell, result.train, result.evaluate) for result in group]
    values = {cell: value(train, evaluate) for cell, train, evaluate in whole if train and evaluate}
    return {cell: found for cell, found in values.items() if found is not None}


def run_order(results: Iterable[Result]) -> dict[Cell, int]:
    """Which place each cell that ran whole has among them, by when it began."""
    began = {result.cell: datetime.fromisoformat(result.train.started_at) for result in results if result.train}
    return {cell: place for place, cell in enumerate(sorted(began, key=began.__getitem__))}


def summaries(group: Sequence[Result]) -> dict[str, Summary]:
    """Figure: its samples, one per repeat that ran whole. A figure that no repeat has is left out."""
    found = {name: samples(group, name) for name in FIGURES}
    return {name: summary({str(cell.repeat): value for cell, value in of.items()}) for name, of in found.items() if of}


def summary(samples: dict[str, float]) -> Summary:
    """Mean and sample standard deviation; one sample has no spread."""
    values = list(samples.values())
    return Summary(samples, statistics.fmean(values), statistics.stdev(values) if len(values) > 1 else None)
