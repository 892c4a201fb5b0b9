"""One image's results under names that do not hold the image: what `dvc metrics diff` and `dvc plots diff` compare."""

import csv
import io
import json
import statistics
from collections.abc import Sequence

from stages.harness.cells import Result
from stages.harness.comparison import summaries

CURVE_COLUMNS = ("epoch", "phase", "setting", "train_loss", "valid_loss", "accuracy")


def of_image(results: Sequence[Result], image: str) -> tuple[str, str]:
    """The texts of scorecard.json and curves.csv: means over the repeats of each setting that ran whole."""
    groups: dict[str, list[Result]] = {}
    for result in results:
        if result.cell.image == image:
            groups.setdefault(result.cell.setting.removeprefix(image + "/"), []).append(result)
    card = {
        setting: {name: figure.mean for name, figure in summaries(group).items()} for setting, group in groups.items()
    }
    rows = [row for setting, group in groups.items() for row in _curve(setting, group)]
    return json.dumps(card, indent=2, allow_nan=False) + "\n", _csv(rows)


def _curve(setting: str, group: Sequence[Result]) -> list[tuple[object, ...]]:
    """A row per epoch, counted from 1 over both phases."""
    runs = [result.train.epochs for result in group if result.train is not None]
    return [
        (
            number,
            same_epoch[0].phase,
            setting,
            statistics.fmean(epoch.train_loss for epoch in same_epoch),
            statistics.fmean(epoch.valid_loss for epoch in same_epoch),
            statistics.fmean(epoch.accuracy for epoch in same_epoch),
        )
        for number, same_epoch in enumerate(zip(*runs, strict=True), start=1)
    ]


def _csv(rows: Sequence[tuple[object, ...]]) -> str:
    text = io.StringIO(newline="")
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow(CURVE_COLUMNS)
    writer.writerows(rows)
    return text.getvalue()
