"""From results to figures, and from figures to 'faster' or 'slower'. Pure arithmetic: no files, no clocks.

The total is the 2019 article's: the epochs of all training phases plus one prediction with test-time augmentation.
"""

import statistics
from collections.abc import Callable, Iterable, Sequence

from stages.harness.cells import Result
from stages.records import PHASES, Epoch, EvaluateResult, Ratio, SettingFigures, Summary, TrainResult

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


def compare(results: Sequence[Result], baseline: str) -> tuple[SettingFigures, ...]:
    """Every setting of `results`, in their order, against the setting `baseline`."""
    by_setting: dict[str, list[Result]] = {}
    for result in results:
        by_setting.setdefault(result.cell.setting, []).append(result)
    reference = summaries(by_setting[baseline])
    return tuple(_setting(name, group, baseline, reference) for name, group in by_setting.items())


def _setting(name: str, group: list[Result], baseline: str, reference: dict[str, Summary]) -> SettingFigures:
    figures = summaries(group)
    found = {} if name == baseline else ratios(figures, reference)
    trained = [result.train for result in group if result.train is not None]
    return SettingFigures(
        setting=name,
        status=setting_status([result.status for result in group]),
        reasons={str(result.cell.repeat): f"{result.status}: {result.reason}" for result in group if result.reason},
        devices=_distinct(train.environment.device for train in trained if train.environment),
        algorithms=_distinct(train.algorithm for train in trained if train.algorithm),
        figures=figures,
        ratios=found,
        outcome="baseline" if name == baseline else outcome(found.get(TOTAL)),
    )


def _distinct(values: Iterable[str]) -> tuple[str, ...]:
    return tuple(dict.fromkeys(values))


def setting_status(statuses: Sequence[str]) -> str:
    """One status for the repeats of a setting: 'partial' where some ran whole, else the gravest."""
    if "ok" in statuses:
        return "ok" if set(statuses) == {"ok"} else "partial"
    return next(status for status in ("failed", "refused", "unsupported", "missing") if status in statuses)


def summaries(group: Iterable[Result]) -> dict[str, Summary]:
    """Figure: its samples, one per repeat that ran whole. A figure that no repeat has is left out."""
    found: dict[str, Summary] = {}
    whole = [(str(result.cell.repeat), result.train, result.evaluate) for result in group]
    for name, figure in FIGURES.items():
        values = {repeat: figure(train, evaluate) for repeat, train, evaluate in whole if train and evaluate}
        samples = {repeat: value for repeat, value in values.items() if value is not None}
        if samples:
            found[name] = summary(samples)
    return found


def summary(samples: dict[str, float]) -> Summary:
    """Mean and sample standard deviation; one sample has no spread."""
    values = list(samples.values())
    return Summary(samples, statistics.fmean(values), statistics.stdev(values) if len(values) > 1 else None)


def ratios(figures: dict[str, Summary], reference: dict[str, Summary]) -> dict[str, Ratio]:
    """Figure: quotients with the reference, for figures that both have in a common repeat."""
    found = {
        name: ratio(figures[name].samples, reference[name].samples)
        for name in FIGURES
        if name in figures and name in reference
    }
    return {name: value for name, value in found.items() if value is not None}


def ratio(samples: dict[str, float], reference: dict[str, float]) -> Ratio | None:
    """Quotients of the repeats that both have; None where there is no such repeat.

    Repeats interleave, so that the same repeat of two settings ran under like conditions; the geometric mean says the
    same whichever of the two is the reference.
    """
    pairs = {repeat: value / reference[repeat] for repeat, value in samples.items() if reference.get(repeat)}
    quotients = list(pairs.values())
    if not quotients or min(quotients) <= 0:
        return None
    several = len(quotients) > 1
    return Ratio(
        pairs=pairs,
        mean=statistics.geometric_mean(quotients),
        lowest=min(quotients) if several else None,
        highest=max(quotients) if several else None,
    )


def outcome(total: Ratio | None) -> str:
    """What the repeats say with one voice: 'faster' or 'slower' needs two at least, and no other verdict among them."""
    if total is None:
        return "not compared"
    if total.lowest is None or total.highest is None:
        return "undecided"
    if total.highest < 1:
        return "faster"
    return "slower" if total.lowest > 1 else "undecided"
