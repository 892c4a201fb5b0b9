"""What people read of a comparison: a table and a sentence, on a terminal, in a pipe and in Markdown."""

from rich.console import Console
from rich.table import Table

from stages.harness.comparison import TOTAL
from stages.records import Comparison, Ratio, SettingFigures, Summary

HEADER = ("setting", "status", "total time", "spread", "against baseline", "images/s", "accuracy, TTA", "ran on")


def rows(compared: Comparison) -> list[tuple[str, ...]]:
    """The table's cells as text, a row per setting; '-' where there is no figure."""
    return [_row(setting, compared.cpu) for setting in compared.settings]


def _row(setting: SettingFigures, cpu: str | None) -> tuple[str, ...]:
    total = setting.figures.get(TOTAL)
    return (
        setting.setting,
        setting.status,
        seconds(total.mean) if total else "-",
        f"± {seconds(total.spread)}" if total and total.spread is not None else "-",
        against(setting),
        _mean(setting.figures.get("train_images_per_second"), "{:.1f}"),
        _mean(setting.figures.get("accuracy_tta"), "{:.1%}"),
        device(setting, cpu),
    )


def _mean(figure: Summary | None, form: str) -> str:
    return form.format(figure.mean) if figure else "-"


def seconds(value: float) -> str:
    """'8.31 s' below a minute, else minutes and seconds, '11:17'."""
    if value < 59.95:
        return f"{value:.1f} s" if value >= 10 else f"{value:.2f} s"
    minutes, rest = divmod(round(value), 60)
    return f"{minutes}:{rest:02d}"


def device(setting: SettingFigures, cpu: str | None) -> str:
    """What the setting ran on: a CPU is always called one."""
    names = [f"CPU ({cpu or 'name unknown'})" if name == "cpu" else f"GPU {name}" for name in setting.devices]
    return ", ".join(names) or "-"


def against(setting: SettingFigures) -> str:
    """The total time against the baseline's, in words: '1.08x slower, in 3 of 3 repeats'."""
    if setting.outcome in ("baseline", "not compared"):
        return setting.outcome
    return factor(setting.ratios[TOTAL])


def factor(ratio: Ratio) -> str:
    """How much longer or shorter, and how many of the repeats say so."""
    slower = ratio.mean > 1
    size = ratio.mean if slower else 1 / ratio.mean
    agreeing = sum((value > 1) == slower for value in ratio.pairs.values())
    count = len(ratio.pairs)
    repeats = "1 repeat: too few to tell" if count == 1 else f"{agreeing} of {count} repeats"
    return f"{size:.2f}x {'slower' if slower else 'faster'} ({repeats})"


def conclusion(compared: Comparison) -> str:
    """One sentence: which setting was faster and by how much, on what; or why there is none."""
    baseline = next(each for each in compared.settings if each.setting == compared.baseline)
    if TOTAL not in baseline.figures:
        return f"Nothing to compare with: the baseline {compared.baseline} has no complete run ({baseline.status})."
    others = [each for each in compared.settings if TOTAL in each.ratios]
    if not others:
        return (
            f"Only the baseline {compared.baseline} has complete runs: {_time(baseline)} on {_on(baseline, compared)}."
        )
    fastest = min(others, key=lambda each: each.ratios[TOTAL].mean)
    if len(others) == 1 or fastest.ratios[TOTAL].mean < 1:
        return _versus(fastest, baseline, compared)
    return f"None was faster than the baseline. The closest: {_versus(fastest, baseline, compared)}"


def _versus(setting: SettingFigures, baseline: SettingFigures, compared: Comparison) -> str:
    ratio = setting.ratios[TOTAL]
    times = f"{_time(setting)} against {_time(baseline)}"
    slower = "slower" if ratio.mean > 1 else "faster"
    size = max(ratio.mean, 1 / ratio.mean)
    head = f"{setting.setting} was {size:.2f} times {slower} than {baseline.setting} ({times}), {_agreement(ratio)}"
    ran, reference = _on(setting, compared), _on(baseline, compared)
    if ran != reference:
        return f"{head}. Mind that they ran on different devices: {ran} and {reference}."
    return f"{head}, on {ran}."


def _agreement(ratio: Ratio) -> str:
    count = len(ratio.pairs)
    if count == 1:
        return "in one repeat, too few to tell"
    agreeing = sum((value > 1) == (ratio.mean > 1) for value in ratio.pairs.values())
    if agreeing == count:
        return f"in every one of {count} repeats"
    return f"but the repeats disagree ({agreeing} of {count}): no verdict"


def _time(setting: SettingFigures) -> str:
    return seconds(setting.figures[TOTAL].mean)


def _on(setting: SettingFigures, compared: Comparison) -> str:
    return device(setting, compared.cpu)


def notes(compared: Comparison) -> list[str]:
    """Why repeats have no figures, one line per setting and reason."""
    lines = []
    for setting in compared.settings:
        for reason in dict.fromkeys(setting.reasons.values()):
            repeats = [repeat for repeat, each in setting.reasons.items() if each == reason]
            lines.append(f"{setting.setting}, repeat {', '.join(repeats)}: {' '.join(reason.split())}")
    return lines


def markdown(compared: Comparison) -> str:
    """For a job summary or a pull request."""
    lines = ["# Face-off", "", conclusion(compared), "", _markdown_row(HEADER), _markdown_row(["---"] * len(HEADER))]
    lines += [_markdown_row(row) for row in rows(compared)]
    lines += ["", *(f"- {_escape(note)}" for note in notes(compared))]
    return "\n".join(lines).rstrip() + "\n"


def _markdown_row(cells: tuple[str, ...] | list[str]) -> str:
    return "| " + " | ".join(_escape(cell) for cell in cells) + " |"


def _escape(text: str) -> str:
    return text.replace("|", "\\|")


def show(compared: Comparison, console: Console) -> None:
    """The table, the reasons and the sentence: drawn on a terminal, in plain lines anywhere else."""
    if console.is_terminal:
        drawn = Table(*HEADER)
        for row in rows(compared):
            drawn.add_row(*row)
        console.print(drawn)
    else:
        _plain(HEADER, rows(compared), console)
    for line in (*notes(compared), conclusion(compared)):
        console.print(line, markup=False, highlight=False, soft_wrap=True)


def _plain(header: tuple[str, ...], body: list[tuple[str, ...]], console: Console) -> None:
    widths = [max(len(row[column]) for row in (header, *body)) for column in range(len(header))]
    for row in (header, *body):
        line = "  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True))
        console.print(line.rstrip(), markup=False, highlight=False, soft_wrap=True)


def how_to_diff(images: tuple[str, ...]) -> str:
    """The command that compares two images, or this run with a commit where there is one image alone."""
    if len(images) > 1:
        return f"Figure by figure: dvc metrics diff {images[0]} {images[1]}"
    return "Against another commit, figure by figure: dvc metrics diff COMMIT"
