"""What people read: verdicts as a table and in words, on a wide terminal, a narrow one, in a pipe and in Markdown."""

import dataclasses
import io

import pytest
from rich.console import Console

from stages.harness.report import table
from stages.records import Metric, PairedPredictions
from tests import comparisons
from tests.comparisons import BASELINE, comparison, setting

WORSE = PairedPredictions(288, 2, 30, 0.00001, "worse")
BASE = setting(BASELINE, 12.0, 12.2, 12.1)


def rival(name="b/fp32-bs16", *seconds, verdict="slower", **changes):
    return setting(name, *(seconds or (13.0, 13.2, 13.3)), baseline=BASE, verdict=verdict, **changes)


def shown(compared, **options):
    out = io.StringIO()
    table.show(compared, Console(file=out, **options))
    return out.getvalue()


def lines_at(width, compared):
    """What a terminal of that width gets, without its colours."""
    return shown(compared, width=width, force_terminal=True, color_system=None).splitlines()


def test_one_rival_is_named_with_its_words_and_its_device():
    given = comparison(BASE, rival(words="slower: 1.09 times the baseline's total time"))
    assert table.conclusion(given) == (
        "On CPU (AMD EPYC 7B12), b/fp32-bs16 is slower: 1.09 times the baseline's total time."
    )


def test_a_verdict_that_cannot_be_given_is_said_as_such():
    few = rival("b/fp32-bs16", 13.0, 13.1, verdict="cannot say", words="cannot say: 2 pairs are too few")
    assert table.conclusion(comparison(BASE, few)).endswith("nothing can be said of b/fp32-bs16: 2 pairs are too few.")
    nowhere = dataclasses.replace(few, devices=())
    assert table.conclusion(comparison(BASE, nowhere)).startswith("Nothing can be said of b/fp32-bs16: ")


def test_several_rivals_are_counted_and_the_fastest_winner_is_spoken_of():
    lucky = rival("c/fp32-bs16", 8.0, 9.0, verdict="cannot say")
    good, better = (
        rival("d/fp32-bs16", 11.0, 11.0, 11.0, verdict="faster"),
        rival("e/x", 10.0, 10, 10, verdict="faster"),
    )
    said = table.conclusion(comparison(BASE, rival(), lucky, good, better))
    assert said.startswith(
        f"Against {BASELINE}: 2 faster, 1 slower, 1 without a verdict. On CPU (AMD EPYC 7B12), e/x is "
    )


def test_faster_but_worse_is_said_and_is_not_the_winner():
    worse = rival("c/fp32-bs16", 8.0, 8.0, 8.1, verdict="faster", predictions=WORSE)
    good = rival("d/fp32-bs16", 11.0, 11.0, 11.1, verdict="faster")
    assert table.verdict(worse) == "faster, but worse"
    assert table.leading(comparison(BASE, worse, good)) is good
    assert table.leading(comparison(BASE, worse, rival())) is worse  # without a winner, the fastest that is sure
    assert table.conclusion(comparison(BASE, worse, good)).startswith(
        f"Against {BASELINE}: 1 faster, 1 faster but worse. "
    )
    assert table.style(good) == "faster" and table.style(worse) == "inconclusive", "no win's colour for what is none"


def test_a_sure_verdict_is_spoken_of_before_one_that_cannot_be_given():
    lucky = rival("c/fp32-bs16", 8.0, 9.0, verdict="cannot say")
    unsure = rival("d/fp32-bs16", 9.0, 9.1, 9.2, verdict="inconclusive")
    sure = rival()
    assert table.leading(comparison(BASE, lucky, unsure, sure)) is sure
    assert table.leading(comparison(BASE, lucky, unsure)) is unsure


def test_a_baseline_that_did_not_run_is_said_in_plain_words():
    given = comparison(setting(BASELINE, None, None), rival())
    assert table.conclusion(given) == (
        "Nothing to compare with: the baseline host/fp32-bs16 has no complete run (failed)."
    )


def test_a_baseline_that_is_trained_and_not_evaluated_is_said_as_that():
    given = comparison(setting(BASELINE, None, None, status="trained"), rival())
    assert table.conclusion(given) == (
        "Nothing to compare with: the baseline host/fp32-bs16 is trained and not evaluated yet."
    )


def test_results_of_a_baseline_that_were_refused_are_not_explained_by_params():
    given = comparison(setting(BASELINE, None, None, status="refused"), rival())
    assert table.conclusion(given).endswith("the baseline host/fp32-bs16 has results that were refused.")


def test_a_lone_baseline_is_compared_with_nothing():
    given = comparison(BASE, rival("b/fp32-bs16", None, verdict="cannot say"))
    assert table.conclusion(given) == (
        "Nothing to compare: only the baseline host/fp32-bs16 has complete runs (12.1 s ± 0.10 s)."
    )


def test_a_cpu_is_never_called_a_gpu_and_the_other_way_round():
    given = comparison(BASE, rival(devices=("Tesla T4",)))
    assert "On GPU Tesla T4, " in table.conclusion(given)
    assert [row[-1] for row in table.rows(given)] == ["CPU", "GPU Tesla T4"]


