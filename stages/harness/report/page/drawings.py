"""Ratios and bars of a comparison. Every function draws for a width in CSS pixels, a phone's or a desktop's.

A row stands below its own label, so that long names need no margin and the same drawing suits a narrow page.
"""

import textwrap
from collections.abc import Callable, Iterable, Sequence
from typing import Any

from matplotlib import ticker
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.patches import Patch

from stages.harness import formatting
from stages.harness.report import shown
from stages.harness.report.page.svg import COLOURS
from stages.harness.results.metrics import TOTAL
from stages.records import Comparison, Ratio, SettingResult, SpanSteps

WIDE, NARROW = 500, 300
SPLIT = {
    "wait_seconds": "waits for the loader",
    "copy_seconds": "copies to the device",
    "compute_seconds": "computes",
    "other_seconds": "the rest",
}
LAUNCH = "launch_seconds"  # a part of compute_seconds
HATCHES = ("", "///", "|||", "xx", "..")
FILLS = tuple(zip((COLOURS[f"fill-{number}"] for number in range(1, 6)), HATCHES, strict=True))
SPLIT_FILLS = dict(zip((*SPLIT, LAUNCH), FILLS, strict=True))  # of a part, the same on every page
SPANS_ALONE = 4  # in the drawing of times; of more, the shortest are put together
MARKERS = {"faster": "<", "slower": ">", "equivalent": "s", "inconclusive": "D", "cannot say": "o"}
OPEN_MARKERS = ("inconclusive", "cannot say")  # not settled: not filled
ROWS_UP_TO = 4  # settings, and spans of each: with more, a drawing of spans too would be a wall
EDGE = 8  # around a drawing, px
LINE = 14  # of text, px
LETTER, BOLD_LETTER, SMALL_LETTER = 6.2, 6.9, 5.4  # mean width of one in a label, px


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
        """Write a line of text; x in shares of the width."""
        self.axes.text(x, y, text, transform=self.axes.get_yaxis_transform(), va="center", **options)

    def heading(self, name: str, words: str, y: float, weight: str = "bold") -> float:
        """Write a name and what is said of it, on one line where there is room; return the middle of the line below."""
        for line in lines(name, self.width):
            self.label(line, y, weight=weight)
            y += LINE
        if _on_one_line(name, words, self.width):
            self.label(words, y - LINE, x=1, ha="right")
            return y
        self.label(words, y)
        return y + LINE


def _on_one_line(name: str, words: str, width: int) -> bool:
    return len(name) * BOLD_LETTER + len(words) * LETTER + 2 * EDGE + 10 <= width


def shortened(text: str, width: int) -> str:
    """Cut the text where it needs more than that width."""
    letters = max(int(width / SMALL_LETTER), 4)
    return text if len(text) <= letters else text[: letters - 1] + "…"


def heading_height(name: str, words: str, width: int) -> float:
    return (len(lines(name, width)) + (not _on_one_line(name, words, width))) * LINE


def lines(text: str, width: int) -> list[str]:
    """Break the text for that width between words or behind a slash."""
    broken = textwrap.wrap(text.replace("/", "/ "), int((width - 2 * EDGE) / BOLD_LETTER))
    return [line.replace("/ ", "/") for line in broken]


# --------------------------------------------------------------------------------------------------------- ratios


def forest(compared: Comparison, width: int) -> Figure:
    """Draw ratios to the baseline and their intervals on a logarithmic axis, over a band as wide as the margin."""
    rows = [
        (label, compared.settings[index].ratios[name], f"{index}-{place_of(compared, name)}", name == TOTAL)
        for index, label, name in forest_rows(compared)
    ]
    return forest_of(rows, compared.margin, width)


def forest_of(rows: Sequence[tuple[str, Ratio, str, bool]], margin: float, width: int) -> Figure:
    """Draw rows of (label, ratio, what it is called in an id, whether it is a total's)."""
    drawing = _Rows(width, sum(_forest_height(*row, width) for row in rows), top=20)
    _ratio_axis(drawing.axes, margin, [ratio for _, ratio, _, _ in rows])
    y = 0.0
    for row in rows:
        _forest_row(drawing, y, margin, *row)
        y += _forest_height(*row, width)
    axes = drawing.axes
    axes.annotate("◂ faster", (0, 1), (0, 5), xycoords="axes fraction", textcoords="offset points")
    axes.annotate("slower ▸", (1, 1), (0, 5), xycoords="axes fraction", textcoords="offset points", ha="right")
    return drawing.figure


