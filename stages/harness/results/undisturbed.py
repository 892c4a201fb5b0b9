"""What training steps take while nothing disturbs them: docs/statistics.md tells why it is measured, and why so."""

import math
from collections.abc import Sequence

import numpy

from stages.harness.results.read import StepTimes

FASTEST = 1 / 3  # of the steps of one name: what they do at their best, and no single lucky one
WARM_UP_OF_MORE_THAN = 4  # steps: then a span's first one, in which things are made ready, is not looked at


def seconds(steps: Sequence[StepTimes]) -> float:
    """Return what all these steps would take if each took the mean of the fastest of its span's name."""
    by_name: dict[str, list[tuple[float, ...]]] = {}
    for each in steps:
        by_name.setdefault(each.span, []).append(each.seconds)
    return sum(_of_one_name(spans) for spans in by_name.values())


def _of_one_name(spans: Sequence[tuple[float, ...]]) -> float:
    steady = [each[1:] if len(each) > WARM_UP_OF_MORE_THAN else each for each in spans]
    ordered = numpy.sort(numpy.concatenate(steady))
    return sum(map(len, spans)) * float(ordered[: math.ceil(FASTEST * len(ordered))].mean())
