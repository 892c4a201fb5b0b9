"""reports/sites.html: one file that needs no network and no script, and takes no word of a record for its own."""

from pathlib import Path

from markupsafe import Markup

from stages.harness import formatting
from stages.harness.report import page, templates
from stages.harness.report.page import drawings
from stages.harness.report.sites import words
from stages.harness.results.metrics import TOTAL
from stages.harness.sites.results import SiteRatio, SitesComparison
from stages.records import Ratio

STYLES = Path(page.__file__).with_name("page.css")


def html(compared: SitesComparison) -> str:
    """Write the page."""
    environment = templates.environment(Path(__file__).parent)
    environment.filters |= {"title_of": formatting.title, "capitalize_first": lambda text: text[:1].upper() + text[1:]}
    return environment.get_template("sites.html.jinja").render(
        compared=compared,
        css=Markup(STYLES.read_text(encoding="utf-8")),  # noqa: S704 - our own file
        formatting=formatting,
        words=words,
        icons=page.ICONS,
        total=TOTAL,
        forest=_forest(compared),
    )


def _forest(compared: SitesComparison) -> Markup | None:
    """Draw the ratios of the total times; None where no site has a setting of the first one's."""
    chosen = [(index, each) for index, each in enumerate(compared.against) if each.metric == TOTAL]
    if not chosen:
        return None
    rows = [(f"{each.setting} at {each.site}", _ratio(each), str(index), True) for index, each in chosen]
    title = f"Total times as multiples of those at {compared.baseline}"
    said = "; ".join(words.sentence(each) for _, each in chosen)
    return page.picture("forest", lambda width: drawings.forest_of(rows, compared.margin, width), title, said)


def _ratio(found: SiteRatio) -> Ratio:
    """Return it as a drawing takes it."""
    return Ratio({}, found.ratio, found.low, found.high, found.p_value, found.verdict, None, None, None)