def forest_rows(compared: Comparison) -> list[tuple[int, str, str]]:
    """List (index of the setting, label, metric): the total of each, and the steps where they decide.

    Where there are few settings, steps and what comes beyond them are below each total, and spans if they are few too.
    """
    rivals = [index for index, each in enumerate(compared.settings) if TOTAL in each.ratios]
    spans = shown.of_total(compared) or shown.spans(compared)
    few_settings = len(rivals) <= ROWS_UP_TO
    few = few_settings and len(spans) <= ROWS_UP_TO and len(shown.of_total(compared)) != 1
    rows = []
    for index in rivals:
        setting = compared.settings[index]
        rows.append((index, setting.setting, TOTAL))
        parts = [name for name in shown.times(compared)[1:] if few_settings or name == setting.verdict_by]
        names = [*parts, *(spans if few else ())]
        rows += [(index, formatting.title(name), name) for name in names if name in setting.ratios]
    return rows


def place_of(compared: Comparison, metric: str) -> int:
    """Count the metrics before it: what it is called in an id, as its name may hold anything."""
    return list(compared.metrics).index(metric)


def _forest_height(label: str, ratio: Ratio, _name: str, is_total: bool, width: int) -> float:
    return heading_height(label, _words(ratio), width) + (36 if is_total else 24)


def _words(ratio: Ratio) -> str:
    return f"{formatting.ratio(ratio)} {ratio.verdict}"


def _forest_row(drawing: _Rows, y: float, margin: float, label: str, ratio: Ratio, name: str, is_total: bool) -> None:
    """Draw one ratio on a strip, below its label; a total's is larger."""
    size, thick = (8, 9) if is_total else (5.5, 6)
    weight, above = ("bold", 7) if is_total else ("normal", 0)
    y = drawing.heading(label, _words(ratio), y + LINE + above, weight) + thick / 2 - 3
    axes, colour, edges = drawing.axes, COLOURS.get(ratio.verdict, COLOURS["ink"]), [y - thick, y + thick]
    axes.fill_betweenx(edges, *axes.get_xlim(), color=COLOURS["paper"], linewidth=0, zorder=1)
    axes.fill_betweenx(edges, 1 / (1 + margin), 1 + margin, color=COLOURS["band"], linewidth=0, zorder=1)
    axes.plot([1, 1], edges, color=COLOURS["ink"], linewidth=1, zorder=2)
    if ratio.low is not None and ratio.high is not None:
        ends = [ratio.low, ratio.high]
        (interval,) = axes.plot(ends, [y, y], color=colour, linewidth=size / 4, solid_capstyle="butt")
        interval.set_gid(f"interval-{name}")
        axes.plot(ends, [y, y], "|", color=colour, markersize=size)
    filled = COLOURS["paper"] if ratio.verdict in OPEN_MARKERS else colour
    marker = MARKERS[ratio.verdict]
    (point,) = axes.plot([ratio.mean], [y], marker, markersize=size, color=colour, markerfacecolor=filled, zorder=4)
    point.set_gid(f"ratio-{name}")


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


def times(compared: Comparison, width: int) -> Figure:
    """Draw the mean total time of each setting, stacked from its spans, and the spread of its repeats."""
    rows = [(index, each, each.metrics[TOTAL]) for index, each in enumerate(compared.settings) if TOTAL in each.metrics]
    parts = stacked(compared)
    words = [(each.setting, formatting.summary(total, "seconds")) for _, each, total in rows]
    drawing = _bars(words, width, list(parts))
    axes = drawing.axes
    stacks = [[_sum(setting, names) for names in parts.values()] for _, setting, _ in rows]
    longest = max(*(total.mean + (total.spread or 0) for _, _, total in rows), *map(sum, stacks))
    axes.set_xlim(0, longest * 1.02)
    axes.xaxis.set_major_locator(_time_locator(longest))
    axes.xaxis.set_major_formatter(ticker.FuncFormatter(lambda value, _: formatting.axis_seconds(value)))
    y = _TOP
    for (index, _, total), (name, said), stack in zip(rows, words, stacks, strict=True):
        y = drawing.heading(name, said, y) + 4
        _stack(drawing, y, str(index), stack, formatting.seconds)
        if total.spread:
            for colour, thick in (("paper", 3.6), ("ink", 1.2)):  # an edge, or a light one is lost on a bright bar
                line: dict[str, Any] = {"color": COLOURS[colour], "linewidth": thick, "capthick": thick, "capsize": 3}
                axes.errorbar([total.mean], [y], xerr=[total.spread], **line)
        y += _BELOW_BAR
    return drawing.figure


def stacked(compared: Comparison) -> dict[str, list[str]]:
    """Return titles of a bar's parts with the metrics that each sums up: of many spans the longest, and the rest."""
    names = [name for name in shown.of_total(compared) if any(name in each.metrics for each in compared.settings)]
    if len(names) < 2:
        return {formatting.title(TOTAL): [TOTAL]}
    longest = sorted(names, key=lambda name: -sum(_sum(each, [name]) for each in compared.settings))
    alone = longest if len(names) <= SPANS_ALONE else longest[: SPANS_ALONE - 1]
    parts = {formatting.title(name): [name] for name in names if name in alone}
    rest = [name for name in names if name not in alone]
    return {**parts, f"{len(rest)} more spans": rest} if rest else parts


