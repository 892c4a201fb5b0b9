"""What training steps take while nothing disturbs them: docs/statistics.md tells why it is measured, and why so."""

from collections.abc import Sequence

import numpy

from stages.harness.results.read import StepTimes

QUANTILE = 0.25  # of the steps of one name: what most steps do at their best, and no single lucky one
WARM_UP_OF_MORE_THAN = 4  # steps: then a span's first one, in which things are made ready, is left out of the quantile


def seconds(steps: Sequence[StepTimes]) -> float:
    """Return what all these steps would take if each took the quantile of those of its span's name."""
    by_name: dict[str, list[tuple[float, ...]]] = {}
    for each in steps:
        by_name.setdefault(each.span, []).append(each.seconds)
    return sum(_of_one_name(spans) for spans in by_name.values())


def _of_one_name(spans: Sequence[tuple[float, ...]]) -> float:
    steady = [each[1:] if len(each) > WARM_UP_OF_MORE_THAN else each for each in spans]
    return sum(map(len, spans)) * float(numpy.quantile(numpy.concatenate(steady), QUANTILE))
