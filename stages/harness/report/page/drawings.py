"""What the page draws of a comparison. Every function draws for a width in CSS pixels, a phone's or a desktop's.

A row stands below its own label, so that long names need no margin and the same drawing suits a narrow page.
"""

import textwrap
from collections.abc import Callable, Mapping, Sequence
from typing import Any

from matplotlib import ticker
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.patches import Patch
from matplotlib.ticker import Formatter

from stages.harness import formatting
from stages.harness.report.page.svg import COLOURS
from stages.harness.results.metrics import TOTAL
from stages.records import Comparison, PhaseSteps, Ratio, SettingFigures, Split

WIDE, NARROW = 500, 300
PHASES = {  # that the total is made of
    "frozen_seconds": "frozen epochs",
    "unfrozen_seconds": "unfrozen epochs",
    "predict_tta_seconds": "prediction with TTA",
}
SPLIT = {
    "wait_seconds": "waits for the loader",
    "copy_seconds": "copies to the device",
    "compute_seconds": "computes",
    "other_seconds": "the rest",
}
FILLS = tuple(zip((COLOURS[f"fill-{number}"] for number in range(1, 5)), ("", "///", "|||", "xx"), strict=True))
MARKERS = {"faster": "<", "slower": ">", "equivalent": "s", "inconclusive": "D", "cannot say": "o"}
OPEN_MARKERS = ("inconclusive", "cannot say")  # not settled: not filled
PHASES_UP_TO = 4  # settings: with more, a drawing of their phases too would be a wall
EDGE = 8  # around a drawing, px
LINE = 14  # of text, px
LETTER, BOLD_LETTER = 6.2, 6.9  # mean width of one in a label, px


class _Rows:
    """A drawing that is filled from the top, row by row, in px; the x axis is the data's."""

    def __init__(self, width: int, height: float, top: float = 0, bottom: float = 34) -> None:
        whole = top + height + bottom
        self.width = width
        self.figure = Figure(figsize=(width / 72, whole / 72), dpi=72)
        box = (EDGE / width, bottom / whole, 1 - 2 * EDGE / width, height / whole)
        self.axes: Axes = self.figure.add_axes(box)
        self.axes.set_ylim(height, 0)
        self.axes.yaxis.set_visible(False)
        for side in ("left", "right", "top"):
            self.axes.spines[side].set_visible(False)

    def label(self, text: str, y: float, x: float = 0, **options: Any) -> None:
        """A line of text; x in shares of the width."""
        self.axes.text(x, y, text, transform=self.axes.get_yaxis_transform(), va="center", **options)

    def heading(self, name: str, said: str, y: float) -> float:
        """A name and what is said of it, on one line where there is room; the middle of the line below."""
        for line in lines(name, self.width):
            self.label(line, y, weight="bold")
            y += LINE
        if _on_one_line(name, said, self.width):
            self.label(said, y - LINE, x=1, ha="right")
            return y
        self.label(said, y)
        return y + LINE


def _on_one_line(name: str, said: str, width: int) -> bool:
    return len(name) * BOLD_LETTER + len(said) * LETTER + 2 * EDGE + 10 <= width


def heading_height(name: str, said: str, width: int) -> float:
    return (len(lines(name, width)) + (not _on_one_line(name, said, width))) * LINE


def lines(text: str, width: int) -> list[str]:
    """The text, broken for that width between words or behind a slash."""
    broken = textwrap.wrap(text.replace("/", "/ "), int((width - 2 * EDGE) / BOLD_LETTER))
    return [line.replace("/ ", "/") for line in broken]


# --------------------------------------------------------------------------------------------------------- ratios


def forest(compared: Comparison, width: int) -> Figure:
    """Ratios to the baseline with their intervals, on a logarithmic axis, each over a band as wide as the margin."""
    rows = [(label, compared.settings[index].ratios[name], index, name) for index, label, name in forest_rows(compared)]
    drawing = _Rows(width, sum(_forest_height(*row, width) for row in rows), top=20)
    _ratio_axis(drawing.axes, compared.margin, [ratio for _, ratio, _, _ in rows])
    y = 0.0
    for row in rows:
        _forest_row(drawing, y, compared.margin, *row)
        y += _forest_height(*row, width)
    axes = drawing.axes
    axes.annotate("◂ faster", (0, 1), (0, 5), xycoords="axes fraction", textcoords="offset points")
    axes.annotate("slower ▸", (1, 1), (0, 5), xycoords="axes fraction", textcoords="offset points", ha="right")
    return drawing.figure


