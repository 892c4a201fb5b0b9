"""For `dvc metrics diff` one image's metrics, under names that do not hold the image; for `dvc plots` the curves."""

import csv
import io
import json
from collections.abc import Iterable

from stages.harness import formatting
from stages.records import Comparison, SettingResult


def card(compared: Comparison, image: str) -> str:
    """Return the text of scorecard.json: by variant the metrics in means, with spreads and verdicts beside them."""
    found = {
        variant: _values(setting, compared) for (name, variant), setting in _settings(compared).items() if name == image
    }
    return json.dumps(found, indent=2, allow_nan=False) + "\n"


def _values(setting: SettingResult, compared: Comparison) -> dict[str, float | str]:
    """Metric: its mean; beside it, where there are such, its spread and how it compares with the baseline."""
    found: dict[str, float | str] = {}
    for name in compared.metrics:
        summary, ratio = setting.metrics.get(name), setting.ratios.get(name)
        if summary is None:
            continue
        found[name] = summary.mean
        if summary.spread is not None and compared.metrics[name].timed:
            found[f"{name}_spread"] = summary.spread
        if ratio is not None:
            found[f"{name}_vs_baseline"] = f"{ratio.verdict}, {formatting.ratio(ratio)}"
    return found


def curves(compared: Comparison, images: Iterable[str]) -> str:
    """Return the text of curves.csv: a row for each value of each span of each setting of these images."""
    wanted, text = {*images}, io.StringIO(newline="")
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow(["image", "setting", "epoch", "span", "name", "value"])
    for (image, variant), setting in _settings(compared).items():
        for point in setting.curve if image in wanted else ():
            writer.writerows([image, variant, point.epoch, point.span, *each] for each in point.values.items())
    return text.getvalue()


def _settings(compared: Comparison) -> dict[tuple[str, str], SettingResult]:
    """By image and variant, whose names have no slash."""
    return {tuple(each.setting.split("/", 1)): each for each in compared.settings}  # type: ignore[misc]
