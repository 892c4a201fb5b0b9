"""How the settings of a run are laid side by side: which are compared with which, and what is said where one is not."""

import dataclasses

import pytest

from stages.harness.comparison import compare
from stages.records import BEGAN_ANEW, Metric
from tests import results
from tests.faceoffs import changed, compared, face_off, noisy, with_facts


def test_only_repeats_that_both_ran_whole_are_paired():
    found = face_off(host=[10.0, 10.0, "missing", 10.0, 10.0], other=[20.0, 20.0, 20.0, 20.0, "missing"])
    ratio = compared(found)["other"].ratios["head_seconds"]
    assert ratio.pairs == {"1": 2.0, "2": 2.0, "4": 2.0}


def test_no_common_repeat_is_no_ratio():
    said = compared(face_off(host=["missing", 10.0], other=[10.0, "missing"]))["other"]
    assert (said.verdict, said.ratios) == ("cannot say", {})
    assert said.words == "cannot say: it has no repeat in common with the baseline"


def test_the_baseline_is_compared_with_nothing():
    said = compared(face_off(host=[10.0]))["host"]
    assert (said.verdict, said.words, said.ratios, said.predictions) == ("baseline", "the baseline", {}, None)


def test_a_cell_that_did_not_run_whole_is_a_reason_and_never_a_number():
    said = compared(face_off(host=[10.0, 10.0], other=["unsupported", "unsupported"]))["other"]
    assert (said.status, said.metrics, said.ratios) == ("unsupported", {}, {})
    assert said.reasons == {"1": "unsupported: the reason", "2": "unsupported: the reason"}


def test_without_a_baseline_nothing_is_compared():
    said = compared(face_off(host=["missing"] * 3, other=noisy(10.0, 3)))
    assert (said["other"].verdict, said["other"].ratios) == ("cannot say", {})
    assert said["other"].words == "cannot say: the baseline has no repeat in common with it"
    assert said["other"].metrics["total_seconds"].mean == pytest.approx(33, rel=0.01)


@pytest.mark.parametrize(
    ("statuses", "expected"),
    [
        (["ok", "ok"], "ok"),
        (["ok", "failed"], "partial"),
        (["missing", "failed"], "failed"),
        (["missing", "refused"], "refused"),
        (["unsupported", "missing"], "unsupported"),
        (["missing"], "missing"),
        (["trained", "missing"], "trained"),
        (["ok", "trained"], "partial"),
    ],
)
def test_one_status_for_all_repeats(statuses, expected):
    assert compare.setting_status(statuses) == expected


def test_settings_keep_the_order_of_the_matrix():
    assert list(compared(face_off(host=[10.0] * 2, b=[10.0] * 2, a=[10.0] * 2))) == ["host", "b", "a"]


def test_what_differs_is_not_known_without_both_profiles():
    found = face_off(host=[10.0], other=[10.0])
    assert compared(found, profiles={"host": results.profile("host")})["other"].differences == ()


def test_what_the_job_says_of_itself_is_a_difference_where_the_variant_is_the_same():
    found = with_facts(face_off(host=noisy(10, 3), other=noisy(10, 3)), "host", memory_format="channels_last")
    other = compared(with_facts(found, "other", memory_format="contiguous"))["other"]
    assert other.differences == ("memory_format contiguous, not channels_last",)
    assert other.facts == {"device": ("cpu",), "number_format": ("fp32",), "memory_format": ("contiguous",)}
    assert compared(found)["other"].differences == ()


def test_what_is_trained_and_not_evaluated_yet_is_compared_by_what_it_has():
    found = [
        dataclasses.replace(each, status="trained", reason="not there yet", evaluate=None, right=None)
        if each.cell.image == "other"
        else each
        for each in face_off(host=noisy(10, 3), other=noisy(20, 3))
    ]
    said = compared(found)["other"]
    assert (said.status, said.verdict, said.words) == ("trained", "cannot say", "cannot say: it is not evaluated yet")
    assert said.reasons["1"] == "trained: not there yet"
    assert "total_seconds" not in said.metrics and said.metrics["head_seconds"].mean == pytest.approx(20, rel=0.01)
    assert said.ratios["body_seconds"].verdict == "slower"


def test_a_timed_metric_of_the_job_has_a_ratio_and_a_verdict_and_another_has_a_mean():
    job = dataclasses.replace(
        results.JOB,
        metrics={"tokens_per_second": Metric("tokens/s", "higher", timed=True), "loss": Metric("nats", "lower")},
    )
    found = face_off(job=job, host=noisy(10, 4), other=noisy(10, 4))
    for image, rate in (("host", 100.0), ("other", 80.0)):
        found = changed(
            found, image, lambda train, rate=rate: dataclasses.replace(
                train, metrics={"tokens_per_second": rate + train.command_seconds / 100, "loss": 0.5}
            )
        )  # fmt: skip
    said = compared(found, job=job)["other"]
    assert said.ratios["tokens_per_second"].verdict == "slower" and "loss" not in said.ratios
    assert said.metrics["loss"].mean == 0.5


def test_what_a_job_does_not_give_is_said_and_nothing_is_made_up_for_it():
    said = compared(
        face_off(job=results.SILENT_JOB, host=noisy(10, 4), other=noisy(12, 4, seed=1)), job=results.SILENT_JOB
    )["other"]
    assert said.verdict == "slower" and said.words.startswith("slower: 1.2")
    assert (said.curve, said.bottleneck, said.predictions, said.explanation) == ((), None, None, ())
    assert said.not_given == (
        "an evaluation (job.yaml has no `evaluate`)",
        "spans (so no curves, no samples/s, and not where its time went)",
        "predictions (so they are not compared)",
    )


def test_of_a_job_that_gives_all_only_its_predictions_are_missed_here():
    said = compared(face_off(host=noisy(10, 3)))["host"].not_given
    assert said == ("predictions (so they are not compared)",)


@pytest.mark.parametrize("spans", [True, False])
def test_what_was_not_seen_is_told_of_a_setting_and_that_a_training_began_anew_is_not(spans):
    def noted(train):
        notes = (BEGAN_ANEW + "1 attempt that does not count", "its GPU is not seen")
        return dataclasses.replace(train, notes=notes, spans=train.spans if spans else ())

    said = compared(changed(face_off(host=[10.0]), "host", noted))["host"]
    where, other = (said.warnings, said.not_given)[:: 1 if spans else -1]
    assert "its GPU is not seen" in where
    assert not [each for each in (*where, *other) if each.startswith(BEGAN_ANEW)]


def test_what_it_ran_on_is_what_torch_of_the_image_says_where_the_job_does_not():
    found = face_off(job=results.SILENT_JOB, host=noisy(10, 3), other=noisy(2, 3))
    card = results.profile("other")
    card = dataclasses.replace(card, facts=dataclasses.replace(card.facts, device="Tesla T4"))
    profiles = {"host": results.profile("host"), "other": card}
    said = compared(found, profiles=profiles, job=results.SILENT_JOB)
    assert (said["host"].devices, said["other"].devices) == (("cpu",), ("Tesla T4",))
    assert said["other"].words.startswith("cannot say: confounded: it ran on GPU Tesla T4, the baseline on CPU")
    assert compared(found, job=results.SILENT_JOB)["other"].devices == ()
