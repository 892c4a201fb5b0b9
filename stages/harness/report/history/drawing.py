"""A metric over commits: points with their intervals, levels, and where one changed for sure."""

import math
import statistics
from collections.abc import Iterator

from matplotlib import ticker
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from stages.harness import formatting
from stages.harness.comparison.history import History, Line, Point
from stages.harness.report.page.drawings import EDGE, NARROW
from stages.harness.report.page.svg import COLOURS

HEIGHT, LEFT, BOTTOM, TOP = 190, 58, 30, 8  # px
TICKS_WIDE, TICKS_NARROW = 6, 3  # commits that are named


def draw(found: History, line: Line, name: str, width: int) -> Figure:
    """Draw the line; `name` begins the ids of its points."""
    figure = Figure(figsize=(width / 72, HEIGHT / 72), dpi=72)
    box = (LEFT / width, BOTTOM / HEIGHT, 1 - (LEFT + EDGE) / width, 1 - (BOTTOM + TOP) / HEIGHT)
    axes: Axes = figure.add_axes(box)
    for place in found.borders:
        axes.axvline(place - 0.5, color=COLOURS["muted"], linestyle=(0, (2, 2)), linewidth=1.2)
    for change in line.changes:
        colour = COLOURS[change.verdict]
        axes.axvline(change.place - 0.5, color=colour, linewidth=1.4)
        axes.axvspan(change.earliest - 0.5, change.latest - 0.5, color=colour, alpha=0.15, linewidth=0)
    for level in levels(line):
        mean = math.exp(statistics.fmean(math.log(point.mean) for point in level))
        axes.plot([level[0].place, level[-1].place], [mean, mean], color=COLOURS["line"], linewidth=3, zorder=1)
    for point in line.points:
        _point(axes, point, f"{name}-{point.place}")
    _axes(axes, found, line, TICKS_NARROW if width == NARROW else TICKS_WIDE)
    return figure


def levels(line: Line) -> Iterator[list[Point]]:
    """Yield the judged points that are of one level, as far as is known."""
    for group in dict.fromkeys(point.group for point in line.points):
        judged = [point for point in line.points if point.group == group and point.doubt is None]
        # A change is of a group where it begins at a point of it.
        begins = {change.place for change in line.changes} & {point.place for point in judged}
        level: list[Point] = []
        for point in judged:
            if point.place in begins and level:
                yield level
                level = []
            level.append(point)
        if level:
            yield level


def _point(axes: Axes, point: Point, name: str) -> None:
    colour = COLOURS[f"series-{1 + point.group % 6}"]
    if point.low is not None and point.high is not None:
        axes.plot([point.place] * 2, [point.low, point.high], color=colour, linewidth=1.2, zorder=2)
    filled = COLOURS["paper"] if point.doubt else colour
    (mark,) = axes.plot([point.place], [point.mean], "o", color=colour, markerfacecolor=filled, markersize=5, zorder=3)
    mark.set_gid(name)


def _axes(axes: Axes, found: History, line: Line, ticks: int) -> None:
    commits = [each.commit.short for each in found.measured]
    axes.set_xlim(-0.6, len(commits) - 0.4)
    axes.xaxis.set_major_locator(ticker.MaxNLocator(ticks, integer=True, min_n_ticks=1))
    axes.xaxis.set_major_formatter(
        ticker.FuncFormatter(lambda x, _: commits[round(x)] if 0 <= round(x) < len(commits) else "")
    )
    axes.yaxis.set_major_locator(ticker.MaxNLocator(4))
    write = formatting.axis_seconds if line.declared.unit == "seconds" else formatting.significant
    axes.yaxis.set_major_formatter(ticker.FuncFormatter(lambda y, _: write(y)))
    _reach(axes, line)
    axes.grid(axis="y", linewidth=0.6)
    for side in ("right", "top"):
        axes.spines[side].set_visible(False)


def _reach(axes: Axes, line: Line) -> None:
    """Show all points, and of an interval that dwarfs them no more than twice their range."""
    means = [point.mean for point in line.points]
    low, high = min(means), max(means)
    room = max(high - low, 0.02 * high)
    ends = [end for point in line.points for end in (point.low, point.high) if end is not None]
    axes.set_ylim(max(min([*ends, low]), low - room) - 0.08 * room, min(max([*ends, high]), high + room) + 0.08 * room)
