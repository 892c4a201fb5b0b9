"""Verdicts beside load: what load could have made is not sure, and what it could not have made is."""

import dataclasses

import pytest

from benchmarks import steps_quality
from stages.harness.comparison import by_steps, compare, regression, under_load
from stages.harness.params import schema
from stages.harness.results import metrics
from tests import comparisons, results
from tests.faceoffs import REPEATS, beside, compared, face_off, faced, noisy, waits, with_facts

TOTAL, STEPS, BEYOND = metrics.TOTAL, metrics.UNDISTURBED, metrics.BEYOND
PASSIVE = {"OMP_WAIT_POLICY": "PASSIVE"}


def profiles(variables=None, **changes):
    """Of both images, with these variables."""
    found = {image: results.profile(image) for image in ("host", "other")}
    return {
        image: dataclasses.replace(each, facts=dataclasses.replace(each.facts, variables=variables or {}, **changes))
        for image, each in found.items()
    }


def loaded(found, repeats=range(1, REPEATS + 1), variables=None, images=("host", "other"), **changes):
    """What is said of `other`, where these repeats of both, or of one, ran beside others that took 40 %."""
    for image in images:
        found = beside(found, image, repeats, others_share=0.4)
    return compared(found, profiles=profiles(variables, **changes))["other"]


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


@pytest.mark.parametrize("variables", [PASSIVE, {"GOMP_SPINCOUNT": "0"}])
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


def recorded(name, setting, number=REPEATS):
    """Real trainings of one and the same setting, called `setting`, in so many repeats."""
    trainings = steps_quality.read(steps_quality.RECORDED / f"steps-{name}.jsonl")[:number]
    place = 0 if setting == steps_quality.SIDES[0] else 1
    return [steps_quality.cell(setting, repeat, each, 2 * repeat + place) for repeat, each in enumerate(trainings, 1)]


def test_load_beside_one_side_alone_is_no_verdict_by_steps():
    """Equal trainings, of which the quick third of the steps takes 1.7 times as long beside one busy process."""
    base, rival = steps_quality.SIDES
    cells = [*recorded("quiet", base), *recorded("busy-1", rival)]
    rules = schema.CompareParams(base, 0.02, (), 0)
    said = compare.compare(cells, rules, {}, results.SILENT_JOB)[1]
    assert said.ratios[STEPS].low > 1.3, "else this tests nothing"
    assert {said.verdict, said.ratios[TOTAL].verdict, said.ratios[STEPS].verdict} == {"cannot say"}
    assert f"not both alike were hit: 45% of the CPUs' time was taken beside {rival}, " in said.words

    now, then = (
        regression.Run(name, results.machine(), results.DATA_SHA256, results.SILENT_JOB, {}, recorded(load, base))
        for name, load in (("now", "busy-1"), ("v1", "quiet"))
    )
    found = {each.metric: each for each in regression.changes(now, then, 0.02)}
    assert {found[name].verdict for name in (TOTAL, STEPS)} == {"cannot say"}
    assert not any(each.is_regression for each in found.values())
    assert "not both alike were hit: 45% of the CPUs' time was taken beside now, " in found[STEPS].words


def test_what_one_sided_load_can_not_have_made_stands_by_steps_too():
    found = beside(faced(slowdown=1.6), "other", range(1, REPEATS + 1), others_share=0.15)
    said = compared(found, profiles=profiles(PASSIVE))["other"]
    assert {said.ratios[name].verdict for name in (TOTAL, STEPS)} == {"slower"}
    said = loaded(faced(slowdown=1.6), variables=PASSIVE, images=["other"])
    assert {said.ratios[name].verdict for name in (TOTAL, STEPS)} == {"cannot say"}


