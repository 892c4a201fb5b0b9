"""How values are written: the same on a terminal, in Markdown and on the page."""

from collections.abc import Callable
from typing import Any

from stages.records import Machine, Ratio, Summary
from stages.units import amount

# What a spreadsheet takes for the begin of a formula; its wide forms too, which some of them read alike.
FORMULA = ("=", "+", "-", "@", "\t", "\r", "\n", "＝", "＋", "－", "＠")  # noqa: RUF001 - that is what is meant
NONE = "-"  # where there is no value
# What the metrics are that a total time is put to people by.
WHAT_IT_IS = {
    "total_seconds": "what the job took",
    "undisturbed_seconds": "what its steps take undisturbed",
    "beyond_seconds": "what comes beyond them",
}
_TITLES = {
    "total_seconds": "total time",
    "undisturbed_seconds": "undisturbed steps",
    "beyond_seconds": "beyond the steps",
    "samples_per_second": "samples/s",
    "energy_joules": "energy",
    "cpu_joules": "energy of the CPUs",
    "joules_per_sample": "energy a sample",
}
ENERGIES = ("energy_joules", "joules_per_sample", "cpu_joules")
_PREFIXES = ((1e12, "T"), (1e9, "G"), (1e6, "M"), (1e3, "k"))
_PLAIN_UP_TO = 1e6  # larger numbers are written with an exponent


def value(number: float, unit: str) -> str:
    """Write a value in its metric's unit: '11:17', '92.7%', '1.5 GiB', '118 samples/s', '34.2 perplexity'."""
    write, after = in_unit(unit)
    return write(number) + after


def summary(found: Summary, unit: str) -> str:
    """Write mean and sample standard deviation; one sample has no spread."""
    write, after = in_unit(unit)
    return write(found.mean) + ("" if found.spread is None else f" ± {write(found.spread)}") + after


def in_unit(unit: str) -> tuple[Callable[[float], str], str]:
    """Choose what writes numbers of that unit, and what comes behind them."""
    form = _FORMS.get(unit)
    return (form, "") if form else (significant, f" {unit}")


def seconds(number: float) -> str:
    """'8.31 s' below a minute, else minutes and seconds, '11:17'."""
    if number < 59.95:
        return f"{number:.1f} s" if number >= 10 else f"{number:.2f} s"
    minutes, rest = divmod(round(number), 60)
    return f"{minutes}:{rest:02d}"


def axis_seconds(number: float) -> str:
    """Write seconds as an axis has them: '0.5 s', '12 s', '1:30'."""
    return f"{number:g} s" if number < 60 else seconds(number)


def share(number: float) -> str:
    """Write a part of a whole: '92.7%'."""
    return f"{number:.1%}"


def whole_share(number: float) -> str:
    """'58%', where a tenth of a percent says nothing."""
    return f"{number:.0%}"


def significant(number: float) -> str:
    """Write three digits that count, and all of those before the point: '0.0123', '34.2', '1342', '2.5e+07'."""
    return f"{number:.0f}" if 999.5 <= abs(number) < _PLAIN_UP_TO else f"{number:.3g}"


def speed(number: float, unit: str) -> str:
    """'1.2 Tflop/s', '10.4 GB/s', '118 samples/s': rates in decimal units, as peaks are stated."""
    name = {"flop/s": "flop/s", "bytes/s": "B/s", "J": "J"}.get(unit)
    if name is None:
        return value(number, unit)
    shown = float(f"{number:.3g}")  # 999.7 is 1 k
    size, prefix = next((each for each in _PREFIXES if shown >= each[0]), (1.0, ""))
    return f"{shown / size:.3g} {prefix}{name}"


def joules(number: float) -> str:
    """'845 J', '12.3 kJ'."""
    return speed(number, "J")


def title(name: str) -> str:
    """Name a metric in words: 'total time', 'samples/s', 'accuracy', 'peak process memory'."""
    return _TITLES.get(name) or name.removesuffix("_seconds").removesuffix("_bytes").replace("_", " ").strip() or name


def verdict(metric: str, found: str) -> str:
    """Put the verdict on a ratio of this metric: who takes less energy is not faster by that."""
    return {"faster": "less", "slower": "more"}.get(found, found) if metric in ENERGIES else found


def quantity(metric: str, better: str) -> str:
    """Say what a ratio of this metric is one of: 'time', 'rate' or 'energy'."""
    return "energy" if metric in ENERGIES else "rate" if better == "higher" else "time"


def repeat(number: int) -> str:
    """'repeat 3'."""
    return f"repeat {number}"


def factor(number: float) -> str:
    """Write a ratio to a tenth of a percent: margins are percents."""
    return f"{number:.3f}"


def ratio(found: Ratio) -> str:
    """'1.132 [1.101, 1.164]': the ratio and its confidence interval, if it has one."""
    if found.low is None or found.high is None:
        return factor(found.mean)
    return f"{factor(found.mean)} [{factor(found.low)}, {factor(found.high)}]"


def confidence(level: float) -> str:
    """'95%'."""
    return f"{100 * level:.3g}%"


def probability(number: float) -> str:
    """Write a p-value: '0.031', '<0.001'."""
    return "<0.001" if number < 0.001 else f"{number:.3f}"


def device(name: str, cpu: str | None = None) -> str:
    """Say what 'cpu' or the name of a GPU is: a CPU is always called one."""
    if name != "cpu":
        return f"GPU {name}"
    return f"CPU ({cpu})" if cpu else "CPU"


def machine(found: Machine) -> str:
    """'AMD EPYC 7B12, 2 CPUs, 7.8 GiB of memory, no GPU'."""
    cpu, gpus = found.hardware.cpu, found.hardware.gpus
    memory = found.hardware.memory_bytes
    parts = [cpu.model or f"a CPU ({cpu.architecture}) that does not tell its name"]
    parts += [count(cpu.logical_cpus, "CPU")] if cpu.logical_cpus else []
    parts += [f"{amount(memory)} of memory"] if memory else []
    return ", ".join([*parts, *(f"GPU {gpu.title}" for gpu in gpus)] if gpus else [*parts, "no GPU"])


def count(number: int, noun: str) -> str:
    """'1 pair', '3 pairs', '2 processes'."""
    ending = "" if number == 1 else "es" if noun.endswith("s") else "s"
    return f"{number} {noun}{ending}"


def harmless(value: Any) -> Any:
    """Return text that no spreadsheet takes for a formula; what is no text is as it was."""
    return f"'{value}" if isinstance(value, str) and is_formula(value) else value


def is_formula(text: str) -> bool:
    """Whether a spreadsheet that opens a file of such text would compute it."""
    return text.lstrip(" ").startswith(FORMULA)


_FORMS: dict[str, Callable[[float], str]] = {"seconds": seconds, "share": share, "bytes": amount, "joules": joules}