def forest_rows(compared: Comparison) -> list[tuple[int, str, str]]:
    """(index of the setting, label, figure): the total of each, and where there are few, its phases below it."""
    rivals = [index for index, each in enumerate(compared.settings) if TOTAL in each.ratios]
    shown = PHASES if len(rivals) <= PHASES_UP_TO else {}
    rows = []
    for index in rivals:
        rows.append((index, compared.settings[index].setting, TOTAL))
        rows += [(index, label, name) for name, label in shown.items() if name in compared.settings[index].ratios]
    return rows


def _forest_height(label: str, ratio: Ratio, _index: int, figure: str, width: int) -> float:
    return heading_height(label, _said(ratio), width) + (34 if figure == TOTAL else 24)


def _said(ratio: Ratio) -> str:
    return f"{formatting.ratio(ratio)} {ratio.verdict}"


def _forest_row(drawing: _Rows, y: float, margin: float, label: str, ratio: Ratio, index: int, figure: str) -> None:
    """One ratio on a strip, below its label; what is of the total is larger."""
    size, thick = (8, 9) if figure == TOTAL else (5.5, 6)
    y = drawing.heading(label, _said(ratio), y + LINE) + thick / 2 - 3
    axes, colour = drawing.axes, COLOURS.get(ratio.verdict, COLOURS["ink"])
    axes.fill_betweenx([y - thick, y + thick], *axes.get_xlim(), color=COLOURS["paper"], linewidth=0, zorder=1)
    axes.fill_betweenx(
        [y - thick, y + thick], 1 / (1 + margin), 1 + margin, color=COLOURS["band"], linewidth=0, zorder=1
    )
    axes.plot([1, 1], [y - thick, y + thick], color=COLOURS["ink"], linewidth=1, zorder=2)
    if ratio.low is not None and ratio.high is not None:
        (interval,) = axes.plot(
            [ratio.low, ratio.high], [y, y], color=colour, linewidth=size / 4, solid_capstyle="butt"
        )
        interval.set_gid(f"interval-{index}-{figure}")
        axes.plot([ratio.low, ratio.high], [y, y], "|", color=colour, markersize=size)
    filled = COLOURS["paper"] if ratio.verdict in OPEN_MARKERS else colour
    marker = MARKERS[ratio.verdict]
    (point,) = axes.plot([ratio.mean], [y], marker, markersize=size, color=colour, markerfacecolor=filled, zorder=4)
    point.set_gid(f"ratio-{index}-{figure}")


def _ratio_axis(axes: Axes, margin: float, ratios: Sequence[Ratio]) -> None:
    ends = [end for each in ratios for end in (each.low or each.mean, each.high or each.mean)]
    low, high = min(*ends, 1 / (1 + 2 * margin)), max(*ends, 1 + 2 * margin)
    room = (high / low) ** 0.06
    axes.set_xscale("log")
    axes.set_xlim(low / room, high * room)
    ticks = ticker.MaxNLocator(nbins=5, steps=[1, 2, 5, 10]).tick_values(low, high)
    axes.xaxis.set_major_locator(ticker.FixedLocator([each for each in ticks if low / room <= each <= high * room]))
    axes.xaxis.set_major_formatter(ticker.FuncFormatter(lambda value, _: f"{value:g}"))
    axes.xaxis.set_minor_locator(ticker.NullLocator())
    axes.set_xlabel("time as a multiple of the baseline's")


# ----------------------------------------------------------------------------------------------------------- bars


