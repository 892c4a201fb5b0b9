"""For `dvc metrics diff` one image's figures, under names that do not hold the image; for `dvc plots` the curves."""

import csv
import dataclasses
import io
import json
import statistics
from collections.abc import Sequence

from stages.harness.results.metrics import summaries
from stages.harness.results.read import Result
from stages.records import CurvePoint


def card(results: Sequence[Result], image: str) -> str:
    """The text of scorecard.json: means over the repeats of each setting of the image that ran whole."""
    found = {
        setting: {name: figure.mean for name, figure in summaries(group).items()}
        for (of, setting), group in _settings(results).items()
        if of == image
    }
    return json.dumps(found, indent=2, allow_nan=False) + "\n"


def curves(results: Sequence[Result], images: Sequence[str]) -> str:
    """The text of curves.csv: a row per image, setting and epoch."""
    text = io.StringIO(newline="")
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow(["image", "setting", *(field.name for field in dataclasses.fields(CurvePoint))])
    for (image, setting), group in _settings(results).items():
        if image in images:
            writer.writerows([image, setting, *dataclasses.astuple(point)] for point in curve(group))
    return text.getvalue()


def curve(group: Sequence[Result]) -> tuple[CurvePoint, ...]:
    """The epochs of one setting."""
    runs = [result.train.epochs for result in group if result.train is not None]
    return tuple(
        CurvePoint(
            number,
            same_epoch[0].phase,
            statistics.fmean(epoch.train_loss for epoch in same_epoch),
            statistics.fmean(epoch.valid_loss for epoch in same_epoch),
            statistics.fmean(epoch.accuracy for epoch in same_epoch),
        )
        for number, same_epoch in enumerate(zip(*runs, strict=True), start=1)
    )


def _settings(results: Sequence[Result]) -> dict[tuple[str, str], list[Result]]:
    """Results by image and by what of the setting's name is not the image."""
    groups: dict[tuple[str, str], list[Result]] = {}
    for result in results:
        image = result.cell.image
        groups.setdefault((image, result.cell.setting.removeprefix(image + "/")), []).append(result)
    return groups