def test_where_it_ran_is_left_out_where_no_setting_says_it():
    silent = [dataclasses.replace(each, devices=()) for each in (BASE, rival(words="slower than it"))]
    assert "on" not in table.header(comparison(*silent)) and len(table.rows(comparison(*silent))[0]) == 6
    assert table.conclusion(comparison(*silent)) == "b/fp32-bs16 is slower than it."
    assert [row[-1] for row in table.rows(comparison(silent[0], rival()))] == ["-", "CPU"]


def test_columns_are_of_what_the_job_declares_two_of_its_own_at_most():
    own = {
        "tokens_per_second": Metric("tokens/s", "higher", timed=True),
        "peak_gpu_memory_bytes": Metric("bytes", "lower"),
        "perplexity": Metric("points", "lower"),
    }
    found = {
        name: comparisons.summary({"1": value}) for name, value in zip(own, (1234.4, 1.5 * 2**30, 8.0), strict=True)
    }
    metrics = {"total_seconds": comparisons.SECONDS, "work_seconds": comparisons.SECONDS, **own}
    given = comparison(dataclasses.replace(BASE, metrics={**BASE.metrics, **found}), metrics=metrics)
    assert table.header(given)[3:] == ("total time", "tokens per second", "peak gpu memory", "on")
    assert table.rows(given)[0][4:6] == ("1234 tokens/s", "1.5 GiB")


def test_a_row_holds_verdict_ratio_with_interval_times_speed_and_metrics():
    given = rival()
    given.ratios["total_seconds"] = dataclasses.replace(given.ratios["total_seconds"], mean=1.09, low=1.0805, high=1.1)
    assert table.rows(comparison(BASE, given))[1] == (
        "b/fp32-bs16", "slower", "1.090 [1.081, 1.100]", "13.2 s ± 0.15 s", "97.2", "92.7%", "CPU",
    )  # fmt: skip


def test_a_setting_without_metrics_has_none_in_the_table():
    row = table.rows(comparison(BASE, rival("b/fp32-bs16", None, verdict="cannot say")))[1]
    assert row == ("b/fp32-bs16", "cannot say (failed)", "-", "-", "-", "-", "-")


def test_spread_and_interval_are_left_out_where_there_are_none():
    row = table.rows(comparison(BASE, rival("b/fp32-bs16", 12.0, verdict="cannot say")))[1]
    assert row[2:4] == ("1.000", "12.0 s")


def test_notes_gather_facts_that_differ_reasons_and_warnings():
    mixed = rival("b/mixed-bs16", warnings=("repeat 1 is unlike the others",))
    failed = rival("b/fp32-bs16", None, 12.0, None, verdict="cannot say")
    assert table.notes(comparison(BASE, failed, mixed, warnings=("the CPU was busy",))) == [
        "number_format: fp32 in host/fp32-bs16, b/fp32-bs16; bf16 in b/mixed-bs16",
        "b/fp32-bs16, repeats 1, 3: failed: out of memory",
        "b/mixed-bs16, warning: repeat 1 is unlike the others",
        "warning: the CPU was busy",
    ]


def test_facts_that_are_the_same_everywhere_are_no_note():
    same = rival(facts={"number_format": ("fp32",), "device": ("another",)})
    assert table.notes(comparison(BASE, same)) == []
    assert table.differing_facts(comparison(BASE, rival(facts={"fastmath": ("on",)}))) == [
        "number_format: fp32 in host/fp32-bs16; not told in b/fp32-bs16",
        "fastmath: not told in host/fp32-bs16; on in b/fp32-bs16",
    ]


def test_what_the_job_does_not_give_is_said_once_or_of_the_settings_that_lack_it():
    lacking = dataclasses.replace(BASE, not_given=("it reports no spans: no curves",))
    more = rival(not_given=("it reports no spans: no curves", "it writes no predictions.csv"))
    failed = rival("c/fp32-bs16", None, verdict="cannot say")
    assert table.not_given(comparison(lacking, more, failed)) == [
        "not given by job toy: it reports no spans: no curves",
        "not given by job toy in b/fp32-bs16: it writes no predictions.csv",
    ]


def test_the_table_is_followed_by_the_verdict_and_its_reasons():
    text = shown(comparison(BASE, rival(explanation=("Compute takes longer.", "That is all of it."))))
    assert text.splitlines()[-2:] == ["Compute takes longer.", "That is all of it."]


def test_in_a_pipe_a_row_is_a_line_without_escape_codes():
    long = "i" * 120 + "/fp32-bs16"
    lines = shown(comparison(BASE, rival(long))).splitlines()
    assert lines[0].split()[0] == "setting"
    assert lines[2].startswith(long) and lines[2].endswith("CPU")
    assert "\x1b" not in "".join(lines)