def phases(compared: Comparison, width: int) -> Figure:
    """The mean total time of each setting, stacked from its phases, and the spread of its repeats."""
    rows = [(index, each) for index, each in enumerate(compared.settings) if TOTAL in each.figures]
    drawing = _bars([(each.setting, formatting.time(each.figures[TOTAL])) for _, each in rows], width, PHASES)
    axes = drawing.axes
    longest = max(each.figures[TOTAL].mean + (each.figures[TOTAL].spread or 0) for _, each in rows)
    axes.set_xlim(0, longest * 1.02)
    axes.xaxis.set_major_locator(_time_locator(longest))
    axes.xaxis.set_major_formatter(ticker.FuncFormatter(lambda value, _: formatting.axis_seconds(value)))
    y = _TOP
    for index, setting in rows:
        total = setting.figures[TOTAL]
        y = drawing.heading(setting.setting, formatting.time(total), y) + 4
        parts = [(name, setting.figures[name].mean) for name in PHASES if name in setting.figures]
        _stack(drawing, y, str(index), parts, PHASES, formatting.seconds)
        if total.spread:
            axes.errorbar([total.mean], [y], xerr=[total.spread], color=COLOURS["ink"], capsize=3, linewidth=1.2)
        y += _BELOW_BAR
    return drawing.figure


