"""What DVC shows of a site: every setting's metrics, in means over its sessions, as a scorecard shows an image's."""

import csv
import io
import json
import math
from collections.abc import Sequence
from pathlib import Path

from stages import variables
from stages.harness import formatting
from stages.harness.results.metrics import curve, declared
from stages.harness.sites import compare_sites, names, sessions
from stages.harness.sites.results import AtSite
from stages.harness.sites.sessions import Session
from stages.records import CURVES_PATH, DATASET_PATH, SCORECARD_PATH, Metric


def files(site: str) -> dict[Path, str]:
    """Return the files of the site's experiment, with their texts: all that `dvc metrics` and `dvc plots` show."""
    found = sessions.of_site(site)
    return {
        SCORECARD_PATH: card(found),
        CURVES_PATH: curves(site, found),
        DATASET_PATH: _dataset(names.session_dirs(site)[-1] / DATASET_PATH),
    }


def curves(site: str, found: Sequence[Session]) -> str:
    """Return the text of curves.csv, where the site stands in an image's place."""
    text = io.StringIO(newline="")
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow(["image", "setting", "epoch", "span", "name", "value"])
    for setting in dict.fromkeys(cell.setting for each in found for cell in each.params.cells()):
        for point in curve([result for each in found for result in each.of_setting(setting)]):
            for name, value in point.values.items():
                writer.writerow(
                    [site, setting, point.epoch, formatting.harmless(point.span), formatting.harmless(name), value]
                )
    return text.getvalue()


def _dataset(path: Path) -> str:
    """Return the numbers of the data, as far as a session's file has some."""
    try:
        content = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError, RecursionError):
        content = {}
    numbers = {
        str(name): each
        for name, each in (content.items() if isinstance(content, dict) else ())
        if isinstance(each, int | float) and math.isfinite(each)
    }
    return json.dumps(numbers, indent=2) + "\n"


def card(found: Sequence[Session]) -> str:
    """Return the text of the site's scorecard.json: by setting, each metric's mean, with its interval."""
    job = found[0].job
    metrics = declared(job, [result for each in found for result in each.results])
    values = compare_sites.values(found, metrics)
    shown = {
        variables.shown(setting): {
            key: value for name, at in each.items() for key, value in _of_metric(name, at, metrics[name]).items()
        }
        for setting, each in values.items()
    }
    return json.dumps(shown, indent=2, allow_nan=False, ensure_ascii=False) + "\n"


def _of_metric(name: str, at: AtSite, metric: Metric) -> dict[str, float | str]:
    """Return the mean, and beside it over how many sessions, with its interval."""
    write, _ = formatting.in_unit(metric.unit)
    words = formatting.count(len(at.sessions), "session")
    if at.low is not None and at.high is not None:
        words = f"[{write(at.low)}, {write(at.high)}], {words}"
    return {name: at.mean, f"{name}_sessions": words}
