"""What is called a regression, of results whose truth is known. Files and git: test_against.py."""

import dataclasses

import pytest

from stages.errors import FaceoffError
from stages.harness.comparison import regression
from stages.records import Metric
from tests import faceoffs, results


def run(name, **images):
    return run_of(name, faceoffs.face_off(**images))


def run_of(name, found):
    return regression.Run(name, results.machine(), results.DATA_SHA256, results.JOB, {}, found)


def times(factor, seed, spread=0.01):
    return faceoffs.noisy(10.0 * factor, 5, spread, seed)


def regressions(factor, trials=100):
    """How many of so many changes by this factor are called one."""
    called = 0
    for seed in range(trials):
        found = regression.changes(run("now", host=times(factor, seed)), run("v1", host=times(1.0, 1000 + seed)), 0.02)
        called += any(each.is_regression for each in found)
    return called


def test_slower_by_just_the_margin_is_seldom_a_regression():
    assert regressions(1.02) <= 10  # 5 is the level; more than 10 of 100 are less likely than 1 %


def test_slower_by_far_more_than_the_margin_is_one():
    assert regressions(1.1, trials=20) == 20


def test_what_is_inconclusive_says_how_many_repeats_would_settle_it():
    now, then = run("now", host=[10.2, 10.9, 9.9, 10.5, 10.0]), run("v1", host=[10.0, 10.6, 9.8, 10.3, 9.9])
    total, *_ = regression.changes(now, then, 0.02)
    assert total.verdict == "inconclusive"
    assert "; about " in total.words and total.words.endswith(" repeats of each would settle it")


def test_more_energy_is_told_as_that_and_is_no_regression():
    now, then = plugged(run("now", host=times(1.0, 2)), 500.0), plugged(run("v1", host=times(1.0, 1)), 300.0)
    [energy] = [each for each in regression.changes(now, then, 0.02) if each.metric == "cpu_joules"]
    assert energy.words.startswith("more: 1.667 times the energy in v1 (") and not energy.is_regression


def test_a_time_is_as_sure_whether_energy_is_known_or_not():
    then, regressed = run("v1", host=times(1.0, 1)), []
    for step in range(30):
        now = run("now", host=times(1.03 + 0.001 * step, 2))
        pairs = ((now, then), (plugged(now, 300.0), plugged(then, 300.0)))
        plain, beside = (
            {each.metric for each in regression.changes(*pair, 0.02) if each.is_regression} for pair in pairs
        )
        assert plain == beside
        regressed.append("total_seconds" in plain)
    assert {*regressed} == {False, True}


def plugged(one, joules):
    """Return the run with what the processors took, which differs by a hundredth from one repeat to the next."""
    found = []
    for each in one.results:
        absent = {name: why for name, why in each.train.absent.items() if name != "cpu_joules"}
        train = dataclasses.replace(each.train, cpu_joules=joules * (1 + each.cell.repeat / 100), absent=absent)
        found.append(dataclasses.replace(each, train=train))
    return run_of(one.name, found)


def test_what_load_could_have_made_is_no_regression():
    """The total alone is slower beside load: with steps that say so it stands where threads sleep and both had it."""
    now, then = run("now", host=times(1.2, 2)).results, run("v1", host=times(1.0, 1)).results
    now, busy = (faceoffs.beside(each, "host", range(1, 6), others_share=0.4) for each in (now, then))
    total, *others = regression.changes(run_of("now", now), run_of("v1", then), 0.02)
    assert total.verdict == "cannot say" and not any(each.is_regression for each in (total, *others))
    assert total.words.startswith(
        "cannot say: load could have made it: in 5 of 5 repeats other processes took 40% of the CPUs' time (now), and "
    )
    assert "as measured, slower: 1.2" in total.words
    assert on_steps(now, busy, OMP_WAIT_POLICY="passive")["total_seconds"].is_regression
    found = on_steps(now, busy)
    assert not any(each.is_regression for each in found.values())
    assert "(now) and in 5 of 5 repeats other processes" in found["total_seconds"].words
    assert "threads of now and v1 may spin while they wait" in found["total_seconds"].words


