"""The verdicts as a table, what belongs to them, and a sentence: on a terminal, in a pipe and in Markdown."""

import re
from collections import Counter
from collections.abc import Sequence

from rich.console import Console

from stages.harness import formatting
from stages.harness.report import shown
from stages.harness.results.metrics import ENERGY, RATE, TOTAL, UNDISTURBED
from stages.records import VERDICTS, Comparison, Ratio, SettingResult

STYLES = {"faster": "green", "slower": "red", "inconclusive": "yellow", "cannot say": "yellow"}
GAP = "  "
NECESSARY = 4  # columns that a table has on any terminal
ON = "on"
# Of statuses of settings, those that are no plain words.
STATUS_WORDS = {
    "trained": "is trained and not evaluated yet",
    "refused": "has results that were refused",
    "missing": "has no results",
}


def header(compared: Comparison) -> tuple[str, ...]:
    """Titles of the columns."""
    ratio = f"ratio [{formatting.confidence(compared.confidence)}]"
    metrics = map(formatting.title, shown.in_table(compared))
    return ("setting", "verdict", ratio, formatting.title(TOTAL), *metrics, *[ON] * shown.has_devices(compared))


def rows(compared: Comparison) -> list[tuple[str, ...]]:
    """Cells of the table as text, a row per setting."""
    return [_row(setting, compared) for setting in compared.settings]


def _row(setting: SettingResult, compared: Comparison) -> tuple[str, ...]:
    total, ratio = setting.metrics.get(TOTAL), setting.ratios.get(setting.verdict_by)
    on = ", ".join(map(formatting.device, setting.devices)) or formatting.NONE
    return (
        setting.setting,
        verdict(setting),
        formatting.ratio(ratio) if ratio else formatting.NONE,
        formatting.summary(total, "seconds") if total else formatting.NONE,
        *(_mean(setting, name, compared) for name in shown.in_table(compared)),
        *[on] * shown.has_devices(compared),
    )


def _mean(setting: SettingResult, name: str, compared: Comparison) -> str:
    found = setting.metrics.get(name)
    return shown.words(name, compared)(found.mean) if found else formatting.NONE


def verdict(setting: SettingResult) -> str:
    """'slower', 'slower (by steps)', 'faster, but worse', 'cannot say (failed)'."""
    marks = ["by steps"] if setting.verdict_by == UNDISTURBED else []
    marks += [setting.status] if setting.status != "ok" else []
    return setting.verdict + (", but worse" if is_worse(setting) else "") + (f" ({', '.join(marks)})" if marks else "")


def is_worse(setting: SettingResult) -> bool:
    """Whether it predicts worse than the baseline; then faster is no win."""
    return setting.predictions is not None and setting.predictions.verdict == "worse"


def style(setting: SettingResult) -> str:
    """Pick the one of VERDICTS whose colours suit the setting: a win's are for what is one."""
    return "inconclusive" if setting.verdict == "faster" and is_worse(setting) else setting.verdict


# ------------------------------------------------------------------------------------------------------- sentences


def conclusion(compared: Comparison) -> str:
    """Say in one or two sentences how the settings fared, and what is said of the one that matters most."""
    baseline = next(each for each in compared.settings if each.setting == compared.baseline)
    if TOTAL not in baseline.metrics:
        status = STATUS_WORDS.get(baseline.status, f"has no complete run ({baseline.status})")
        return f"Nothing to compare with: the baseline {compared.baseline} {status}."
    lead = leading(compared)
    if lead is None:
        alone = formatting.summary(baseline.metrics[TOTAL], "seconds")
        return f"Nothing to compare: only the baseline {compared.baseline} has complete runs ({alone})."
    ran = " and ".join(formatting.device(name, compared.machine.hardware.cpu.model) for name in lead.devices)
    said = f"On {ran}, {_said_of(lead)}." if ran else re.sub("^nothing can", "Nothing can", f"{_said_of(lead)}.")
    rivals = [each for each in compared.settings if each is not baseline]
    return said if len(rivals) == 1 else f"{_tally(rivals, compared.baseline)} {said}"


def leading(compared: Comparison) -> SettingResult | None:
    """Pick the setting to speak of; None where no setting has a ratio to the baseline.

    It is the fastest of those that are faster and no worse, else of those on which there is a sure verdict, else of
    those that are inconclusive, else of all.
    """
    rivals = [each for each in compared.settings if TOTAL in each.ratios]
    return min(rivals, key=lambda each: (_rank(each), each.ratios[each.verdict_by].mean), default=None)


def _rank(setting: SettingResult) -> int:
    if setting.verdict == "faster" and not is_worse(setting):
        return 0
    return {"inconclusive": 2, "cannot say": 3}.get(setting.verdict, 1)