def test_a_terminal_gets_colours_by_verdict():
    lines = shown(comparison(BASE, rival()), force_terminal=True, width=140, color_system="standard").splitlines()
    assert lines[0].startswith("\x1b[1msetting")
    assert lines[2].startswith("\x1b[31mb/fp32-bs16")


def test_eighty_columns_leave_out_what_is_least_needed():
    names = ("host/mixed-bs16", "cuda-10.0/fp32-bs16", "cuda-10.0/mixed-bs16")
    lines = lines_at(80, comparison(BASE, *map(rival, names)))
    assert lines[0].split(None, 2)[:2] == ["setting", "verdict"] and "accuracy" in lines[0]
    assert "samples/s" not in lines[0] and max(map(len, lines)) <= 80
    assert "samples/s" in lines_at(120, comparison(BASE, *map(rival, names)))[0]


def test_energy_is_left_out_before_what_the_job_declares_and_idle_power_is_said():
    given = with_energy(comparison(BASE, rival()))
    wide = lines_at(200, given)[0]
    assert "energy" in wide
    narrow = lines_at(len(wide) - len("samples/s  energy"), given)[0]
    assert "energy" not in narrow and "accuracy" in narrow
    assert any(line.startswith("Energy is that of all cards") and "idle" in line for line in lines_at(1000, given))
    assert "- Energy is that of all cards" in table.markdown(given)


def with_energy(given):
    found = comparisons.summary({"1": 900.0})
    settings = tuple(
        dataclasses.replace(each, metrics={**each.metrics, "energy_joules": found}) for each in given.settings
    )
    metrics = {**given.metrics, "energy_joules": Metric("joules", "lower", timed=True)}
    return dataclasses.replace(given, settings=settings, metrics=metrics)


@pytest.mark.parametrize("width", [32, 40, 60, 80, 100, 200])
def test_no_word_is_cut_on_any_terminal(width):
    given = comparison(BASE, rival("cuda-10.0/fp32-bs16"), rival("b/fp32-bs16", None, verdict="cannot say"))
    lines = lines_at(width, given)
    assert max(map(len, lines)) <= width
    words = {word for line in lines for word in line.split()}
    assert {"cuda-10.0/fp32-bs16", "slower", "memory"} <= words
    assert all(word in shown(given) for word in words if not word.endswith(":"))


def test_brackets_in_a_reason_are_no_markup():
    given = comparison(BASE, rival("b/fp32-bs16", None, verdict="cannot say", reasons={"1": "failed: killed [red]"}))
    assert "[red]" in shown(given)


def test_markdown_has_a_row_per_setting_and_says_why():
    given = comparison(
        BASE, rival(differences=("torch 1.2.0, not 2.14.1",)), rival("c/fp32-bs16", None, verdict="cannot say")
    )
    text = table.markdown(given)
    assert (
        "# Face-off of toy\n" in text
        and "| c/fp32-bs16 | cannot say (failed) | - |" in text
        and "- c/fp32-bs16, repeat 1: failed: out of memory" in text
    )
    assert "**b/fp32-bs16**: The training is input-bound" in text
    assert "Differs from the baseline: torch 1.2.0, not 2.14.1." in text
    assert len({line.count("|") for line in text.splitlines() if line.startswith("|")}) == 1


def test_markdown_says_the_verdict_of_each_setting_once():
    """In the conclusion that of the one that leads, beside its name that of each other one."""
    no_verdict = rival("c/fp32-bs16", verdict="cannot say", words="cannot say: load could have made it")
    text = table.markdown(comparison(BASE, rival(), no_verdict))
    assert "**c/fp32-bs16**: Cannot say: load could have made it." in text
    assert text.count("load could have made it") == 1


def test_a_bar_in_a_name_does_not_break_the_markdown_table():
    assert "GPU\\|X" in table.markdown(comparison(BASE, rival(devices=("GPU|X",))))


def test_markdown_keeps_what_looks_like_a_tag():
    failed = rival("b/fp32-bs16", None, verdict="cannot say", reasons={"1": "failed: File <stdin>, p <0.001"})
    assert "File \\<stdin>, p <0.001" in table.markdown(comparison(BASE, failed))


def test_a_process_of_somebody_elses_puts_no_link_and_no_picture_into_the_markdown():
    failed = rival("b/fp32-bs16", None, verdict="cannot say", reasons={"1": "failed: pid 17 (![a](http://b) [c](d))"})
    assert "pid 17 (![a]\\(http://b) [c]\\(d))" in table.markdown(comparison(BASE, failed))


@pytest.mark.parametrize(
    ("images", "command"), [(("a", "b"), ".venv/bin/dvc metrics diff a b"), (("a",), ".venv/bin/dvc metrics diff HEAD")]
)
def test_the_command_that_compares(images, command):
    assert command in table.how_to_diff(images)


def test_the_samples_of_the_tests_are_what_they_say():
    slower = comparisons.pair("slower", 1.1).settings[1].ratios["total_seconds"]
    assert slower.mean == pytest.approx(1.1, abs=0.01) and slower.low > 1.05