@pytest.mark.parametrize("shares", [(0.4, 0.3), (0.17, 0.11), (0.06, 0.02)])
def test_which_loads_are_not_alike(shares):
    """By 5 points of the CPUs' time, or one twice the other."""
    for higher, is_alike in ((shares[0], False), (shares[1] + 0.004, True)):
        here, there = (
            under_load.Side(name, {}, {"1": dict.fromkeys(under_load.TAKEN, share)}, {}, False, 2, 0)
            for name, share in (("here", higher), ("there", shares[1]))
        )
        assert (under_load.LoadBeside(here, there).unlike(["1"]) is None) == is_alike


def test_unlike_numbers_of_threads_or_workers_are_not_hit_alike():
    found = faced(slowdown=1.1)
    assert loaded(found, variables=PASSIVE).verdict == "slower"
    workers = with_facts(with_facts(found, "host", workers="0"), "other", workers="2")
    assert (
        "load does not slow down unlike numbers of workers alike (2 and 0)" in loaded(workers, variables=PASSIVE).words
    )
    same = with_facts(with_facts(found, "host", workers="2"), "other", workers="2")
    assert loaded(same, variables=PASSIVE).verdict == "slower"
    one = {"other": profiles(PASSIVE, torch_threads=1)["other"], "host": profiles(PASSIVE, torch_threads=2)["host"]}
    for image in ("host", "other"):
        found = beside(found, image, range(1, REPEATS + 1), others_share=0.4)
    said = compared(found, profiles=one)["other"]
    assert said.ratios[STEPS].verdict == "cannot say"
    assert "load does not slow down unlike numbers of threads alike (1 and 2)" in said.words


def test_beside_load_too_what_goes_both_ways_is_the_totals_to_weigh():
    said = loaded(faced(slowdown=0.97, other=lambda steps, _: [steps[0] + 1.2, *steps[1:]]), variables=PASSIVE)
    total, steps, tail = (said.ratios[name] for name in (TOTAL, STEPS, BEYOND))
    assert total.low > 1 and (steps.verdict, tail.verdict) == ("faster", "cannot say"), "else this tests nothing"
    assert (said.verdict, said.verdict_by) == ("cannot say", TOTAL) and by_steps.opposed(said.ratios)
    unsure = {**said.ratios, TOTAL: dataclasses.replace(total, low=0.99)}
    assert by_steps.decisive(unsure) == TOTAL, "by the tail"
    assert by_steps.decisive({name: said.ratios[name] for name in (TOTAL, STEPS)}) == TOTAL, "by the total's interval"


def test_steps_do_not_confirm_what_they_do_not_tell_of():
    found = [
        dataclasses.replace(
            each,
            evaluate=dataclasses.replace(
                each.evaluate,
                spans=tuple(dataclasses.replace(span, seconds=1.8 * span.seconds) for span in each.evaluate.spans),
            ),
        )
        if each.cell.image == "other"
        else each
        for each in faced(slowdown=1.1)
    ]
    quiet, said = compared(found)["other"], loaded(found, variables=PASSIVE)
    assert quiet.ratios["predict_seconds"].verdict == "slower", "else this tests nothing"
    assert said.ratios["predict_seconds"].verdict == "cannot say"
    sure = (TOTAL, STEPS, "head_seconds", metrics.RATE)
    assert {said.ratios[name].verdict for name in sure if name in said.ratios} == {"slower"}


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
    base, here = (comparisons.summary({"1": each, "2": 1.001 * each, "3": 0.999 * each}) for each in (10.0, 12.0))
    wish = {"reason": "about 3 more repeats would settle it", "more_repeats": 3}
    total, steps = comparisons.ratio(here, base, "slower"), comparisons.ratio(here, base, "inconclusive", **wish)
    side = under_load.Side("one", {each: {"others_share": 0.4} for each in "123"}, {}, {}, False, 2, None)
    beside_load = under_load.LoadBeside(side, side)
    said = under_load.weighed({TOTAL: total, STEPS: steps}, beside_load, {TOTAL})[TOTAL]
    assert (said.verdict, said.more_repeats) == ("cannot say", 3)
    assert said.reason.endswith("about 3 more repeats would settle those, or end what else runs, and measure anew")