def _time_locator(longest: float) -> ticker.Locator:
    """Round seconds, and above a minute round minutes."""
    if longest < 60:
        return ticker.MaxNLocator(4)
    step = next((each for each in (15, 30, 60, 120, 300, 600, 900, 1800) if 4.5 * each >= longest), 3600)
    return ticker.MultipleLocator(step * -(-longest // (4.5 * step)) if step == 3600 else step)


def split(compared: Comparison, width: int) -> Figure:
    """Where the time of each setting's training steps went, in shares of them: a bar for each phase."""
    rows = split_rows(compared)
    drawing = _bars([(label, steps.kind) for _, label, _, steps in rows], width, SPLIT)
    drawing.axes.set_xlim(0, 1)
    drawing.axes.xaxis.set_major_formatter(ticker.PercentFormatter(1, 0))
    y = _TOP
    for index, label, phase, steps in rows:
        y = drawing.heading(label, steps.kind, y) + 4
        parts = [(part, share(steps.split, part)) for part in SPLIT]
        _stack(drawing, y, f"{index}-{phase}", parts, SPLIT, formatting.whole_share)
        y += _BELOW_BAR
    return drawing.figure


def split_rows(compared: Comparison) -> list[tuple[int, str, str, PhaseSteps]]:
    """(index of the setting, label, phase, its steps)"""
    return [
        (index, f"{each.setting}, {phase}" if len(each.bottleneck.phases) > 1 else each.setting, phase, steps)
        for index, each in enumerate(compared.settings)
        if each.bottleneck
        for phase, steps in each.bottleneck.phases.items()
    ]


def share(of: Split, part: str) -> float:
    """Of the time of the steps."""
    return float(getattr(of, part)) / of.seconds


_TOP, _BAR, _BELOW_BAR = 12.0, 18.0, 32.0


def _bars(names: Sequence[tuple[str, str]], width: int, parts: Mapping[str, str]) -> _Rows:
    """Room for a bar below each name and what is said of it, with a legend of the bars' parts above."""
    columns = len(parts) if len(parts) < 4 and width == WIDE else 2
    legend = 18 * -(-len(parts) // columns) + 8
    height = sum(heading_height(name, said, width) + 4 + _BELOW_BAR for name, said in names)
    drawing = _Rows(width, height, top=legend, bottom=26)
    drawing.figure.legend(
        [
            Patch(facecolor=colour, hatch=hatch, edgecolor=COLOURS["on-fill"], linewidth=0.8)
            for colour, hatch in FILLS[: len(parts)]
        ],
        list(parts.values()),
        loc="upper left",
        ncols=columns,
        bbox_to_anchor=(0, 1),
        borderpad=0.2,
        handlelength=1.6,
        columnspacing=1.4,
    )
    return drawing


def _stack(
    drawing: _Rows,
    y: float,
    name_of_bar: str,
    parts: Sequence[tuple[str, float]],
    order: Mapping[str, str],
    words: Callable[[float], str],
) -> None:
    """The parts of a bar end to end, each with its figure where there is room for it."""
    left, whole = 0.0, drawing.axes.get_xlim()[1]
    for name, value in parts:
        colour, hatch = FILLS[list(order).index(name)]
        edge: dict[str, Any] = {"edgecolor": COLOURS["on-fill"], "linewidth": 0.8}
        (bar,) = drawing.axes.barh([y], [value], _BAR, left, color=colour, hatch=hatch, **edge)
        bar.set_gid(f"bar-{name_of_bar}-{name}")
        text = words(value)
        if value / whole * drawing.width > LETTER * len(text) + 14:
            box: dict[str, Any] = {"facecolor": colour, "edgecolor": "none", "pad": 1.5}
            middle: dict[str, Any] = {
                "ha": "center",
                "va": "center",
                "size": 10,
                "bbox": box,
                "color": COLOURS["on-fill"],
            }
            drawing.axes.text(left + value / 2, y, text, **middle)
        left += value


# --------------------------------------------------------------------------------------------------------- curves

STYLES = [
    (COLOURS[f"series-{number}"], marker, dashes)
    for dashes in ("-", (0, (6, 2)), (0, (2, 1.5)))
    for number, marker in zip(range(1, 7), "os^DvP", strict=True)
]


def curves(compared: Comparison, width: int) -> Figure:
    """Validation loss and accuracy by epoch, means over the repeats, a line per setting."""
    columns = 1 if width == NARROW else 2
    found = [(index, each) for index, each in enumerate(compared.settings) if each.curve]
    labels = ["\n".join(lines(each.setting, width // columns - 40)) for _, each in found]
    rows = [labels[start : start + columns] for start in range(0, len(labels), columns)]
    legend = sum(max(label.count("\n") + 1 for label in row) * 12 + 5 for row in rows) + 12
    panel, between = 150, 44
    height = legend + (panel + between) * (3 - columns)
    figure = Figure(figsize=(width / 72, height / 72), dpi=72)
    for place, (title, value, form) in enumerate(CURVES):
        left = 38 if columns == 1 or place == 0 else width / 2 + 42
        top = legend + 18 + (place * (panel + between) if columns == 1 else 0)
        across = (width if columns == 1 else width / 2) - 38 - EDGE - (0 if columns == 1 or place == 0 else 4)
        box = (left / width, 1 - (top + panel - 12) / height, across / width, (panel - 12) / height)
        _panel(figure.add_axes(box), found, title, value, form)
    handles = figure.axes[0].get_lines()
    figure.legend(
        handles, labels, loc="upper left", ncols=columns, bbox_to_anchor=(0, 1), borderpad=0.2, labelspacing=0.4,
        handlelength=2.6,
    )  # fmt: skip
    return figure


CURVES = (
    ("validation loss", "valid_loss", ticker.FuncFormatter(lambda value, _: f"{value:.3g}")),
    ("accuracy", "accuracy", ticker.PercentFormatter(1, None)),
)


def _panel(axes: Axes, found: Sequence[tuple[int, SettingFigures]], title: str, value: str, form: Formatter) -> None:
    for place, (index, setting) in enumerate(found):
        colour, marker, dashes = STYLES[place % len(STYLES)]
        points = [(point.epoch, getattr(point, value)) for point in setting.curve]
        (line,) = axes.plot(
            *zip(*points, strict=True), color=colour, marker=marker, linestyle=dashes, markersize=4.5, linewidth=1.5
        )
        line.set_gid(f"curve-{index}-{value}")
    axes.set_title(title, loc="left", fontsize=11, pad=5)
    axes.set_xlabel("epoch", labelpad=1)
    axes.xaxis.set_major_locator(ticker.MaxNLocator(6, integer=True, min_n_ticks=1))
    axes.yaxis.set_major_locator(ticker.MaxNLocator(4))
    axes.yaxis.set_major_formatter(form)
    axes.grid(linewidth=0.6)
    axes.margins(x=0.06, y=0.1)
    for side in ("right", "top"):
        axes.spines[side].set_visible(False)
