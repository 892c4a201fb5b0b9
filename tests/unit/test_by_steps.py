"""Verdicts from undisturbed steps beside those from totals: planted slowdowns and tails get what they should."""

import dataclasses

import pytest

from stages.harness import formatting
from stages.harness.comparison import by_steps, regression, sentences
from stages.harness.comparison.more_repeats import extension, unsettled
from stages.harness.report import table
from stages.harness.results import metrics, undisturbed
from stages.harness.results.read import StepTimes
from stages.records import WALL
from tests import comparisons, results
from tests.faceoffs import compared, face_off, faced, noisy, waits
from tests.page import pages

TOTAL, STEPS, BEYOND = metrics.TOTAL, metrics.UNDISTURBED, metrics.BEYOND


# ------------------------------------------------------------------------------------------------------- planted data


def every_tenth(steps, _):
    return [step + 0.8 * (place % 10 == 9) for place, step in enumerate(steps)]


def pause(steps, _):
    return [*steps[:7], steps[7] + 2.0, *steps[8:]]


def slow_start(steps, index):
    return [step + 1.2 * (index == 0 and place < 3) for place, step in enumerate(steps)]


def both(one, other):
    return lambda steps, index: other(one(steps, index), index)


def judged(*arguments, **options):
    return compared(faced(*arguments, **options))["other"]


# ----------------------------------------------------------------------------------------------------- the estimator


def steps_of(*seconds, span="head"):
    return StepTimes(span, seconds)


def test_undisturbed_is_the_number_of_steps_times_what_most_of_them_take_at_their_best():
    assert undisturbed.seconds([steps_of(9.0, 1.0, 1.0, 1.0, 1.0, 1.0, 7.0)]) == pytest.approx(7.0)
    slower = undisturbed.seconds([steps_of(9.0, 1.05, 1.05, 1.05, 1.05, 1.05, 7.0)])
    assert slower == pytest.approx(7 * 1.05), "all of a slowdown of every step is seen"


def test_undisturbed_steps_are_of_each_name_of_spans_by_itself():
    kinds = [steps_of(*[1.0] * 6), steps_of(*[3.0] * 6, span="body"), steps_of(*[3.0] * 6, span="body")]
    assert undisturbed.seconds(kinds) == pytest.approx(6 + 36)


def test_a_spans_first_step_is_not_looked_at_and_counts_where_there_are_few():
    assert undisturbed.seconds([steps_of(0.1, *[1.0] * 5)] * 4) == pytest.approx(24.0)
    assert undisturbed.seconds([steps_of(2.0, 2.0, 4.0, 4.0)]) == pytest.approx(8.0)
    assert undisturbed.seconds([steps_of(2.0)]) == pytest.approx(2.0)


# -------------------------------------------------------------------------------------------------------- the metrics


def test_total_is_undisturbed_steps_and_what_comes_beyond_them():
    one = faced(other=pause)[1]
    found = metrics.values(one, results.JOB)
    assert found[STEPS] + found[BEYOND] == pytest.approx(found[TOTAL])
    assert found[STEPS] == pytest.approx(27.0, rel=0.02), "nine tenths of three epochs"
    assert found[BEYOND] == pytest.approx(3 + 3 + 3 * 2.0, rel=0.1), "a tenth of each epoch, a prediction, the pauses"
    assert [*metrics.declared(results.JOB, [one])][:3] == [TOTAL, STEPS, BEYOND]


def test_steps_are_those_of_the_spans_that_the_total_is_made_of():
    one = faced()[0]
    body = dataclasses.replace(results.JOB, total=("body",))
    assert metrics.values(one, body)[STEPS] == pytest.approx(18.0, rel=0.02)
    assert metrics.values(one, dataclasses.replace(body, total=WALL))[STEPS] == pytest.approx(27.0, rel=0.02)
    assert STEPS not in metrics.values(one, dataclasses.replace(body, total=("predict",)))


def test_of_rounding_dust_beyond_the_steps_there_is_no_ratio():
    """Steps that take all of the total but for a ten-thousandth, or a little more than it."""
    job = dataclasses.replace(results.JOB, total=("head",))
    found = []
    for each in faced():
        head, *rest = each.train.spans
        seconds = 10.0 * (1.0001 if each.cell.repeat % 2 else 0.9999)
        train = dataclasses.replace(each.train, spans=(dataclasses.replace(head, seconds=seconds), *rest))
        found.append(dataclasses.replace(each, train=train, steps=(StepTimes("head", (0.5,) * 20), *each.steps[1:])))
    assert {round(metrics.values(each, job)[BEYOND], 6) for each in found} == {0.0, 0.001}
    said = compared(found, job=job)["other"]
    assert STEPS in said.ratios and BEYOND not in said.ratios
    host = [each for each in found if each.cell.image == "host" and each.cell.repeat % 2]
    longer = [dataclasses.replace(each, train=dataclasses.replace(each.train, wall_seconds=99.0)) for each in host]
    now, then = (
        regression.Run(name, results.machine(), results.DATA_SHA256, job, {}, found)
        for name, found in (("now", host), ("then", longer))
    )
    assert BEYOND not in [each.metric for each in regression.changes(now, then, 0.02)]


