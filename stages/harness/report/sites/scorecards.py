"""What DVC shows of a site: every setting's metrics, in means over its sessions, as a scorecard shows an image's."""

import json
from pathlib import Path

from stages import variables
from stages.harness import formatting
from stages.harness.results.metrics import declared
from stages.harness.sites import compare_sites, sessions
from stages.harness.sites.results import AtSite
from stages.records import SCORECARD_PATH, Metric


def files(site: str) -> dict[Path, str]:
    """Return the files of the site's experiment, with their texts."""
    return {SCORECARD_PATH: card(site)}


def card(site: str) -> str:
    """Return the text of the site's scorecard.json: by setting, each metric's mean, with its interval."""
    found = sessions.of_site(site)
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
