"""The verdicts as a table, what belongs to them, and a sentence: on a terminal, in a pipe and in Markdown."""

from collections import Counter
from collections.abc import Sequence

from rich.console import Console

from stages.harness import formatting
from stages.harness.results.metrics import TOTAL
from stages.records import VERDICTS, Comparison, SettingFigures

STYLES = {"faster": "green", "slower": "red", "inconclusive": "yellow", "cannot say": "yellow"}
GAP = "  "
DROPPED_FIRST = (4, 6, 5)  # columns that a narrow terminal can do without: images/s, on, accuracy


def header(compared: Comparison) -> tuple[str, ...]:
    ratio = f"ratio [{formatting.confidence(compared.confidence)}]"
    return ("setting", "verdict", ratio, "total time", "images/s", "TTA acc.", "on")


def rows(compared: Comparison) -> list[tuple[str, ...]]:
    """The table's cells as text, a row per setting."""
    return [_row(setting) for setting in compared.settings]


def _row(setting: SettingFigures) -> tuple[str, ...]:
    total, images, accuracy = (setting.figures.get(name) for name in (TOTAL, "train_images_per_second", "accuracy_tta"))
    return (
        setting.setting,
        verdict(setting),
        formatting.ratio(setting.ratios[TOTAL]) if TOTAL in setting.ratios else formatting.NONE,
        formatting.time(total) if total else formatting.NONE,
        formatting.rate(images.mean) if images else formatting.NONE,
        formatting.share(accuracy.mean) if accuracy else formatting.NONE,
        ", ".join(map(formatting.device, setting.devices)) or formatting.NONE,
    )


def verdict(setting: SettingFigures) -> str:
    """'slower', 'faster, but worse', 'cannot say (failed)'."""
    status = "" if setting.status == "ok" else f" ({setting.status})"
    return setting.verdict + (", but worse" if is_worse(setting) else "") + status


def is_worse(setting: SettingFigures) -> bool:
    """At telling the photos; then faster is no win."""
    return setting.accuracy is not None and setting.accuracy.verdict == "worse"


def style(setting: SettingFigures) -> str:
    """Of VERDICTS, the one whose colours suit the setting: a win's are for what is one."""
    return "inconclusive" if setting.verdict == "faster" and is_worse(setting) else setting.verdict


# ------------------------------------------------------------------------------------------------------- sentences


def conclusion(compared: Comparison) -> str:
    """One or two sentences: how the settings fared, and what is said of the one that matters most."""
    baseline = next(each for each in compared.settings if each.setting == compared.baseline)
    if TOTAL not in baseline.figures:
        return f"Nothing to compare with: the baseline {compared.baseline} has no complete run ({baseline.status})."
    lead = leading(compared)
    if lead is None:
        alone = formatting.time(baseline.figures[TOTAL])
        return f"Nothing to compare: only the baseline {compared.baseline} has complete runs ({alone})."
    ran = " and ".join(formatting.device(name, compared.machine.hardware.cpu.model) for name in lead.devices)
    said = f"On {ran}, {_said_of(lead)}."
    rivals = [each for each in compared.settings if each is not baseline]
    return said if len(rivals) == 1 else f"{_tally(rivals, compared.baseline)} {said}"


def leading(compared: Comparison) -> SettingFigures | None:
    """The setting to speak of: of those that are faster and no worse the fastest, else of those on which there is a
    sure verdict, else of those that are inconclusive, else of all.

    None where no setting has a ratio to the baseline.
    """
    rivals = [each for each in compared.settings if TOTAL in each.ratios]
    return min(rivals, key=lambda each: (_rank(each), each.ratios[TOTAL].mean), default=None)


def _rank(setting: SettingFigures) -> int:
    if setting.verdict == "faster" and not is_worse(setting):
        return 0
    return {"inconclusive": 2, "cannot say": 3}.get(setting.verdict, 1)


def _said_of(setting: SettingFigures) -> str:
    if setting.verdict == "cannot say":
        return f"nothing can be said of {setting.setting}: {setting.words.removeprefix('cannot say: ')}"
    return f"{setting.setting} is {setting.words}"