def _said_of(setting: SettingResult) -> str:
    if setting.verdict == "cannot say":
        return f"nothing can be said of {setting.setting}: {setting.words.removeprefix('cannot say: ')}"
    return f"{setting.setting} is {setting.words}"


def _tally(rivals: Sequence[SettingResult], baseline: str) -> str:
    """'Against host/fp32-bs16: 2 faster, 1 faster but worse, 1 slower, 1 without a verdict.', of what there is."""
    found = Counter(
        "faster but worse" if each.verdict == "faster" and is_worse(each) else each.verdict for each in rivals
    )
    names = ("faster", "faster but worse", *VERDICTS[2:])
    counts = [f"{found[each]} {each.replace('cannot say', 'without a verdict')}" for each in names if found[each]]
    return f"Against {baseline}: {', '.join(counts)}."


def times(setting: SettingResult, compared: Comparison) -> list[str]:
    """Return 'what the job took: slower, 1.132 [1.101, 1.164]', and so of its steps and of what comes beyond them."""
    names = [name for name in shown.times(compared) if name in setting.ratios]
    return [f"{formatting.WHAT_IT_IS[name]}: {of_ratio(setting.ratios[name])}" for name in names]


def of_ratio(found: Ratio) -> str:
    """'slower, 1.132 [1.101, 1.164]'."""
    return f"{found.verdict}, {formatting.ratio(found)}"


def notes(compared: Comparison) -> list[str]:
    """Say what facts differ, of what energy is, why repeats have no metrics, what casts doubt and what is not given."""
    lines = [*differing_facts(compared), *shown.energy_words(compared)]
    for setting in compared.settings:
        lines += [f"{setting.setting}, {place}: {reason}" for place, reason in reasons(setting)]
        lines += [f"{setting.setting}, warning: {warning}" for warning in setting.warnings]
    return [*lines, *(f"warning: {warning}" for warning in compared.warnings), *not_given(compared)]


def differing_facts(compared: Comparison) -> list[str]:
    """'number_format: fp32 in host/fp32-bs16; bf16 in host/mixed-bs16', of facts that are not the same everywhere."""
    having = [each for each in compared.settings if each.facts]
    lines = []
    for name in dict.fromkeys(name for each in having for name in each.facts):
        by_value: dict[str, list[str]] = {}
        for each in having:
            by_value.setdefault(" and ".join(each.facts.get(name, ("not told",))), []).append(each.setting)
        if len(by_value) > 1 and name != "device":  # which is shown of every setting
            values = (f"{value} in {', '.join(settings)}" for value, settings in by_value.items())
            lines.append(f"{name}: {'; '.join(values)}")
    return lines


def not_given(compared: Comparison) -> list[str]:
    """Say what the job does not give: once where that holds for all settings that ran, else by setting."""
    ran = [each for each in compared.settings if each.metrics]
    by_settings: dict[tuple[str, ...], list[str]] = {}
    for sentence in dict.fromkeys(sentence for each in ran for sentence in each.not_given):
        settings = tuple(each.setting for each in ran if sentence in each.not_given)
        by_settings.setdefault(settings, []).append(sentence)
    return [
        f"not given by job {compared.job}{'' if len(settings) == len(ran) else ' in ' + ', '.join(settings)}: "
        + "; ".join(sentences)
        for settings, sentences in by_settings.items()
    ]


def reasons(setting: SettingResult) -> list[tuple[str, str]]:
    """('repeats 1, 3', 'failed: why'): the repeats without metrics, gathered by their reason."""
    gathered: dict[str, list[str]] = {}
    for repeat, reason in setting.reasons.items():
        gathered.setdefault(" ".join(reason.split()), []).append(repeat)
    return [
        (f"{'repeat' if len(repeats) == 1 else 'repeats'} {', '.join(repeats)}", reason)
        for reason, repeats in gathered.items()
    ]


def how_to_diff(experiments: Sequence[str]) -> str:
    """Name the command that compares two images, or this run with a commit where there is one image alone."""
    if len(experiments) > 1:
        return f"Metric by metric: .venv/bin/dvc metrics diff {experiments[0]} {experiments[1]}"
    return "Against the last commit, metric by metric: .venv/bin/dvc metrics diff HEAD"


# -------------------------------------------------------------------------------------------------------- Markdown


