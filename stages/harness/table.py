"""What people read of a comparison: a table and a sentence, on a terminal, in a pipe and in Markdown."""

from rich.console import Console

from stages.harness.comparison import TOTAL
from stages.records import Comparison, Ratio, SettingFigures, Summary

HEADER = ("setting", "status", "total time", "against baseline", "images/s", "TTA acc.", "on")


def rows(compared: Comparison) -> list[tuple[str, ...]]:
    """The table's cells as text, a row per setting; '-' where there is no figure."""
    return [_row(setting) for setting in compared.settings]


def _row(setting: SettingFigures) -> tuple[str, ...]:
    total = setting.figures.get(TOTAL)
    return (
        setting.setting,
        setting.status,
        time(total) if total else "-",
        against(setting),
        _mean(setting.figures.get("train_images_per_second"), "{:.1f}"),
        _mean(setting.figures.get("accuracy_tta"), "{:.1%}"),
        ", ".join(map(device, setting.devices)) or "-",
    )


def _mean(figure: Summary | None, form: str) -> str:
    return form.format(figure.mean) if figure else "-"


def time(total: Summary) -> str:
    """Mean and sample standard deviation; one sample has no spread."""
    return seconds(total.mean) + ("" if total.spread is None else f" ± {seconds(total.spread)}")


def seconds(value: float) -> str:
    """'8.31 s' below a minute, else minutes and seconds, '11:17'."""
    if value < 59.95:
        return f"{value:.1f} s" if value >= 10 else f"{value:.2f} s"
    minutes, rest = divmod(round(value), 60)
    return f"{minutes}:{rest:02d}"


def device(name: str, cpu: str | None = None) -> str:
    """What 'cpu' or the name of a GPU is called: a CPU is always called one."""
    if name != "cpu":
        return f"GPU {name}"
    return f"CPU ({cpu})" if cpu else "CPU"


def against(setting: SettingFigures) -> str:
    """The total time against the baseline's, in words: '1.08x slower (3/3)', the repeats that say so."""
    if TOTAL not in setting.ratios:
        return setting.outcome
    ratio = setting.ratios[TOTAL]
    size = max(ratio.mean, 1 / ratio.mean)
    return f"{size:.2f}x {'slower' if ratio.mean > 1 else 'faster'} ({_agreement(ratio, '/')})"


def conclusion(compared: Comparison) -> str:
    """One sentence: which setting was faster and by how much, on what; or why there is no telling."""
    baseline = next(each for each in compared.settings if each.setting == compared.baseline)
    if TOTAL not in baseline.figures:
        return f"Nothing to compare with: the baseline {compared.baseline} has no complete run ({baseline.status})."
    rivals = [each for each in compared.settings if TOTAL in each.ratios]
    if not rivals:
        alone = time(baseline.figures[TOTAL])
        return f"Nothing to compare: only the baseline {compared.baseline} has complete runs ({alone})."
    return _versus(min(rivals, key=lambda each: each.ratios[TOTAL].mean), baseline, compared.cpu)


def _versus(rival: SettingFigures, baseline: SettingFigures, cpu: str | None) -> str:
    """The fastest rival and the baseline, the faster one first, by the repeats that both ran whole."""
    ratio = rival.ratios[TOTAL]
    ahead, behind = (rival, baseline) if ratio.mean < 1 else (baseline, rival)
    size = max(ratio.mean, 1 / ratio.mean)
    times = " against ".join(seconds(_mean_of_pairs(each, ratio)) for each in (ahead, behind))
    lead = f"{ahead.setting} was {size:.2f} times faster than {behind.setting} ({times})"
    ran, other = (" and ".join(device(name, cpu) for name in each.devices) for each in (ahead, behind))
    where = f"on {ran}" if ran == other else f"but not on the same device: {ran} against {other}"
    if rival.outcome in ("faster", "slower"):
        return f"{lead}, in every one of {len(ratio.pairs)} repeats, {where}."
    doubt = (
        "one repeat is too few to tell"
        if len(ratio.pairs) == 1
        else f"the repeats disagree ({_agreement(ratio, ' of ')})"
    )
    return f"No verdict: {lead} on average, but {doubt}, {where}."


def _mean_of_pairs(setting: SettingFigures, ratio: Ratio) -> float:
    samples = setting.figures[TOTAL].samples
    return sum(samples[repeat] for repeat in ratio.pairs) / len(ratio.pairs)


def _agreement(ratio: Ratio, of: str) -> str:
    """How many of the repeats go the way of their mean, '2 of 3'."""
    agreeing = sum((value > 1) == (ratio.mean > 1) for value in ratio.pairs.values())
    return f"{agreeing}{of}{len(ratio.pairs)}"


def notes(compared: Comparison) -> list[str]:
    """What mixed precision was, and why repeats have no figures: a line per setting and fact."""
    lines = []
    for setting in compared.settings:
        lines += [f"{setting.setting}: {algorithm}" for algorithm in setting.algorithms if algorithm != "fp32"]
        for reason in dict.fromkeys(setting.reasons.values()):
            repeats = [repeat for repeat, each in setting.reasons.items() if each == reason]
            noun = "repeat" if len(repeats) == 1 else "repeats"
            lines.append(f"{setting.setting}, {noun} {', '.join(repeats)}: {' '.join(reason.split())}")
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
    """The table, the notes and the sentence. Colours on a terminal alone; no line is broken or cut anywhere."""
    body = rows(compared)
    widths = [max(len(row[column]) for row in (HEADER, *body)) for column in range(len(HEADER))]
    _print(console, _aligned(HEADER, widths), "bold")
    for row, setting in zip(body, compared.settings, strict=True):
        _print(console, _aligned(row, widths), None if setting.status == "ok" else "yellow")
    for note in notes(compared):
        _print(console, note, "dim")
    _print(console, conclusion(compared), "bold")


def _aligned(row: tuple[str, ...], widths: list[int]) -> str:
    return "  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)).rstrip()


def _print(console: Console, line: str, style: str | None) -> None:
    console.print(line, style=style, markup=False, highlight=False, soft_wrap=True)


def how_to_diff(images: tuple[str, ...]) -> str:
    """The command that compares two images, or this run with a commit where there is one image alone."""
    if len(images) > 1:
        return f"Figure by figure: dvc metrics diff {images[0]} {images[1]}"
    return "Against another commit, figure by figure: dvc metrics diff COMMIT"
