"""compare.thresholds: which of them a run broke, for sure or not, and how that is told."""

import dataclasses

import pytest

from stages import codec, records
from stages.codec import RecordError
from stages.errors import FaceoffError
from stages.harness.comparison import against, regression
from stages.harness.params import schema, thresholds
from stages.harness.params.schema import CompareParams
from stages.harness.report import against as report
from stages.records import Metric
from tests import faceoffs, results

SECONDS, SHARE = Metric("seconds", "lower", timed=True), Metric("share", "higher")


def run(name, found):
    return regression.Run(name, results.machine(), results.DATA_SHA256, results.JOB, {}, found)


def times(factor, seed=1, spread=0.005, repeats=5):
    return faceoffs.face_off(host=faceoffs.noisy(10.0 * factor, repeats, spread, seed))


def scoring(found, *accuracies):
    """The same results, whose evaluations say these accuracies."""
    said = [{**each.evaluate.metrics, "accuracy": value} for each, value in zip(found, accuracies, strict=True)]
    return [
        dataclasses.replace(each, evaluate=dataclasses.replace(each.evaluate, metrics=metrics))
        for each, metrics in zip(found, said, strict=True)
    ]


def judged(now, then, **wanted):
    rules = CompareParams("host/fp32-bs16", 0.02, (), 0, wanted)
    return against.judge(run("now", now), run("v1", then), rules)


@pytest.mark.parametrize(
    ("factor", "status", "code"), [(1.2, "broken for sure", 1), (1.0, "kept", 0), (0.8, "kept", 0), (1.03, "kept", 0)]
)
def test_a_total_that_may_rise_by_5_percent(factor, status, code):
    found = judged(times(factor), times(1.0, seed=2), total_seconds="5%")
    assert [each.status for each in found.limits] == [status]
    assert found.exit_code == code


def test_what_broke_and_may_be_chance_has_an_exit_code_of_its_own():
    found = judged(times(1.1, spread=0.1), times(1.0, seed=2, spread=0.1), total_seconds="+1%")
    [limit] = found.limits
    assert (limit.status, found.exit_code) == ("broken", 3)
    assert limit.words.endswith("+1% allowed, which may be chance")
    assert found.conclusion == "Broken, which may be chance: host/fp32-bs16 (total_seconds)."


def test_thresholds_decide_in_place_of_the_margin():
    slower = times(1.04), times(1.0, seed=2)
    assert judged(*slower).exit_code == 1
    assert judged(*slower, total_seconds="10%").exit_code == 0
    assert judged(*slower, total_seconds="10%").conclusion == "No threshold is broken since v1."


def test_a_rate_breaks_downwards_alone():
    assert judged(times(1.2), times(1.0, seed=2), samples_per_second="-5%").exit_code == 1
    assert judged(times(0.8), times(1.0, seed=2), samples_per_second="5%").exit_code == 0


def test_an_accuracy_in_points_of_a_share():
    then = scoring(times(1.0), 0.931, 0.930, 0.932, 0.931, 0.930)
    worse = scoring(times(1.0), 0.921, 0.920, 0.922, 0.921, 0.920)
    found = judged(worse, then, accuracy="-0.5 points", total_seconds="5%")
    assert [(each.metric, each.status) for each in found.limits] == [
        ("accuracy", "broken for sure"), ("total_seconds", "kept")
    ]  # fmt: skip
    assert found.limits[0].change == pytest.approx(-0.01)
    assert found.limits[0].words.startswith("broken for sure: -1.00 points (95% interval -1.1")
    assert found.conclusion == "Broken for sure: host/fp32-bs16 (accuracy)."
    assert judged(worse, then, accuracy="-1.5 points").exit_code == 0


def test_an_accuracy_that_is_the_same_in_all_repeats_is_kept():
    assert judged(times(1.0), times(1.0, seed=2), accuracy="0 points").exit_code == 0


