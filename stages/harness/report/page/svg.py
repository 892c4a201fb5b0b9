"""A drawing as SVG inside a page: its colours follow the page's, its text is text, and its ids are its own."""

import html
import io
import os
import re
import warnings
from contextlib import AbstractContextManager
from typing import Any

os.environ["MPLBACKEND"] = "agg"  # a notebook's names one of its own Python's, which ours does not have

import matplotlib
from matplotlib.figure import Figure

# What is drawn in these colours takes the page's custom property of that name, in light and in dark.
COLOURS = {
    "ink": "#010101",
    "muted": "#020202",
    "line": "#030303",
    "band": "#040404",
    "on-fill": "#050505",
    "paper": "#060606",
    "faster": "#070707",
    "slower": "#080808",
    **{f"fill-{number}": f"#0a0a{number:02x}" for number in range(1, 6)},
    **{f"series-{number}": f"#0b0b{number:02x}" for number in range(1, 7)},
}
STYLE: dict[Any, Any] = {
    "text.parse_math": False,  # a name may hold dollar signs
    "svg.fonttype": "none",
    "svg.hashsalt": "faceoff",  # the same drawings give the same bytes
    "font.size": 11,
    "text.color": COLOURS["ink"],
    "axes.edgecolor": COLOURS["muted"],
    "axes.labelcolor": COLOURS["muted"],
    "xtick.color": COLOURS["muted"],
    "ytick.color": COLOURS["muted"],
    "xtick.labelsize": 10,
    "ytick.labelsize": 10,
    "axes.facecolor": "none",
    "figure.facecolor": "none",
    "grid.color": COLOURS["line"],
    "hatch.linewidth": 0.6,
    "legend.frameon": False,
    "legend.fontsize": 10,
}


def style() -> AbstractContextManager[None]:
    """Let what is drawn and written within fit the page."""
    return matplotlib.rc_context(STYLE)


def inline(figure: Figure, name: str, title: str, description: str) -> str:
    """Write the drawing as an <svg> element that a screen reader calls by its title, to be called within `style`.

    `name` is unique in its page.
    """
    text = io.StringIO()
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", "Glyph .* missing")  # the page's reader has other fonts
        figure.savefig(text, format="svg", metadata={"Date": None, "Creator": None})
    svg = text.getvalue()
    svg = svg[svg.index("<svg") :]
    svg = re.sub(r"<metadata>.*?</metadata>", "", svg, flags=re.DOTALL)
    svg = re.sub(r'\bid="([^"]+)"', rf'id="{name}-\1"', svg)
    svg = re.sub(r'(href="#|url\(#)', rf"\1{name}-", svg)
    svg = re.sub(r"font-family: [^;\"]*|font: ([\d.]+px) [^;\"]*", _inherited_font, svg)
    for colour, value in COLOURS.items():
        svg = svg.replace(value, f"var(--{colour})")
    box = re.search(r'viewBox="[^"]*"', svg)
    assert box  # noqa: S101 - matplotlib always says it
    opening = (
        f'<svg xmlns:xlink="http://www.w3.org/1999/xlink" {box[0]} role="img" '
        f'aria-labelledby="{name}-title" aria-describedby="{name}-description">'
        f'<title id="{name}-title">{html.escape(title)}</title>'
        f'<desc id="{name}-description">{html.escape(description)}</desc>'
    )
    return re.sub(r"<svg[^>]*>", lambda _: opening, svg, count=1)


def _inherited_font(match: "re.Match[str]") -> str:
    """Write the page's own font, at the size that was drawn."""
    return f"font-size: {match[1]}" if match[1] else "font-family: inherit"
