"""A run against a commit, as lines for a terminal and as Markdown for a job's summary."""

from stages.harness import formatting
from stages.harness.report import table
from stages.harness.results.metrics import TOTAL
from stages.records import Against

MARKS = {"kept": "✅", "broken": "⚠️", "broken for sure": "❌", "cannot say": "❔"}
ENDS = {0: "✅", 1: "❌", 2: "❔", 3: "⚠️"}  # by exit code
VERDICTS = {"faster": "✅", "slower": "❌", "equivalent": "✅", "inconclusive": "⚠️", "cannot say": "❔"}


def text(found: Against) -> str:
    """Write a line for each change, then for each threshold, then the conclusion."""
    said = []
    for change in found.changes:
        metric = "" if change.metric == TOTAL else f", {change.metric}"
        said.append(f"{change.setting}{metric}: {change.words}")
    said += [f"{setting}, why: {sentence}" for setting, sentences in found.why.items() for sentence in sentences]
    said += [f"{setting}, predictions: {words}" for setting, words in found.predictions.items()]
    said += _not_compared(found)
    said += [f"{limit.setting}, threshold of {limit.metric}: {limit.words}" for limit in found.limits]
    return "\n".join([*said, found.conclusion]) + "\n"


def markdown(found: Against) -> str:
    """Write for GITHUB_STEP_SUMMARY, or for whatever else takes Markdown."""
    conclusion = f"{ENDS[found.exit_code]} {table.escape(found.conclusion)}"
    said = [f"### {found.job} against {found.revision}", "", conclusion, ""]
    if found.limits:
        said += _table(
            ["", "setting", "metric", "allowed", "found"],
            [
                [MARKS[each.status], each.setting, formatting.title(each.metric), each.threshold, each.words]
                for each in found.limits
            ],
        )
    total = [each for each in found.changes if each.metric == TOTAL]
    said += _table(
        ["", "setting", "total time"], [[VERDICTS[each.verdict], each.setting, each.words] for each in total]
    )
    said += [f"- **{table.escape(name)}**: {table.escape(' '.join(why))}" for name, why in found.why.items()]
    said += [""] if found.why else []
    rest = [each for each in found.changes if each.metric != TOTAL]
    if rest:
        said += ["<details><summary>Other metrics</summary>", ""]
        said += _table(
            ["setting", "metric", "verdict"],
            [[each.setting, formatting.title(each.metric), each.words] for each in rest],
        )
        said += ["</details>", ""]
    said += [f"- {table.escape(f'{name}, predictions: {words}')}" for name, words in found.predictions.items()]
    said += [f"- {table.escape(line)}" for line in _not_compared(found)]
    return "\n".join(said).rstrip() + "\n"


def _not_compared(found: Against) -> list[str]:
    """Say which settings, or repeats of one, have nothing that they could be compared with."""
    held = {setting: formatting.count(repeats, "repeat") for setting, repeats in found.kept.items()}
    return [
        *(f"{setting}: only in {found.revision}, so not compared" for setting in found.gone),
        *(f"{setting}: {repeats} in {found.revision} already, so not compared" for setting, repeats in held.items()),
    ]


def _table(head: list[str], rows: list[list[str]]) -> list[str]:
    return [table.markdown_row(head), table.markdown_row(["---"] * len(head)), *map(table.markdown_row, rows), ""]