def test_too_few_repeats_and_a_confounder_cannot_be_told():
    found = judged(times(1.0)[:2], times(1.0, seed=2), total_seconds="5%")
    assert (found.limits[0].status, found.exit_code) == ("cannot say", 2)
    assert "2 against 5 repeats" in found.limits[0].words
    there = faceoffs.with_facts(times(1.0), "host", device="Tesla T4")
    assert "confounded: it ran on CPU, v1 on GPU Tesla T4" in judged(
        times(1.2), there, total_seconds="5%"
    ).conclusion + (judged(times(1.2), there, total_seconds="5%").limits[0].words)


def test_what_load_could_have_made_is_not_broken():
    loaded = faceoffs.beside(times(1.2), "host", range(1, 6), others_share=0.4)
    found = judged(loaded, times(1.0, seed=2), total_seconds="5%")
    assert (found.limits[0].status, found.exit_code) == ("cannot say", 2)
    assert "load could have made it" in found.limits[0].words


def test_a_threshold_of_no_metric_is_one_line():
    with pytest.raises(FaceoffError, match=r"^params.yaml: compare.thresholds: no metric 'acuracy'; known are total"):
        judged(times(1.0), times(1.0, seed=2), acuracy="1%")


@pytest.mark.parametrize(
    ("text", "metric", "problem"),
    [
        ("-5%", SECONDS, "a sign of + or none, as lower is better, found '-5%'"),
        ("+0.5 points", SHARE, "a sign of - or none, as higher is better"),
        ("5 points", SECONDS, "a change in % or in seconds, found '5 points'"),
        ("100%", SHARE, "less than 100%, for it cannot fall by more"),
        ("0.5 seconds", SHARE, "a change in % or in points"),
    ],
)
def test_a_threshold_that_does_not_fit_its_metric_is_refused(text, metric, problem):
    with pytest.raises(RecordError) as refused:
        thresholds.allowed(text, "it", metric)
    assert str(refused.value).startswith("params.yaml: compare.thresholds.it: expected ") and problem in str(
        refused.value
    )


@pytest.mark.parametrize(
    ("text", "metric", "most"),
    [("5%", SECONDS, 0.05), ("+ 5 %", SECONDS, None), ("0.5 points", SHARE, 0.005), ("3 seconds", SECONDS, 3.0),
     ("2 points", Metric("points", "higher"), 2.0), ("-2%", SHARE, 0.02)],
)  # fmt: skip
def test_what_a_threshold_allows(text, metric, most):
    if most is None:
        assert thresholds.parse(text) is None
    else:
        assert thresholds.allowed(text, "it", metric)[1] == pytest.approx(most)


@pytest.mark.parametrize("text", ["5", "much", "", "%", "1e3%", "5%%"])
def test_what_is_no_threshold_is_refused_before_anything_runs(text):
    with pytest.raises(RecordError, match=r"^thresholds.total_seconds: expected a change with its unit in quotes"):
        CompareParams("host/fp32-bs16", 0.02, (), 0, {"total_seconds": text})


def test_params_without_thresholds_are_those_of_older_commits():
    section = codec.decode(schema.CompareParams, {"baseline": "a/b", "margin": 0.02, "looks": [], "remeasure": 1}, "it")
    assert section.thresholds == {}


def test_json_is_a_record_and_markdown_has_what_broke():
    found = judged(times(1.2), times(1.0, seed=2), total_seconds="5%")
    assert codec.parse(codec.text(found), records.Against, "it.json") == found
    text = report.markdown(found)
    assert text.startswith("### toy against v1\n\n❌ Broken for sure: host/fp32-bs16 (total_seconds).\n")
    assert "| ❌ | host/fp32-bs16 | total time | 5% | broken for sure: +19." in text
    assert report.text(found).splitlines()[-1] == found.conclusion


def test_markdown_takes_no_text_for_its_own():
    found = judged(times(1.2), times(1.0, seed=2))
    hostile = dataclasses.replace(found.changes[0], setting="a|b<script>", words="<img src=x> | end\nnew")
    text = report.markdown(dataclasses.replace(found, changes=(hostile,), gone=("<b>",)))
    assert "<script" not in text.replace("\\<script", "") and "<img" not in text.replace("\\<img", "")
    assert r"a\|b\<script>" in text and "end new" in text
