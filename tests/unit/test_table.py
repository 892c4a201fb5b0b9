"""What people read: honest words for the repeats, the device by its right name, no wrapping in a pipe."""

import dataclasses
import io

import pytest
from rich.console import Console

from stages.harness import comparison, table
from stages.harness.cells import Result
from stages.records import Cell, Comparison
from tests import results

BASELINE = "host/fp32-bs16"


def runs(image, *seconds, device="cpu", precision="fp32"):
    """A setting whose epochs took these seconds, one number per repeat; a text is a status with a reason."""
    found = []
    for repeat, each in enumerate(seconds, start=1):
        cell = Cell(image, precision, 16, repeat)
        if isinstance(each, str):
            found.append(Result(cell, each, "the reason"))
            continue
        train = results.trained(cell, each)
        train = dataclasses.replace(train, environment=dataclasses.replace(train.environment, device=device))
        found.append(Result(cell, "ok", None, train, results.evaluated(cell)))
    return found


def compared(*groups, cpu="AMD EPYC 7B12"):
    given = [result for group in groups for result in group]
    settings = comparison.compare(given, BASELINE)
    return Comparison(BASELINE, results.RECIPE, results.DATASET_SHA256, cpu, settings)


def shown(comparison_record, **options):
    out = io.StringIO()
    table.show(comparison_record, Console(file=out, **options))
    return out.getvalue()


def test_the_faster_one_is_named_first_with_both_times_and_the_device():
    given = compared(runs("host", 20.0, 20.0, 20.0), runs("cuda-10.0", 22.0, 22.0, 22.0))
    assert table.conclusion(given) == (
        "host/fp32-bs16 was 1.10 times faster than cuda-10.0/fp32-bs16 (1:03 against 1:09), "
        "in every one of 3 repeats, on CPU (AMD EPYC 7B12)."
    )


def test_a_faster_rival_is_named_first_too():
    given = compared(runs("host", 20.0, 20.0), runs("b", 19.0, 19.0), runs("c", 10.0, 10.0))
    assert table.conclusion(given).startswith(
        "c/fp32-bs16 was 1.91 times faster than host/fp32-bs16 (33.0 s against 1:03)"
    )


def test_repeats_that_disagree_are_no_verdict():
    given = compared(runs("host", 20.0, 20.0, 20.0), runs("b", 19.0, 19.0, 21.0))
    assert table.conclusion(given).startswith("No verdict: b/fp32-bs16 was 1.02 times faster")
    assert "the repeats disagree (2 of 3)" in table.conclusion(given)


def test_one_repeat_is_no_verdict():
    given = compared(runs("host", 20.0), runs("b", 10.0))
    assert table.conclusion(given).startswith("No verdict: ")
    assert "one repeat is too few to tell" in table.conclusion(given)


def test_only_the_repeats_that_both_have_are_put_against_each_other():
    given = compared(runs("host", 20.0, 20.0, 90.0), runs("b", 10.0, 10.0, "failed"))
    assert "(33.0 s against 1:03), in every one of 2 repeats" in table.conclusion(given)


def test_a_baseline_that_did_not_run_is_said_in_plain_words():
    given = compared(runs("host", "failed", "failed"), runs("b", 10.0, 10.0))
    assert table.conclusion(given) == (
        "Nothing to compare with: the baseline host/fp32-bs16 has no complete run (failed)."
    )


def test_a_lone_baseline_is_compared_with_nothing():
    given = compared(runs("host", 20.0), runs("b", "unsupported"))
    assert table.conclusion(given) == ("Nothing to compare: only the baseline host/fp32-bs16 has complete runs (1:03).")


def test_a_cpu_is_never_called_a_gpu_and_the_other_way_round():
    given = compared(runs("host", 20.0, 20.0), runs("b", 10.0, 10.0, device="Tesla T4"))
    assert "not on the same device: GPU Tesla T4 against CPU (AMD EPYC 7B12)" in table.conclusion(given)
    assert [row[-1] for row in table.rows(given)] == ["CPU", "GPU Tesla T4"]


def test_a_setting_without_figures_has_none_in_the_table():
    row = table.rows(compared(runs("host", 20.0), runs("b", "unsupported")))[1]
    assert row == ("b/fp32-bs16", "unsupported", "-", "not compared", "-", "-", "-")


def test_spread_is_left_out_for_one_sample():
    rows = table.rows(compared(runs("host", 20.0), runs("b", 20.0, 22.0)))
    assert [row[2] for row in rows] == ["1:03", "1:06 ± 4.24 s"]


def test_reasons_are_gathered_by_setting_and_mixed_precision_is_spelled_out():
    given = compared(runs("host", 20.0), runs("b", "failed", 10.0, "failed"), runs("b", 9.0, precision="mixed"))
    assert table.notes(given) == [
        "b/fp32-bs16, repeats 1, 3: failed: the reason",
        "b/mixed-bs16: autocast to bfloat16",
    ]


@pytest.mark.parametrize(
    ("value", "text"),
    [
        (0.5, "0.50 s"),
        (9.99, "9.99 s"),
        (12.34, "12.3 s"),
        (59.94, "59.9 s"),
        (59.96, "1:00"),
        (677.0, "11:17"),
        (4205, "70:05"),
    ],
)
def test_seconds(value, text):
    assert table.seconds(value) == text


def test_in_a_pipe_a_row_is_a_line_without_escape_codes():
    long = "i" * 120
    lines = shown(compared(runs("host", 20.0), runs(long, 10.0))).splitlines()
    assert lines[0].split()[0] == "setting"
    assert lines[2].startswith(long) and lines[2].endswith("CPU")
    assert "\x1b" not in "".join(lines)


def test_a_narrow_terminal_gets_whole_lines_in_colour():
    lines = shown(compared(runs("host", 20.0), runs("cuda-10.0", 21.0)), force_terminal=True, width=40).splitlines()
    assert lines[0].startswith("\x1b[1msetting")
    assert "cuda-10.0/fp32-bs16" in lines[2] and "1.05x slower (1/1)" in lines[2]


def test_brackets_in_a_reason_are_no_markup():
    cell = Cell("b", "fp32", 16, 1)
    given = compared(runs("host", 20.0), [Result(cell, "failed", "killed [red]")])
    assert "[red]" in shown(given)


def test_markdown_has_a_row_per_setting():
    text = table.markdown(compared(runs("host", 20.0), runs("b", "failed")))
    assert "| b/fp32-bs16 | failed | - |" in text and "- b/fp32-bs16, repeat 1: failed: the reason" in text
    assert len({line.count("|") for line in text.splitlines() if line.startswith("|")}) == 1


def test_a_bar_in_a_name_does_not_break_the_markdown_table():
    given = compared(runs("host", 20.0, device="GPU|X"))
    assert "GPU\\|X" in table.markdown(given)


@pytest.mark.parametrize(
    ("images", "command"), [(("a", "b"), "dvc metrics diff a b"), (("a",), "dvc metrics diff COMMIT")]
)
def test_the_command_that_compares(images, command):
    assert command in table.how_to_diff(images)