def test_without_step_times_there_are_no_such_metrics():
    said = compared(face_off(host=noisy(10.0, 4), other=noisy(10.0, 4, seed=1)))["other"]
    assert not {STEPS, BEYOND} & {*said.metrics, *said.ratios}


def test_steps_of_other_spans_make_no_pair():
    found = faced()
    found[1] = dataclasses.replace(found[1], steps=found[1].steps[1:])
    said = compared(found)["other"]
    assert "1" in said.ratios[TOTAL].pairs and "1" not in {*said.ratios[STEPS].pairs, *said.ratios[BEYOND].pairs}


# ----------------------------------------------------------------------------------------------- which of them decides


def test_a_settled_total_decides():
    said = judged(slowdown=1.05)
    assert (said.verdict, said.verdict_by) == ("slower", TOTAL)
    assert said.words.startswith("slower: 1.05") and "steps" not in said.words, "both say the same: once is enough"


def test_steps_decide_where_the_total_drowns():
    said = judged(slowdown=1.05, host=waits(1), other=waits(2))
    assert said.ratios[TOTAL].verdict == "inconclusive", "else this tests nothing"
    assert (said.verdict, said.verdict_by) == ("slower", STEPS)
    assert said.words.startswith(
        f"slower by its steps: {said.ratios[STEPS].mean:.3f} times the time of the baseline's steps (95%"
    )
    assert "; what the job took: inconclusive, " in said.words
    assert unsettled(comparisons.comparison(said)) == [], "make until stops here"


def test_where_neither_is_settled_the_fewer_repeats_are_asked_for():
    said = judged(slowdown=1.02, repeats=4, spread=0.01, host=waits(1), other=waits(2))
    asked = [said.ratios[name].more_repeats for name in (TOTAL, STEPS)]
    assert said.verdict == "inconclusive" and asked[1] and (asked[0] is None or asked[0] > asked[1])
    given = comparisons.comparison(said)
    assert unsettled(given) == [said]
    assert "; what its steps take undisturbed: 1.0" in said.words
    assert f", {asked[1]} in nine of ten cases, judged from 4 pairs" in said.words
    planned = extension(given, faced(), 1e9)
    assert f"{asked[1]} more repeat" in planned.words


def test_no_false_alarm_by_steps_where_the_tail_is_noisy():
    called = sum(
        judged(seed, host=waits(seed), other=waits(99 - seed)).verdict in by_steps.CALLED for seed in range(20)
    )
    assert called <= 3, "1 of 20 is the level"


# ----------------------------------------------------------------------------------------------------------- the tail


@pytest.mark.parametrize("tail", [every_tenth, pause, slow_start])
@pytest.mark.parametrize("is_noisy", [False, True])
def test_a_slowdown_in_the_tail_alone_is_never_equivalent(tail, is_noisy):
    for seed in range(8):
        host, other = (waits(seed), both(tail, waits(99 - seed))) if is_noisy else (None, tail)
        said = judged(seed, host=host, other=other)
        steps = said.ratios[STEPS]
        assert "equivalent" not in (said.verdict, steps.verdict)
        if not is_noisy:
            assert (said.verdict, said.verdict_by) == ("slower", TOTAL)
            assert said.ratios[BEYOND].verdict == "slower", "the tail has its own line"
            assert 0.99 < steps.mean < 1.01, "and the steps have theirs"
            assert (
                "what comes beyond its steps is not for sure: by that alone the total is 1."
                in said.ratios[STEPS].reason
            )


def test_equal_steps_and_an_equal_tail_are_equivalent_by_both():
    said = judged()
    assert (said.verdict, said.ratios[STEPS].verdict) == ("equivalent", "equivalent")


