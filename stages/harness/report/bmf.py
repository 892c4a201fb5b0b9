"""A comparison as Bencher's JSON (BMF): https://bencher.dev/docs/reference/bencher-metric-format."""

import json
import math
from typing import Any

from scipy import stats

from stages.records import Comparison, Summary

MOST_LETTERS = 64  # of the name of a measure; that of a benchmark may have 1024


def text(compared: Comparison) -> str:
    """Write a benchmark for each setting and a measure for each metric: the mean, and the ends of its interval."""
    found = {
        setting.setting: {
            name[:MOST_LETTERS]: _measure(each, compared.confidence) for name, each in setting.metrics.items()
        }
        for setting in compared.settings
        if setting.metrics
    }
    return json.dumps(found, indent=2, allow_nan=False, ensure_ascii=False) + "\n"


def _measure(found: Summary, confidence: float) -> dict[str, Any]:
    if found.spread is None:
        return {"value": found.mean}
    repeats = len(found.samples)
    reach = float(stats.t.ppf((1 + confidence) / 2, repeats - 1)) * found.spread / math.sqrt(repeats)
    return {"value": found.mean, "lower_value": found.mean - reach, "upper_value": found.mean + reach}
