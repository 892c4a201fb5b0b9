"""reports/sites.html: one file that needs no network and no script, and takes no word of a record for its own."""

from pathlib import Path

import jinja2
from markupsafe import Markup

from stages.harness import formatting
from stages.harness.report import page
from stages.harness.report.sites import words
from stages.harness.results.metrics import TOTAL, timed
from stages.harness.sites.results import SitesComparison

STYLES = Path(page.__file__).with_name("page.css")


def html(compared: SitesComparison) -> str:
    """Write the page."""
    environment = jinja2.Environment(
        loader=jinja2.FileSystemLoader(Path(__file__).parent),
        autoescape=True,
        undefined=jinja2.StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    environment.filters |= {"title_of": formatting.title, "capitalize_first": lambda text: text[:1].upper() + text[1:]}
    return environment.get_template("sites.html.jinja").render(
        compared=compared,
        css=Markup(STYLES.read_text(encoding="utf-8")),  # noqa: S704 - our own file
        formatting=formatting,
        words=words,
        icons=page.ICONS,
        total=TOTAL,
        timed=timed(compared.metrics),
    )