def _sum(setting: SettingResult, names: Sequence[str]) -> float:
    return sum(setting.metrics[name].mean for name in names if name in setting.metrics)


def _time_locator(longest: float) -> ticker.Locator:
    """Round seconds, and above a minute round minutes."""
    if longest < 60:
        return ticker.MaxNLocator(4)
    step = next((each for each in (15, 30, 60, 120, 300, 600, 900, 1800) if 4.5 * each >= longest), 3600)
    return ticker.MultipleLocator(step * -(-longest // (4.5 * step)) if step == 3600 else step)


def split(compared: Comparison, width: int) -> Figure:
    """Draw where the time of each setting's training steps went, in shares of them: a bar for each name of spans."""
    rows = split_rows(compared)
    parts = split_parts([steps for _, _, steps in rows])
    fills = [SPLIT_FILLS[part] for part in parts]
    drawing = _bars([(label, steps.kind) for label, _, steps in rows], width, list(parts.values()), fills)
    drawing.axes.set_xlim(0, 1)
    drawing.axes.xaxis.set_major_formatter(ticker.PercentFormatter(1, 0))
    y = _TOP
    for label, name, steps in rows:
        y = drawing.heading(label, steps.kind, y) + 4
        _stack(drawing, y, name, _shares(steps, parts), formatting.whole_share, fills)
        y += _BELOW_BAR
    return drawing.figure


def split_parts(rows: Sequence[SpanSteps]) -> dict[str, str]:
    """Return the parts of a bar with their titles: launching apart from compute where one of the rows tells it."""
    if not tells_launches(rows):
        return SPLIT
    (wait, copy, *rest), launch = SPLIT.items(), (LAUNCH, "waits for launches")
    return dict([wait, copy, launch, *rest])


def tells_launches(rows: Iterable[SpanSteps]) -> bool:
    """Whether one of them tells what of compute is waiting for launches."""
    return any(steps.split.launch_seconds is not None for steps in rows)


def _shares(steps: SpanSteps, parts: Iterable[str]) -> list[float]:
    split = steps.split
    launch = min(split.launch_seconds or 0.0, split.compute_seconds) if LAUNCH in parts else 0.0
    seconds = {part: float(getattr(split, part) or 0.0) for part in parts}
    seconds |= {"compute_seconds": split.compute_seconds - launch}
    return [value / split.seconds for value in seconds.values()]


def split_rows(compared: Comparison) -> list[tuple[str, str, SpanSteps]]:
    """List (label, name of the bar in an id, steps) of each setting's spans that have a split."""
    return [
        (f"{each.setting}, {span}" if len(each.bottleneck.spans) > 1 else each.setting, f"{index}-{place}", steps)
        for index, each in enumerate(compared.settings)
        if each.bottleneck
        for place, (span, steps) in enumerate(each.bottleneck.spans.items())
        if steps.split.seconds > 0
    ]


_TOP, _BAR, _BELOW_BAR = 12.0, 18.0, 32.0


def _bars(
    names: Sequence[tuple[str, str]], width: int, parts: Sequence[str], fills: Sequence[tuple[str, str]] = FILLS
) -> _Rows:
    """Make room for a bar below each name and what is said of it; above, a legend of the parts where there are some."""
    columns = len(parts) if len(parts) < 4 and width == WIDE else 2
    legend = 18 * -(-len(parts) // columns) + 8 if len(parts) > 1 else 0
    height = sum(heading_height(name, words, width) + 4 + _BELOW_BAR for name, words in names)
    drawing = _Rows(width, height, top=legend, bottom=26)
    if legend:
        drawing.figure.legend(
            [
                Patch(facecolor=colour, hatch=hatch, edgecolor=COLOURS["on-fill"], linewidth=0.8)
                for colour, hatch in fills[: len(parts)]
            ],
            [shortened(part, width // columns - 36) for part in parts],
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
    bar: str,
    parts: Sequence[float],
    words: Callable[[float], str],
    fills: Sequence[tuple[str, str]] = FILLS,
) -> None:
    """Draw the parts of a bar end to end, each with its value where there is room for it."""
    left, whole = 0.0, drawing.axes.get_xlim()[1]
    edge: dict[str, Any] = {"edgecolor": COLOURS["on-fill"], "linewidth": 0.8}
    middle: dict[str, Any] = {"ha": "center", "va": "center", "size": 10, "color": COLOURS["on-fill"]}
    for place, (value, (colour, hatch)) in enumerate(zip(parts, fills, strict=False)):
        (rectangle,) = drawing.axes.barh([y], [value], _BAR, left, color=colour, hatch=hatch, **edge)
        rectangle.set_gid(f"bar-{bar}-{place}")
        text = words(value)
        if value / whole * drawing.width > LETTER * len(text) + 14:
            box: dict[str, Any] = {"facecolor": colour, "edgecolor": "none", "pad": 1.5}
            drawing.axes.text(left + value / 2, y, text, bbox=box, **middle)
        left += value
