"""Which metrics of a comparison are shown where: what a metric is, its name and its declaration say."""

from collections.abc import Callable
from functools import partial

from stages.harness import formatting
from stages.harness.results.metrics import (
    BEYOND,
    CPU_ENERGY,
    ENERGY,
    MEMORY,
    RATE,
    SPAN_SUFFIX,
    TOGETHER,
    TOTAL,
    UNDISTURBED,
)
from stages.records import WALL, Comparison, Metric

OWN_IN_TABLE = 2  # of the job's own metrics, the first ones
TIMES = (TOTAL, UNDISTURBED, BEYOND)  # in which a total is put to people
TIMES_WORDS = (
    "What the job took is its whole time, with all that the machine did meanwhile; what its steps take undisturbed "
    "leaves out what comes now and then. What comes beyond them is the rest: first steps, waits, pauses, validation."
)
ENERGY_WORDS = {
    ENERGY: "Energy is that of all cards that a command could see, what they take idle and whatever else ran on them "
    "in it; whether it was counted or sampled is in each result.",
    CPU_ENERGY: "Energy of the CPUs is that of all processor packages while the training's command ran, what they take "
    "idle and whatever else ran on them in it.",
}
BY_THEMSELVES = (*TIMES, RATE, *formatting.ENERGIES, MEMORY, TOGETHER)
_SPAN = Metric("seconds", "lower", True)


def own(compared: Comparison) -> list[str]:
    """Metrics that the job declares, in its order."""
    return [name for name in compared.metrics if name not in (*BY_THEMSELVES, *spans(compared))]


def spans(compared: Comparison) -> list[str]:
    """Metrics that are the time of all spans of one name."""
    return [
        name
        for name, metric in compared.metrics.items()
        if metric == _SPAN and name.endswith(SPAN_SUFFIX) and name not in TIMES
    ]


def times(compared: Comparison) -> list[str]:
    """Metrics of the total, of its steps and of what comes beyond them; none without verdicts by steps."""
    return [*TIMES] if has_ratio(compared, UNDISTURBED) else []


def of_total(compared: Comparison) -> list[str]:
    """Metrics that add up to the total time; none where that is a wall clock's."""
    return [] if compared.total == WALL else [name + SPAN_SUFFIX for name in compared.total]


def in_table(compared: Comparison) -> list[str]:
    """Metrics that the table of verdicts shows beside the total time."""
    return [name for name in compared.metrics if name in (RATE, ENERGY)] + own(compared)[:OWN_IN_TABLE]


def others(compared: Comparison) -> list[str]:
    """Metrics that are there by themselves, beside the total."""
    return [name for name in compared.metrics if name != TOTAL and name not in own(compared)]


def words(name: str, compared: Comparison) -> Callable[[float], str]:
    """Choose what writes a metric below its title, which has the rate's unit."""
    return formatting.significant if name == RATE else partial(formatting.value, unit=compared.metrics[name].unit)


def energy_words(compared: Comparison) -> list[str]:
    """Say of what the energies are that are shown."""
    return [words for name, words in ENERGY_WORDS.items() if name in compared.metrics]


def has_ratio(compared: Comparison, name: str) -> bool:
    """Whether any setting is compared with the baseline by this metric."""
    return any(name in setting.ratios for setting in compared.settings)


def has_devices(compared: Comparison) -> bool:
    """Whether any setting says what it ran on."""
    return any(setting.devices for setting in compared.settings)


def total_words(compared: Comparison) -> str:
    """Say what the total time is made of."""
    if compared.total == WALL:
        return "The total time is the wall clock of the training's command."
    if len(compared.total) == 1:
        return f"The total time is that of the spans {compared.total[0]!r}."
    return f"The total time is the sum of the spans {', '.join(map(repr, compared.total))}."
