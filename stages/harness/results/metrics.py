"""The figures of a cell, and of a setting over its repeats. Pure arithmetic: no files, no clocks.

The total is the 2019 article's: the epochs of all training phases plus one prediction with test-time augmentation.
"""

import statistics
from collections.abc import Callable, Iterable, Sequence
from datetime import datetime

from stages.harness.results.read import Result
from stages.records import PHASES, Cell, Epoch, EvaluateResult, Summary, TrainResult

TOTAL = "total_seconds"
SESSION_PAUSE = 600.0  # seconds


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


def moments(results: Iterable[Result], figure: str) -> dict[Cell, float]:
    """When each cell that ran whole began with what the figure is of: hours since the first of them."""
    of_prediction = figure == "predict_tta_seconds"
    whole = [(result.cell, result.train, result.evaluate) for result in results]
    began = {
        cell: _seconds((evaluate if of_prediction else train).started_at)
        for cell, train, evaluate in whole
        if train and evaluate
    }
    first = min(began.values(), default=0.0)
    return {cell: (seconds - first) / 3600 for cell, seconds in began.items()}


def sessions(results: Sequence[Result]) -> dict[Cell, int]:
    """Which session each cell that ran whole is of: one ends where nothing runs for longer than a whole repeat takes,
    and for SESSION_PAUSE at least. What a machine did before it may do otherwise after it.
    """
    runs = [
        (_seconds(run.started_at), run.wall_seconds, result.cell, run is result.train)
        for result in results
        for run in (result.train, result.evaluate)
        if run is not None
    ]
    runs.sort(key=lambda run: run[0])
    pause, number, found = max(SESSION_PAUSE, repeat_seconds(results)), 0, {}
    ended = runs[0][0] if runs else 0.0
    for began, seconds, cell, is_training in runs:
        number += began - ended > pause
        ended = max(ended, began + seconds)
        if is_training:
            found[cell] = number
    return found


def repeat_seconds(results: Sequence[Result]) -> float:
    """Of all settings once, from import to the last result, in the mean."""
    walls = [each.train.wall_seconds + each.evaluate.wall_seconds for each in results if each.train and each.evaluate]
    settings = len({each.cell.setting for each in results if each.train})
    return settings * sum(walls) / len(walls) if walls else 0.0


def _seconds(started_at: str) -> float:
    return datetime.fromisoformat(started_at).timestamp()


def summaries(group: Sequence[Result]) -> dict[str, Summary]:
    """Figure: its samples, one per repeat that ran whole. A figure that no repeat has is left out."""
    found = {name: samples(group, name) for name in FIGURES}
    return {name: summary({str(cell.repeat): value for cell, value in of.items()}) for name, of in found.items() if of}


def summary(samples: dict[str, float]) -> Summary:
    """Mean and sample standard deviation; one sample has no spread."""
    values = list(samples.values())
    return Summary(samples, statistics.fmean(values), statistics.stdev(values) if len(values) > 1 else None)
