"""Curves of what the job says of its spans: a panel for each name, a line for each setting."""

from collections.abc import Callable, Sequence

from matplotlib import ticker
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from stages.harness import formatting
from stages.harness.report.page.drawings import EDGE, NARROW, lines, shortened
from stages.harness.report.page.svg import COLOURS
from stages.records import Comparison, SettingResult

PANELS = 6  # more names are in the table alone
PANEL, BETWEEN, LEFT = 138, 56, 52  # px: height of one, from one to the next below, and for its numbers
STYLES = [
    (COLOURS[f"series-{number}"], marker, dashes)
    for dashes in ("-", (0, (6, 2)), (0, (2, 1.5)))
    for number, marker in zip(range(1, 7), "os^DvP", strict=True)
]


def curves(compared: Comparison, width: int) -> Figure:
    """Draw each name's values by epoch, means over the repeats, a line per setting."""
    names = drawn(compared)
    columns = 1 if width == NARROW or len(names) == 1 else 2
    found = [(index, each) for index, each in enumerate(compared.settings) if each.curve]
    in_row = 1 if width == NARROW else 2
    labels = ["\n".join(lines(each.setting, width // in_row - 40)) for _, each in found]
    rows = [labels[start : start + in_row] for start in range(0, len(labels), in_row)]
    legend = sum(max(label.count("\n") + 1 for label in row) * 12 + 5 for row in rows) + 12
    height = legend + (PANEL + BETWEEN) * -(-len(names) // columns)
    figure = Figure(figsize=(width / 72, height / 72), dpi=72)
    for place, name in enumerate(names):
        row, column = divmod(place, columns)
        bottom = height - legend - 18 - row * (PANEL + BETWEEN) - PANEL
        box = (column * width / columns + LEFT, bottom, width / columns - LEFT - EDGE, PANEL)
        axes = figure.add_axes((box[0] / width, box[1] / height, box[2] / width, box[3] / height))
        axes.set_title(shortened(formatting.title(name), int(box[2])), loc="left", fontsize=11, pad=5)
        _panel(axes, found, name, place, is_share(compared, name))
    figure.legend(
        figure.axes[0].get_lines(), labels, loc="upper left", ncols=in_row, bbox_to_anchor=(0, 1), borderpad=0.2,
        labelspacing=0.4, handlelength=2.6,
    )  # fmt: skip
    return figure


def value_names(compared: Comparison) -> list[str]:
    """Names of all values that any setting's spans say, in the order in which they come."""
    points = [point for each in compared.settings for point in each.curve]
    return list(dict.fromkeys(name for point in points for name in point.values))


def drawn(compared: Comparison) -> list[str]:
    """Names of the values that there is a panel for."""
    return value_names(compared)[:PANELS]


def is_share(compared: Comparison, name: str) -> bool:
    """Whether the job declares a metric of that name as a share: then its curve is in percent too."""
    return name in compared.metrics and compared.metrics[name].unit == "share"


def writer(compared: Comparison, name: str) -> Callable[[float], str]:
    """Choose what writes the values of that name."""
    return formatting.share if is_share(compared, name) else formatting.significant


def _panel(axes: Axes, found: Sequence[tuple[int, SettingResult]], name: str, place: int, share: bool) -> None:
    """Draw one name's lines. A setting that does not say it has one without points, for the legend."""
    for number, (index, setting) in enumerate(found):
        colour, marker, dashes = STYLES[number % len(STYLES)]
        points = [(point.epoch, point.values[name]) for point in setting.curve if name in point.values]
        epochs, values = [epoch for epoch, _ in points], [each for _, each in points]
        (line,) = axes.plot(
            epochs, values, color=colour, marker=marker, linestyle=dashes, markersize=4.5, linewidth=1.5
        )
        line.set_gid(f"curve-{index}-{place}")
    axes.set_xlabel("epoch", labelpad=1)
    axes.xaxis.set_major_locator(ticker.MaxNLocator(6, integer=True, min_n_ticks=1))
    axes.yaxis.set_major_locator(ticker.MaxNLocator(4))
    axes.margins(x=0.06, y=0.1)
    axes.yaxis.set_major_formatter(ticker.PercentFormatter(1, None) if share else _as_short_as_can_be(axes))
    axes.grid(linewidth=0.6)
    for side in ("right", "top"):
        axes.spines[side].set_visible(False)


def _as_short_as_can_be(axes: Axes) -> ticker.Formatter:
    """Write the axis's numbers with as few digits as tell them apart."""
    ticks = list(axes.get_yticks())
    step = abs(ticks[-1] - ticks[0]) / 100 / len(ticks)
    close = (each for each in range(1, 8) if all(abs(float(f"{tick:.{each}g}") - tick) <= step for tick in ticks))
    digits = next(close, 8)
    return ticker.FuncFormatter(lambda tick, _: f"{tick:.{digits}g}" if abs(tick) > step else "0")
