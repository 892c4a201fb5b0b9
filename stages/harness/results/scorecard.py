"""What DVC shows: one image's metrics, under names that do not hold the image, and the curves of all."""

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
    return json.dumps(found, indent=2, allow_nan=False, ensure_ascii=False) + "\n"


def _values(setting: SettingResult, compared: Comparison) -> dict[str, float | str]:
    """Return each metric's mean, with its spread and, of a timed one, how it compares with the baseline."""
    found: dict[str, float | str] = {}
    for name, metric in compared.metrics.items():
        summary, ratio = setting.metrics.get(name), setting.ratios.get(name)
        if summary is None:
            continue
        found[name] = summary.mean
        write, _ = formatting.in_unit(metric.unit)
        spread = [] if summary.spread is None else [f"± {write(summary.spread)}"]
        if metric.timed:
            said = "the baseline" if setting.setting == compared.baseline else "cannot say"
            said = f"{formatting.verdict(name, ratio.verdict)}, {formatting.ratio(ratio)}" if ratio else said
            found[f"{name}_verdict"] = "; ".join([*spread, said])
        elif spread:
            found[f"{name}_spread"] = spread[0]
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
    """Return the settings by image and variant, whose names have no slash."""
    return {tuple(each.setting.split("/", 1)): each for each in compared.settings}  # type: ignore[misc]
