"""The limits of `compare.thresholds`: by how much a metric may become worse before `--against` calls it broken."""

import dataclasses
import re

from stages.codec import RecordError
from stages.records import Metric

FORM = re.compile(r"([+-]?)(\d+(?:\.\d+)?)(\s*%|\s+[^\W\d]\S*(?: \S+)*)")
EXPECTED = "a change with its unit in quotes, e.g. '5%' or '-0.5 points'"
PERCENT, POINTS = "%", "points"


@dataclasses.dataclass(frozen=True)
class Threshold:
    """A change for the worse that is still allowed: of a share of the metric, or in its own unit."""

    text: str
    sign: str  # '+', '-' or '': whichever is worse
    amount: float
    unit: str

    @property
    def is_relative(self) -> bool:
        """Whether it is a share of what the metric was."""
        return self.unit == PERCENT


def parse(text: str) -> Threshold | None:
    """Return what the text says; None where it says no change with a unit."""
    match = FORM.fullmatch(text.strip())
    return Threshold(text, match[1], float(match[2]), match[3].strip()) if match else None


def allowed(text: str, name: str, metric: Metric) -> tuple[Threshold, float]:
    """Return the threshold and the change for the worse that it allows: a share, or in the metric's unit.

    Raises RecordError where it is of another unit than the metric, of the direction that is better, or never broken.
    """
    found = parse(text)
    where = f"params.yaml: compare.thresholds.{name}"
    if found is None:
        raise RecordError(f"{where}: expected {EXPECTED}, found {text!r:.80}")
    worse = "+" if metric.better == "lower" else "-"
    if found.sign not in ("", worse):
        expected = f"a sign of {worse} or none, as {metric.better} is better"
        raise RecordError(f"{where}: expected {expected}, found {text!r:.80}")
    if found.is_relative and metric.better == "higher" and found.amount >= 100:
        raise RecordError(f"{where}: expected less than 100%, for it cannot fall by more, found {text!r:.80}")
    if found.is_relative:
        return found, found.amount / 100
    if found.unit == metric.unit:
        return found, found.amount
    if found.unit == POINTS and metric.unit == "share":
        return found, found.amount / 100
    own = "points" if metric.unit == "share" else metric.unit
    raise RecordError(f"{where}: expected a change in % or in {own}, found {text!r:.80}")