def test_the_tail_is_told_how_many_repeats_would_settle_it():
    found = {STEPS: ratio("equivalent")}
    tail = ratio("inconclusive", reason="about 7 more repeats would settle it", more_repeats=7)
    said = by_steps.with_tail(found, tail)[STEPS]
    assert (said.verdict, said.more_repeats) == ("inconclusive", 7)
    assert "by that alone the total may be 1.000" in said.reason and said.reason.endswith(
        "7 more repeats would settle it"
    )
    assert by_steps.with_tail(found, ratio("equivalent")) == found


def ratio(verdict, mean=1.0, **changes):
    base = comparisons.summary({"1": 10.0, "2": 10.01, "3": 9.99})
    here = comparisons.summary({key: mean * value for key, value in base.samples.items()})
    return comparisons.ratio(here, base, verdict, **changes)


def test_faster_steps_and_a_slower_tail_leave_it_to_the_total():
    said = judged(slowdown=0.95, other=lambda steps, _: [steps[0] + 0.5, *steps[1:]])
    found = {name: said.ratios[name].verdict for name in (STEPS, BEYOND)}
    assert found == {STEPS: "faster", BEYOND: "slower"}, "else this tests nothing"
    unsure = {**said.ratios, TOTAL: dataclasses.replace(said.ratios[TOTAL], verdict="inconclusive")}
    assert by_steps.decisive(unsure) == TOTAL
    words = sentences.words(unsure, "ok", None, 0.02)
    assert "what comes beyond them: slower, so the total has to weigh the two" in words
    assert by_steps.decisive({name: unsure[name] for name in (TOTAL, STEPS)}) == STEPS


def test_steps_are_a_headline_at_half_the_level():
    found = {TOTAL: ratio("inconclusive", mean=1.02), STEPS: ratio("slower", mean=1.04, p_value=0.024)}
    assert by_steps.decisive(found) == STEPS
    assert by_steps.decisive({**found, STEPS: ratio("slower", mean=1.04, p_value=0.026)}) == TOTAL


# ------------------------------------------------------------------------------------------------------- what is read


@pytest.fixture
def by_its_steps():
    found = faced(slowdown=1.05, host=waits(1), other=waits(2))
    settings = compared(found).values()
    return comparisons.comparison(*settings, metrics=metrics.declared(results.JOB, found))


def test_the_table_marks_a_verdict_by_steps_and_shows_the_ratio_that_decides(by_its_steps):
    other = by_its_steps.settings[1]
    row = table.rows(by_its_steps)[1]
    assert row[1] == "slower (by steps)"
    assert row[2].startswith(f"{other.ratios[STEPS].mean:.3f} [")
    assert f"other/fp32-bs16 is slower by its steps: {other.ratios[STEPS].mean:.3f} times" in table.conclusion(
        by_its_steps
    )
    assert table.verdict(dataclasses.replace(other, status="partial")) == "slower (by steps, partial)"


def test_what_the_job_took_its_steps_and_the_tail_have_a_line_each(by_its_steps):
    other = by_its_steps.settings[1]
    took, steps, tail = table.times(other, by_its_steps)
    assert took.startswith("what the job took: inconclusive, ")
    assert steps == f"what its steps take undisturbed: slower, {formatting.ratio(other.ratios[STEPS])}"
    assert tail.startswith("what comes beyond them: inconclusive, ")
    text = table.markdown(by_its_steps)
    assert "| setting | what the job took | what its steps take undisturbed | what comes beyond them |" in text
    assert "What the job took is its whole time" in text
    assert table.times(by_its_steps.settings[1], comparisons.pair()) == []
    assert "what the job took" not in table.markdown(comparisons.pair())


def test_the_page_cites_the_ratio_that_decides_and_shows_all_three(by_its_steps):
    text = pages.html(by_its_steps)
    heading = text[text.index("<h1>") : text.index("</h1>")]
    assert "is slower (by steps), " in heading and 'data-place="settings/1/ratios/undisturbed_seconds/mean"' in heading
    for name in (TOTAL, STEPS, BEYOND):
        assert f'data-place="settings/1/ratios/{name}/low"' in text
    assert "marked <b>by steps</b>" in text
    assert "what comes beyond them" not in pages.html(comparisons.pair())


def test_a_reason_that_goes_for_several_metrics_stands_once_on_the_page():
    found = compared(face_off(host=noisy(10.0, 2), other=noisy(9.0, 2, seed=1)))
    [reason] = {each.reason for each in found["other"].ratios.values()}
    text = pages.html(comparisons.comparison(*found.values()))
    table_of_ratios = text[text.index("what would settle it") :].partition("</table>")[0]
    assert len(found["other"].ratios) > 1 and table_of_ratios.count(str(reason)) == 1
    assert table_of_ratios.count("as above") == len(found["other"].ratios) - 1
