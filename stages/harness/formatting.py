"""How figures are written: the same on a terminal, in Markdown and on the page."""

from stages.records import Machine, Ratio, Summary
from stages.units import amount

NONE = "-"  # where there is no figure


def seconds(value: float) -> str:
    """'8.31 s' below a minute, else minutes and seconds, '11:17'."""
    if value < 59.95:
        return f"{value:.1f} s" if value >= 10 else f"{value:.2f} s"
    minutes, rest = divmod(round(value), 60)
    return f"{minutes}:{rest:02d}"


def time(figure: Summary) -> str:
    """Mean and sample standard deviation; one sample has no spread."""
    return seconds(figure.mean) + ("" if figure.spread is None else f" ± {seconds(figure.spread)}")


def axis_seconds(value: float) -> str:
    """On an axis: '0.5 s', '12 s', '1:30'."""
    return f"{value:g} s" if value < 60 else seconds(value)


def rate(value: float) -> str:
    return f"{value:.1f}"


def share(value: float) -> str:
    """Of a whole: '92.7%'."""
    return f"{value:.1%}"


def whole_share(value: float) -> str:
    """'58%', where a tenth of a percent says nothing."""
    return f"{value:.0%}"


def loss(value: float) -> str:
    return f"{value:.3f}"


def speed(value: float, unit: str) -> str:
    """'1.2 Tflop/s', '10.4 GB/s', '118.2 images/s': rates in decimal units, as peaks are stated."""
    name = {"flop/s": "flop/s", "bytes/s": "B/s"}.get(unit)
    if name is None:
        return f"{rate(value)} {unit}"
    for factor_of, prefix in ((1e12, "T"), (1e9, "G"), (1e6, "M"), (1e3, "k")):
        if value >= factor_of:
            return f"{value / factor_of:.3g} {prefix}{name}"
    return f"{value:.3g} {name}"


def repeat(number: int) -> str:
    return f"repeat {number}"


def factor(value: float) -> str:
    """A ratio, to a tenth of a percent: margins are percents."""
    return f"{value:.3f}"


def ratio(found: Ratio) -> str:
    """'1.132 [1.101, 1.164]': the ratio and its confidence interval, if it has one."""
    if found.low is None or found.high is None:
        return factor(found.mean)
    return f"{factor(found.mean)} [{factor(found.low)}, {factor(found.high)}]"


def confidence(level: float) -> str:
    """'95%'."""
    return f"{100 * level:.3g}%"


def probability(value: float) -> str:
    """A p-value: '0.031', '<0.001'."""
    return "<0.001" if value < 0.001 else f"{value:.3f}"


def device(name: str, cpu: str | None = None) -> str:
    """What 'cpu' or the name of a GPU is called: a CPU is always called one."""
    if name != "cpu":
        return f"GPU {name}"
    return f"CPU ({cpu})" if cpu else "CPU"


def machine(found: Machine) -> str:
    """'AMD EPYC 7B12, 2 CPUs, 7.8 GiB of memory, no GPU'."""
    cpu, gpus = found.hardware.cpu, found.hardware.gpus
    memory = found.hardware.memory_bytes
    told = [cpu.model or f"a CPU ({cpu.architecture}) that does not tell its name"]
    told += [count(cpu.logical_cpus, "CPU")] if cpu.logical_cpus else []
    told += [f"{amount(memory)} of memory"] if memory else []
    return ", ".join([*told, *(f"GPU {gpu.title}" for gpu in gpus)] if gpus else [*told, "no GPU"])


def count(number: int, noun: str) -> str:
    return f"{number} {noun}{'' if number == 1 else 's'}"
