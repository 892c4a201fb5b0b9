"""One image's results under names that do not hold the image: what `dvc metrics diff` and `dvc plots diff` compare."""

import csv
import dataclasses
import io
import json
import statistics
from collections.abc import Sequence

from stages.harness.cells import Result
from stages.harness.figures import summaries


@dataclasses.dataclass(frozen=True)
class Point:
    """One epoch of a setting, counted from 1 over both phases: means over the repeats that ran whole."""

    epoch: int
    phase: str
    setting: str
    train_loss: float
    valid_loss: float
    accuracy: float


def of_image(results: Sequence[Result], image: str) -> tuple[str, str]:
    """The texts of scorecard.json and curves.csv: means over the repeats of each setting that ran whole."""
    groups: dict[str, list[Result]] = {}
    for result in results:
        if result.cell.image == image:
            groups.setdefault(result.cell.setting.removeprefix(image + "/"), []).append(result)
    card = {
        setting: {name: figure.mean for name, figure in summaries(group).items()} for setting, group in groups.items()
    }
    return json.dumps(card, indent=2, allow_nan=False) + "\n", _csv(
        [point for setting, group in groups.items() for point in curve(setting, group)]
    )


def curve(setting: str, group: Sequence[Result]) -> list[Point]:
    """The epochs of a setting, called by that name."""
    runs = [result.train.epochs for result in group if result.train is not None]
    return [
        Point(
            number,
            same_epoch[0].phase,
            setting,
            statistics.fmean(epoch.train_loss for epoch in same_epoch),
            statistics.fmean(epoch.valid_loss for epoch in same_epoch),
            statistics.fmean(epoch.accuracy for epoch in same_epoch),
        )
        for number, same_epoch in enumerate(zip(*runs, strict=True), start=1)
    ]


def _csv(points: Sequence[Point]) -> str:
    text = io.StringIO(newline="")
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow([field.name for field in dataclasses.fields(Point)])
    writer.writerows(dataclasses.astuple(point) for point in points)
    return text.getvalue()