def markdown(compared: Comparison) -> str:
    """Write for a job summary or a pull request: the table of the page, and what it says of each setting."""
    head = header(compared)
    lines = [
        f"# Face-off of {compared.job}",
        "",
        escape(conclusion(compared)),
        "",
        escape(f"Machine: {formatting.machine(compared.machine)}."),
        "",
        markdown_row(head),
        markdown_row(["---"] * len(head)),
    ]
    lines += [markdown_row(row) for row in rows(compared)]
    lines += _markdown_times(compared)
    lines += ["", *(f"- {escape(note)}" for note in notes(compared)), ""]
    lead = leading(compared)
    for setting in compared.settings:
        verdict_words = f"{setting.words[:1].upper()}{setting.words[1:]}."
        sentences = [*([verdict_words] if setting.ratios and setting is not lead else []), *setting.explanation]
        if setting.differences:
            sentences.append(f"Differs from the baseline: {'; '.join(setting.differences)}.")
        if sentences:
            lines += [f"**{escape(setting.setting)}**: {escape(' '.join(sentences))}", ""]
    return "\n".join(lines).rstrip() + "\n"


def _markdown_times(compared: Comparison) -> list[str]:
    """Write a table of the verdicts on the total, on its steps and on what comes beyond them, where there are such."""
    names = shown.times(compared)
    rivals = [each for each in compared.settings if TOTAL in each.ratios] if names else []
    if not rivals:
        return []
    head = ["setting", *(formatting.WHAT_IT_IS[name] for name in names)]
    cells = [
        [of_ratio(each.ratios[name]) if name in each.ratios else formatting.NONE for name in names] for each in rivals
    ]
    table = [markdown_row([each.setting, *row]) for each, row in zip(rivals, cells, strict=True)]
    return ["", markdown_row(head), markdown_row(["---"] * len(head)), *table, "", shown.TIMES_WORDS]


def markdown_row(cells: Sequence[str]) -> str:
    """Write a row of a table."""
    return "| " + " | ".join(escape(cell) for cell in cells) + " |"


def escape(text: str) -> str:
    """Write what Markdown would take for a cell's end, a tag, or the address of a link or picture as it is."""
    return re.sub(r"\||<(?=[A-Za-z/!?])|(?<=\])\(", r"\\\g<0>", " ".join(text.split()))


# -------------------------------------------------------------------------------------------------------- terminal


def show(compared: Comparison, console: Console) -> None:
    """Print the table, the notes and the verdict. A terminal gets colours, and lines that end between words."""
    body = [header(compared), *rows(compared)]
    columns = _columns(body, console.width if console.is_terminal else None)
    if columns is None:
        _show_blocks(compared, console)
    else:
        widths = [max(len(row[column]) for row in body) for column in columns]
        styles = ["bold", *(STYLES.get(style(setting)) for setting in compared.settings)]
        for row, colour in zip(body, styles, strict=True):
            cells = zip((row[column] for column in columns), widths, strict=True)
            _print(console, GAP.join(cell.ljust(width) for cell, width in cells).rstrip(), colour)
    console.print()
    for note in notes(compared):
        _print(console, note, "dim")
    lead = leading(compared)
    _print(console, conclusion(compared), "bold")
    for line in times(lead, compared) if lead else ():
        _print(console, f"{GAP}{line}", None)
    for sentence in lead.explanation if lead else ():
        _print(console, sentence, None)


def _columns(body: Sequence[tuple[str, ...]], width: int | None) -> list[int] | None:
    """Choose the columns that there is room for; None where not even the necessary ones fit."""
    columns = list(range(len(body[0])))
    for dropped in (None, *_dropped_first(body[0])):
        columns = [column for column in columns if column != dropped]
        needed = sum(max(len(row[column]) for row in body) for column in columns) + len(GAP) * (len(columns) - 1)
        if width is None or needed <= width:
            return columns
    return None


def _dropped_first(head: Sequence[str]) -> list[int]:
    """Columns that a narrow terminal can do without, in this order; then the job's own from the right."""
    first = (formatting.title(RATE), formatting.title(ENERGY), ON)
    spare = sorted(range(NECESSARY, len(head)), reverse=True)
    return sorted(spare, key=lambda column: first.index(head[column]) if head[column] in first else len(first))


def _show_blocks(compared: Comparison, console: Console) -> None:
    """Print a few lines for each setting, where a table is too wide."""
    head = header(compared)
    for row, setting in zip(rows(compared), compared.settings, strict=True):
        _print(console, row[0], "bold")
        for name, cell in zip(head[1:], row[1:], strict=True):
            if cell != formatting.NONE:
                _print(console, f"{GAP}{name}: {cell}", STYLES.get(style(setting)) if name == "verdict" else None)


def _print(console: Console, line: str, style: str | None) -> None:
    console.print(line, style=style, markup=False, highlight=False, soft_wrap=not console.is_terminal)