def on_steps(now, then, **variables):
    """The changes by metric, with step times."""
    profile = results.profile("host")
    profiles = {"host": dataclasses.replace(profile, facts=dataclasses.replace(profile.facts, variables=variables))}
    runs = (
        dataclasses.replace(run_of(name, faceoffs.with_steps(found)), profiles=profiles)
        for name, found in (("now", now), ("v1", then))
    )
    return {each.metric: each for each in regression.changes(*runs, 0.02)}


def test_load_beside_now_alone_is_no_regression_unless_the_difference_is_more_than_it_makes():
    """15 % of 2 CPUs are 30 % of one: what takes 1.43 times as long beside it may be as fast alone."""
    then = run("v1", host=times(1.0, 1)).results
    for factor, is_regression in ((1.2, False), (1.6, True)):
        now = faceoffs.beside(run("now", host=times(factor, 2)).results, "host", range(1, 6), others_share=0.15)
        found = on_steps(now, then, OMP_WAIT_POLICY="passive")
        assert {found[name].is_regression for name in ("total_seconds", "undisturbed_seconds")} == {is_regression}
        assert not found["predict_seconds"].is_regression
    then = faceoffs.beside(run("v1", host=times(1.6, 2, 0.0101)).results, "host", range(1, 6), others_share=0.15)
    assert on_steps(now, then, OMP_WAIT_POLICY="passive")["total_seconds"].verdict == "equivalent"


def test_steps_confirm_no_regression_of_what_they_do_not_tell_of():
    loaded = [
        faceoffs.beside(faceoffs.face_off(host=times(factor, seed)), "host", range(1, 6), others_share=0.4)
        for factor, seed in ((1.2, 2), (1.0, 1))
    ]
    found = on_steps(*loaded, OMP_WAIT_POLICY="passive")
    assert found["head_seconds"].is_regression and not found["predict_seconds"].is_regression
    assert "as measured, slower: 1.2" in found["predict_seconds"].words, "else this tests nothing"


def test_settings_that_are_gone_and_predictions_are_told():
    images = {"host": [10.0] * 3, "cpu": [12.0] * 3}
    then = faceoffs.predicting(run("v1", **images).results, host=(), cpu=())
    now = faceoffs.predicting(run("now", host=[10.0] * 3).results, host=range(9))
    now, then = run_of("now", now), run_of("v1", then)
    assert regression.gone(now, then) == ("cpu/fp32-bs16",)
    assert regression.predicted(now, then) == {
        "host/fp32-bs16": "worse at predicting: 0 items are right only here, 9 only in v1 (p = 0.004)"
    }


@pytest.mark.parametrize(
    ("change", "named"),
    [
        ({"name": "mine"}, "are of another job: name was mine, and is toy"),
        ({"total": ("head",)}, "are of another job: total was ('head',)"),
        (
            {"metrics": {**results.JOB.metrics, "loss": Metric("points", "lower", True)}},
            "are of another job: metric loss was points, lower is better, timed, and is left out; measure both",
        ),
        (
            {"section_json": '{"data": {"seed": 1}, "size": 96}'},
            "are of toy.data.seed 1, not 42; measure both with one",
        ),
        ({"section_json": '{"size": 96}'}, "are of toy.data.seed left out, not 42"),
    ],
)
def test_another_job_is_refused_by_what_is_not_the_same(change, named):
    now = run_of("now", [])
    then = dataclasses.replace(run_of("v1", []), job=dataclasses.replace(results.JOB, **change))
    with pytest.raises(FaceoffError) as refused:
        regression.check_same(now, then)
    assert f"refused: the results in v1 {named}" in str(refused.value) and refused.value.exit_code == 2


def test_another_machine_and_other_data_are_refused_and_a_job_whose_code_changed_is_not():
    now = run_of("now", [])
    for change in ({"resumes": False}, {"train": "python other.py"}, {"files": {}}):
        regression.check_same(now, dataclasses.replace(now, job=dataclasses.replace(results.JOB, **change)))
    for change in ({"machine": results.machine("two")}, {"data_sha256": "0" * 64}):
        with pytest.raises(FaceoffError):
            regression.check_same(now, dataclasses.replace(now, **change))
