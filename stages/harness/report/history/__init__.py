"""reports/history.html: each setting's metrics over commits, in one file that needs no network and no script."""

from collections.abc import Sequence
from functools import partial
from pathlib import Path

from markupsafe import Markup

from stages.harness import formatting
from stages.harness.comparison.history import Change, History, Line
from stages.harness.report import page, templates
from stages.harness.report.history import drawing
from stages.harness.results.metrics import TOTAL
from stages.harness.statistics import shifts
from stages.harness.statistics.estimates import CONFIDENCE

HISTORY_PATH = Path("reports/history.html")
ALL_AT_ONCE = "all settings changed here at once, so it may be the machine's pace"


def html(found: History, margin: float) -> str:
    """Write the page."""
    environment = templates.environment(Path(__file__).parent)
    environment.filters |= {"title_of": formatting.title}
    latest = next((each.run for each in reversed(found.measured) if each.run), None)
    return environment.get_template("history.html.jinja").render(
        job=latest.job.name if latest else "no job",
        history=found,
        commits=[each.commit for each in found.measured],
        css=Markup(Path(page.__file__).with_name("page.css").read_text(encoding="utf-8")),  # noqa: S704 - our own file
        changes=changes(found),
        settings=_settings(found),
        headline=headline(found),
        remark=partial(_remark, found, margin),
        words=words,
        called=called,
        value=formatting.value,
        interval=_interval,
        factor=formatting.factor,
        probability=formatting.probability,
        confidence=formatting.confidence(CONFIDENCE),
        rule=shifts,
        total=TOTAL,
    )


def changes(found: History) -> list[Change]:
    """List all changes, the latest first and the total before its parts."""
    every = [change for line in found.lines for change in line.changes]
    return sorted(every, key=lambda each: (-each.place, each.metric != TOTAL))


def headline(found: History) -> str:
    """Say in a sentence how many commits there are and what changed."""
    number = formatting.count(len(found.measured), "commit")
    of_total = [each for each in changes(found) if each.metric == TOTAL]
    if not found.series:
        return f"{number} with results: fewer than {shifts.MIN_RUNS} of one machine, job and data, so no change is told"
    if not of_total:
        return f"{number} with results: no total time changed for sure"
    latest = of_total[0]
    ratio = formatting.factor(latest.ratio)
    return f"{number} with results: {latest.setting} is {latest.verdict} {words(found, latest)}, {ratio} times as long"


def called(change: Change) -> str:
    """Return the verdict in the metric's own words."""
    return formatting.verdict(change.metric, change.verdict)


def words(found: History, change: Change) -> str:
    """Say from which commit on: 'since 3f2a1c0', or between which it lies."""
    first, last = (found.measured[place].commit.short for place in (change.earliest, change.latest))
    here = found.measured[change.place].commit.short
    return f"since {here}" if first == last else f"since {here} ({first} to {last} may be it)"


def _remark(found: History, margin: float, change: Change) -> str:
    """Say what else is known of a change."""
    parts = list(change.differences)
    settings = {line.setting for line in found.lines if line.metric == change.metric}
    alike = {
        each.setting
        for each in changes(found)
        if each.metric == change.metric and each.place == change.place and each.verdict == change.verdict
    }
    if len(settings) > 1 and alike == settings:
        parts.append(ALL_AT_ONCE)
    if 1 / (1 + margin) < change.ratio < 1 + margin:
        parts.append(f"less than the margin of {100 * margin:g}%")
    return "; ".join(parts) or "no difference of environment or parameters is known"


def _interval(low: float | None, high: float | None, unit: str) -> str:
    return "" if low is None or high is None else f"[{formatting.value(low, unit)}, {formatting.value(high, unit)}]"


def _settings(found: History) -> dict[str, list[tuple[Line, Markup]]]:
    """Draw all lines, by setting."""
    drawn: dict[str, list[tuple[Line, Markup]]] = {}
    for number, line in enumerate(found.lines):
        title = f"{formatting.title(line.metric)} of {line.setting} over commits"
        said = "; ".join(_change_words(found, line.changes)) or "no change for sure"
        picture = page.picture(f"line-{number}", partial(drawing.draw, found, line, f"point-{number}"), title, said)
        drawn.setdefault(line.setting, []).append((line, picture))
    return drawn


def _change_words(found: History, these: Sequence[Change]) -> list[str]:
    return [f"{called(each)} {words(found, each)}, {formatting.factor(each.ratio)} times" for each in these]
