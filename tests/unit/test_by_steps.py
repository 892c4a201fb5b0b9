"""Verdicts from undisturbed steps beside those from totals: planted slowdowns, tails and load get what they should."""

import dataclasses
import random

import pytest

from stages.harness import formatting
from stages.harness.comparison import by_steps, sentences, under_load
from stages.harness.comparison.more_repeats import extension, unsettled
from stages.harness.report import table
from stages.harness.results import metrics, undisturbed
from stages.harness.results.read import StepTimes
from stages.records import WALL
from tests import comparisons, results
from tests.faceoffs import beside, compared, face_off, noisy, with_steps
from tests.page import pages

REPEATS = 8
TOTAL, STEPS, BEYOND = metrics.TOTAL, metrics.UNDISTURBED, metrics.BEYOND


# ------------------------------------------------------------------------------------------------------- planted data


def waits(seed, most=6.0):
    """A tail that makes a total noisy: in each epoch one step waits, for up to `most` seconds."""
    noise = random.Random(seed)  # noqa: S311 - repeatable

    def tail(steps, _):
        steps[noise.randrange(1, len(steps))] += noise.uniform(0, most)
        return steps

    return tail


def every_tenth(steps, _):
    return [step + 0.8 * (place % 10 == 9) for place, step in enumerate(steps)]


def pause(steps, _):
    return [*steps[:7], steps[7] + 2.0, *steps[8:]]


def slow_start(steps, index):
    return [step + 1.2 * (index == 0 and place < 3) for place, step in enumerate(steps)]


def both(one, other):
    return lambda steps, index: other(one(steps, index), index)


def faced(seed=0, slowdown=1.0, repeats=REPEATS, host=None, other=None, spread=0.003):
    """Cells of two images with step times; `host`, `other`: their tails."""
    found = face_off(
        host=noisy(10.0, repeats, spread, 2 * seed), other=noisy(10.0 * slowdown, repeats, spread, 2 * seed + 1)
    )
    return with_steps(found, seed=seed, **{name: tail for name, tail in (("host", host), ("other", other)) if tail})


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


# ----------------------------------------------------------------------------------------------------------- the load

PASSIVE = {"OMP_WAIT_POLICY": "PASSIVE"}


def profiles(variables=None, **changes):
    """Of both images, with these variables."""
    found = {image: results.profile(image) for image in ("host", "other")}
    return {
        image: dataclasses.replace(each, facts=dataclasses.replace(each.facts, variables=variables or {}, **changes))
        for image, each in found.items()
    }


def loaded(found, repeats=range(1, REPEATS + 1), variables=None, **changes):
    """What is said of `other`, where these repeats of it ran beside others that took 40 %."""
    return compared(beside(found, "other", repeats, others_share=0.4), profiles=profiles(variables, **changes))["other"]


def test_load_that_slows_some_steps_of_one_side_is_no_verdict():
    """Every other step takes longer: the total is slower for sure, and the steps undisturbed are not."""
    said = loaded(faced(other=lambda steps, _: [1.5 * step if place % 2 else step for place, step in enumerate(steps)]))
    total = said.ratios[TOTAL]
    assert total.low > 1.1 and (said.verdict, total.verdict) == ("cannot say", "cannot say")
    assert "load could have made it: in 8 of 8 pairs other processes took 40% of the CPUs' time, and " in said.words
    assert said.words.count("end what else runs, and measure anew") == 1
    assert total.p_value is not None, "what was found stays"


def test_a_slowdown_beside_load_stands_where_the_steps_say_so_and_threads_sleep():
    said = loaded(faced(slowdown=1.1), variables=PASSIVE)
    assert (said.verdict, said.verdict_by) == ("slower", TOTAL)
    said = loaded(faced(slowdown=1.05, host=waits(1), other=waits(2)), variables=PASSIVE)
    assert (said.verdict, said.verdict_by) == ("slower", STEPS)


@pytest.mark.parametrize("variables", [PASSIVE, {"GOMP_SPINCOUNT": "0"}, {"KMP_BLOCKTIME": "0"}])
def test_threads_that_spin_put_the_steps_in_doubt_too(variables):
    found = faced(slowdown=1.1)
    said = loaded(found)
    assert {said.ratios[name].verdict for name in (TOTAL, STEPS, "head_seconds")} == {"cannot say"}
    assert "threads of other/fp32-bs16 and host/fp32-bs16 may spin while they wait" in said.words
    assert 'set OMP_WAIT_POLICY: passive and GOMP_SPINCOUNT: "1000" in `env` of params.yaml' in said.words
    assert loaded(found, variables=variables).verdict == "slower"


def test_one_thread_waits_for_no_other():
    assert loaded(faced(slowdown=1.1), torch_threads=1).verdict == "slower"


def test_steps_on_a_gpu_are_not_of_spinning_threads():
    found = [
        dataclasses.replace(each, train=dataclasses.replace(each.train, facts={"device": "Tesla T4"}))
        for each in faced(slowdown=1.1)
    ]
    assert not under_load.may_spin(found, profiles()) and under_load.may_spin(faced(), profiles())
    assert loaded(found).verdict == "slower"


def test_load_beside_less_than_half_of_the_pairs_could_not_have_made_it():
    found = faced(slowdown=1.1)
    assert loaded(found, repeats=range(1, REPEATS // 2)).verdict == "slower"
    assert loaded(found, repeats=range(1, REPEATS // 2 + 1)).verdict == "cannot say"


@pytest.mark.parametrize(
    ("load", "said"),
    [
        ({"steal_share": 0.05}, "5% of it went to other machines (steal)"),
        ({"throttled_seconds": 4.1, "absent": {}}, "a CPU quota held back for 10% of the time"),
    ],
)
def test_steal_and_a_quota_are_load(load, said):
    found = beside(face_off(host=noisy(10.0, 4), other=noisy(11.0, 4, seed=1)), "host", range(1, 5), **load)
    words = compared(found)["other"].words
    assert f"in 4 of 4 pairs {said}, and there are no step times to see through it; end what else runs" in words


def test_a_difference_that_is_too_large_for_the_load_stands_without_step_times():
    """15 % of 2 CPUs are 30 % of one: what takes 1.43 times as long beside it may be as fast alone."""
    for slowdown, verdict in ((1.3, "cannot say"), (1.6, "slower")):
        found = face_off(host=noisy(10.0, 4), other=noisy(10.0 * slowdown, 4, seed=1))
        on_others = beside(found, "other", range(1, 5), others_share=0.15)
        assert compared(on_others, profiles=profiles(PASSIVE))["other"].verdict == verdict
        assert compared(on_others, profiles=profiles())["other"].verdict == "cannot say", "threads that spin lose more"
    on_baseline = beside(found, "host", range(1, 5), others_share=0.15)
    assert compared(on_baseline, profiles=profiles(PASSIVE))["other"].verdict == "slower", "load made it only smaller"


def test_what_is_equivalent_beside_load_stands():
    assert loaded(faced()).verdict == "equivalent"


def test_where_steps_are_not_settled_beside_load_their_repeats_are_asked_for():
    steps = ratio("inconclusive", reason="about 3 more repeats would settle it", more_repeats=3)
    beside_load = under_load.LoadBeside({each: {"others_share": 0.4} for each in "123"}, ())
    said = under_load.weighed({TOTAL: ratio("slower", 1.2), STEPS: steps}, beside_load)[TOTAL]
    assert (said.verdict, said.more_repeats) == ("cannot say", 3)
    assert said.reason.endswith("about 3 more repeats would settle those, or end what else runs, and measure anew")


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