def _tally(rivals: Sequence[SettingFigures], baseline: str) -> str:
    """'Against host/fp32-bs16: 2 faster, 1 faster but worse, 1 slower, 1 without a verdict.'"""
    found = Counter(
        "faster but worse" if each.verdict == "faster" and is_worse(each) else each.verdict for each in rivals
    )
    names = ("faster", "faster but worse", *VERDICTS[2:])
    told = [f"{found[each]} {each.replace('cannot say', 'without a verdict')}" for each in names if found[each]]
    return f"Against {baseline}: {', '.join(told)}."


def notes(compared: Comparison) -> list[str]:
    """What mixed precision was, why repeats have no figures, what casts doubt: a line per setting and fact."""
    lines = []
    for setting in compared.settings:
        lines += [f"{setting.setting}: {algorithm}" for algorithm in setting.algorithms if algorithm != "fp32"]
        lines += [f"{setting.setting}, {place}: {reason}" for place, reason in reasons(setting)]
        lines += [f"{setting.setting}, warning: {warning}" for warning in setting.warnings]
    return lines + [f"warning: {warning}" for warning in compared.warnings]


def reasons(setting: SettingFigures) -> list[tuple[str, str]]:
    """('repeats 1, 3', 'failed: why'): the repeats without figures, gathered by their reason."""
    gathered: dict[str, list[str]] = {}
    for repeat, reason in setting.reasons.items():
        gathered.setdefault(" ".join(reason.split()), []).append(repeat)
    return [
        (f"{'repeat' if len(repeats) == 1 else 'repeats'} {', '.join(repeats)}", reason)
        for reason, repeats in gathered.items()
    ]


def how_to_diff(images: tuple[str, ...]) -> str:
    """The command that compares two images, or this run with a commit where there is one image alone."""
    if len(images) > 1:
        return f"Figure by figure: dvc metrics diff {images[0]} {images[1]}"
    return "Against another commit, figure by figure: dvc metrics diff COMMIT"


# -------------------------------------------------------------------------------------------------------- Markdown


def markdown(compared: Comparison) -> str:
    """For a job summary or a pull request: the table of the page, and what it says of each setting."""
    head = header(compared)
    lines = [
        "# Face-off",
        "",
        _escape(conclusion(compared)),
        "",
        _escape(f"Machine: {formatting.machine(compared.machine)}."),
        "",
        _markdown_row(head),
        _markdown_row(["---"] * len(head)),
    ]
    lines += [_markdown_row(row) for row in rows(compared)]
    lines += ["", *(f"- {_escape(note)}" for note in notes(compared)), ""]
    for setting in compared.settings:
        told = [*setting.explanation]
        if setting.differences:
            told.append(f"Differs from the baseline: {'; '.join(setting.differences)}.")
        if told:
            lines += [f"**{_escape(setting.setting)}**: {_escape(' '.join(told))}", ""]
    return "\n".join(lines).rstrip() + "\n"


def _markdown_row(cells: Sequence[str]) -> str:
    return "| " + " | ".join(_escape(cell) for cell in cells) + " |"


def _escape(text: str) -> str:
    return text.replace("|", "\\|")


# -------------------------------------------------------------------------------------------------------- terminal


def show(compared: Comparison, console: Console) -> None:
    """The table, the notes and the verdict. A terminal gets colours, and lines that end between words."""
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
    for sentence in lead.explanation if lead else ():
        _print(console, sentence, None)


def _columns(body: Sequence[tuple[str, ...]], width: int | None) -> list[int] | None:
    """The columns that there is room for; None where not even the necessary ones fit."""
    columns = list(range(len(body[0])))
    for dropped in (None, *DROPPED_FIRST):
        columns = [column for column in columns if column != dropped]
        needed = sum(max(len(row[column]) for row in body) for column in columns) + len(GAP) * (len(columns) - 1)
        if width is None or needed <= width:
            return columns
    return None


def _show_blocks(compared: Comparison, console: Console) -> None:
    """A few lines for each setting, where a table is too wide."""
    head = header(compared)
    for row, setting in zip(rows(compared), compared.settings, strict=True):
        _print(console, row[0], "bold")
        for name, cell in zip(head[1:], row[1:], strict=True):
            if cell != formatting.NONE:
                _print(console, f"{GAP}{name}: {cell}", STYLES.get(style(setting)) if name == "verdict" else None)


def _print(console: Console, line: str, style: str | None) -> None:
    console.print(line, style=style, markup=False, highlight=False, soft_wrap=not console.is_terminal)
