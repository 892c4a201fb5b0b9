"""What was found between sites as lines and tables of text: names and sentences of other machines among them."""

from collections.abc import Sequence

from rich.cells import cell_len, set_cell_size
from rich.console import Console

from stages import variables
from stages.harness import formatting
from stages.harness.formatting import NONE
from stages.harness.results.metrics import TOTAL
from stages.harness.sites.results import Cost, SessionAt, SiteRatio, SitesComparison

SESSIONS = ("site", "session", "whole", "with warnings", "as billed", "on")
# As SkyPilot's `sky bench` called them.
COSTS = ("site", "setting", "DURATION", "$", "SEC/STEP", "$/STEP", "EST")
COSTS_WORDS = (
    "DURATION: a session as billed; EST: one run, with its interval. Prices are what params.yaml states; no verdict "
    "knows of them."
)


def show(compared: SitesComparison, console: Console) -> None:
    """Print what was compared, what came out, and what it cost."""
    _table(console, SESSIONS, [session_row(each) for each in compared.sessions])
    for each in compared.warnings:
        _line(console, f"warning: {each}")
    for against in compared.against:
        if against.metric == TOTAL or against.verdict in ("faster", "slower"):
            _line(console, sentence(against))
    for site, words in compared.prices.items():
        _line(console, f"{site}: {words}")
    _table(console, COSTS, [cost_row(each) for each in compared.costs])
    _line(console, COSTS_WORDS)


def sentence(found: SiteRatio) -> str:
    """'b, host/plain, total time: faster: 0.912 times the time at a (…)'."""
    return f"{found.site}, {found.setting}, {formatting.title(found.metric)}: {found.words}"


def session_row(found: SessionAt) -> tuple[str, ...]:
    """Return a session as SESSIONS has it."""
    return (
        found.site,
        found.name,
        f"{found.whole} of {found.cells}",
        str(found.warned),
        formatting.seconds(found.billed_seconds),
        found.machine,
    )


def cost_row(found: Cost) -> tuple[str, ...]:
    """Return what a setting costs as COSTS has it."""
    return (
        found.site,
        found.setting,
        formatting.seconds(found.duration_seconds),
        money(found.session, found.currency),
        NONE if found.seconds_per_step is None else f"{formatting.significant(found.seconds_per_step)} s",
        money(found.per_step, found.currency),
        estimate(found),
    )


def estimate(found: Cost) -> str:
    """'10:12 [10:05, 10:20], 0.06 USD [0.058, 0.062]': what one run takes and costs."""
    time = formatting.seconds(found.run_seconds)
    if found.run_low is not None and found.run_high is not None:
        time += f" [{formatting.seconds(found.run_low)}, {formatting.seconds(found.run_high)}]"
    return time if found.per_run is None else f"{time}, {price(found)}"


def price(found: Cost) -> str:
    """'0.06 USD [0.058, 0.062]': one run's own time; '-' without a price."""
    plain = money(found.per_run, found.currency)
    if found.per_run_low is None or found.per_run_high is None:
        return plain
    return f"{plain} [{formatting.significant(found.per_run_low)}, {formatting.significant(found.per_run_high)}]"


def reached(found: Cost, compared: SitesComparison) -> str:
    """'accuracy 92.7%': what the runs reached for what they cost."""
    said = [
        f"{formatting.title(name)} {formatting.value(each, compared.metrics[name].unit)}"
        for name, each in found.reached.items()
    ]
    return ", ".join(said) or NONE


def money(amount: float | None, currency: str | None) -> str:
    """'0.35 USD'."""
    return NONE if amount is None else f"{formatting.significant(amount)} {currency}"


def _line(console: Console, text: str) -> None:
    console.print(variables.shown(text), markup=False, highlight=False, soft_wrap=True)


def _table(console: Console, head: Sequence[str], rows: Sequence[Sequence[str]]) -> None:
    """Print rows under each other, never broken: a narrow terminal breaks them where it must."""
    shown = [head, *([variables.shown(each) for each in row] for row in rows)]
    widths = [max(map(cell_len, column)) for column in zip(*shown, strict=True)]
    for row in shown:
        line = "  ".join(set_cell_size(each, width) for each, width in zip(row, widths, strict=True))
        console.print(line.rstrip(), markup=False, highlight=False, soft_wrap=True)
