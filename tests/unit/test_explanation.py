"""Settings with a known split and known ceilings get the words that they should."""

import dataclasses
from types import MappingProxyType

import pytest

from stages import codec, records
from stages.contract import Ceilings, Split
from stages.harness.comparison import explanation, runs
from stages.harness.comparison.bottlenecks import bottleneck, speedup_of_steps
from stages.harness.comparison.parts import OUTSIDE, WAIT, parts
from stages.harness.results.read import CellResult
from stages.records import WALL, Cell, Measurement
from tests import environments, results
from tests.faceoffs import beside

NOISE = (0.0, 0.01, -0.01)  # shares by which the three repeats differ from what they are on average
PLAIN = MappingProxyType({"wait": 2.0, "copy": 0.5, "compute": 6.0, "other": 0.5, "validation": 1.0})
PREDICTION_SECONDS = 3.0
TOTAL = ("head", "body", "predict")


def setting(variant="fp32", loader_rate=1000.0, compute_rate=200.0, repeats=NOISE, image="host", facts=(), **seconds):
    """Repeats of a setting with a single epoch of 320 samples, in which the parts took so long."""
    parts = {**PLAIN, **seconds}
    found = []
    for index, noise in enumerate(repeats):
        wait, copy, computing, other, validation = (value * (1 + noise) for value in parts.values())
        split = Split(wait, copy, computing, other)
        epoch = results.span("head", split.seconds + validation, split=split)
        found.append(cell(variant, image, index + 1, (epoch,), Ceilings(loader_rate, compute_rate), dict(facts)))
    return found


def cell(variant, image, repeat, spans, ceilings, facts=MappingProxyType({})):
    one = Cell(image, f"{variant}-bs16", repeat)
    train = results.trained(one, spans=spans, ceilings=ceilings)
    train = dataclasses.replace(train, facts={**train.facts, **facts})
    return CellResult(one, "ok", None, train, results.evaluated(one, PREDICTION_SECONDS))


def with_env(cells, **env):
    """The same repeats, of a variant that sets these variables."""
    return [dataclasses.replace(each, train=_with_env(each.train, env)) for each in cells]


def _with_env(train, env):
    variant = dataclasses.replace(train.belongs.variant, env=env)
    return dataclasses.replace(train, belongs=dataclasses.replace(train.belongs, variant=variant))


def ratio(verdict):
    reason = None if verdict in ("faster", "slower", "equivalent") else "why"
    return records.Ratio({}, 1.1, 1.0, 1.2, 0.01, verdict, reason, None, None)


def explain(one, other, total_ratio, profiles=MappingProxyType({}), total=TOTAL):
    return explanation.explain(one, other, total_ratio, profiles, total)


def why(one, other, verdict, profiles=MappingProxyType({}), total=TOTAL):
    """All but what is said of the setting alone, which comes last."""
    said = explain(one, other, ratio(verdict), profiles, total)
    return said[: next(index for index, sentence in enumerate(said) if sentence.startswith("Its steps in"))]


def two_spans(heads, head_compute, body_compute, compute_rate, image="host"):
    """Repeats of a setting with epochs 'head' and one 'body', whose compute takes so many seconds each."""
    found = []
    for index, noise in enumerate(NOISE):
        spans = []
        for name, count, computing in (("head", heads, head_compute), ("body", 1, body_compute)):
            split = Split(0.5, 0.1, computing * (1 + noise), 0.1)
            spans += [results.span(name, split.seconds + 1, split=split)] * count
        found.append(cell("fp32", image, index + 1, tuple(spans), Ceilings(1000.0, compute_rate)))
    return found


class TestBottleneck:
    # Of 9 s of steps for 320 samples, 35.6 samples/s.
    @pytest.mark.parametrize(
        ("kind", "parts", "loader_rate"),
        [
            ("input-bound", {"wait": 4.5, "compute": 3.5}, 36.0),  # workers that are ahead leave no waiting
            ("input-bound", {"wait": 8.0, "compute": 0.5, "copy": 0.25, "other": 0.25}, 40.0),
            ("compute-bound", {"wait": 0.0, "compute": 7.0, "copy": 1.5}, 1000.0),
            ("compute-bound", {"wait": 0.0, "compute": 8.0}, 2 * 320 / 9),  # then the loader holds it back
            ("balanced", {"wait": 0.0, "compute": 8.0}, 320 / 9),  # as fast as compute, which just hides it
            ("balanced", {"wait": 4.0, "compute": 4.0}, 1000.0),  # no workers: one after the other
        ],
    )
    def test_is_the_side_whose_absence_gains_more(self, kind, parts, loader_rate):
        found = bottleneck(setting(loader_rate=loader_rate, repeats=(0.0,), **parts))
        assert found.last.kind == kind
        assert found.last.samples_per_second == pytest.approx(320 / 9)
        sentences = explain(setting(loader_rate=loader_rate, **parts), setting(), None, {})
        assert f"Its steps in 'head' are {kind}" in sentences[0]
        assert len(sentences) == (2 if kind == "input-bound" else 1), "what is gained is said where it can be had"

    def test_where_the_loader_holds_back_what_it_would_have_to_deliver_is_told_and_what_that_gains(self):
        slow = setting(wait=4.5, compute=3.5, loader_rate=36.0)
        profiles = {"host": profile(convolution("fp32", 1e9), convolution("bf16", 2e9))}
        assert explain(slow, setting(), None, profiles)[1:] == (
            "A loader that keeps up, with 71.1 samples/s, would make these steps 2.00 times as fast.",
        )

    def test_sums_the_split_over_spans_and_repeats_and_takes_the_ceilings_medians(self):
        cells = setting(repeats=(0.0, 0.1, 0.0))
        slow = dataclasses.replace(cells[1].train, ceilings=Ceilings(1.0, 1.0))
        found = bottleneck([cells[0], dataclasses.replace(cells[1], train=slow), cells[2]])
        assert found.spans["head"].split == Split(*(pytest.approx(3.1 * value) for value in (2.0, 0.5, 6.0, 0.5)))
        assert found.spans["head"].steps == 60
        assert (found.loader_samples_per_second, found.compute_samples_per_second) == (1000.0, 200.0)

    def test_each_name_has_its_own_and_the_last_is_spoken_of(self):
        found = bottleneck(two_spans(3, 0.2, 8.0, 40.0))
        assert {name: steps.steps for name, steps in found.spans.items()} == {"head": 180, "body": 60}
        kinds = {name: steps.kind for name, steps in found.spans.items()}
        assert kinds == {"head": "input-bound", "body": "compute-bound"}
        assert found.last.samples_per_second == pytest.approx(320 / 8.7, rel=0.01)
        (sentence, *_) = explain(two_spans(3, 0.2, 8.0, 40.0), setting(), None, {})
        assert sentence.startswith("Its steps in 'body' are compute-bound (in 'head' input-bound): 6% of a step")
        assert "They reach 36.8 samples/s; the loader alone 1000, compute alone 40" in sentence

    def test_needs_a_repeat_that_ran_whole(self):
        failed = [CellResult(Cell("host", "fp32-bs16", 1), "failed", "crashed")]
        assert bottleneck(failed) is None
        assert explain(failed, setting(), None) == ()

    @pytest.mark.parametrize("lacks", [{"split": None}, {"samples": None}, {"steps": None}])
    def test_is_none_where_the_spans_do_not_tell_it(self, lacks):
        assert bottleneck([cell("fp32", "host", 1, (results.span("head", 9.0, **lacks),), None)]) is None

    def test_without_ceilings_nothing_is_said_of_what_is_reached_alone(self):
        silent = [dataclasses.replace(each, train=without_ceilings(each.train)) for each in setting(wait=0.5)]
        found = bottleneck(silent)
        assert (found.loader_samples_per_second, found.last.kind) == (None, "compute-bound")
        assert explain(silent, [], None)[0].endswith("is the rest. They reach 42.7 samples/s.")
        said = why([dataclasses.replace(each, train=without_ceilings(each.train)) for each in setting(compute=9.0)],
                   setting(), "slower")  # fmt: skip
        assert not any("alone" in each for each in said)

    def test_faster_compute_gains_no_more_than_it_took_nor_than_the_loader_delivers(self):
        compute_bound = bottleneck(setting(wait=0.0, compute=8.0, loader_rate=1000.0))
        assert speedup_of_steps(compute_bound, 2.0) == pytest.approx(9 / 5)
        assert speedup_of_steps(compute_bound, 0.5) == pytest.approx(9 / 17)
        assert speedup_of_steps(compute_bound, 1e9) == pytest.approx(9.0)
        held_by_loader = bottleneck(setting(wait=0.0, compute=8.0, loader_rate=40.0))
        assert speedup_of_steps(held_by_loader, 2.0) == pytest.approx(40 * 9 / 320)
        assert speedup_of_steps(bottleneck(setting(wait=0.0, compute=8.0, loader_rate=30.0)), 2.0) == 1.0

    @pytest.mark.parametrize(
        ("bf16", "words"),
        [
            (
                2e9,
                "A lower precision could make these steps 1.80 times as fast: the profile measured convolution in bf16 "
                "at 2.00 times its rate in fp32, and what is not compute stays as it is.",
            ),
            (
                0.27e9,
                "A lower precision has nothing to gain here: the profile measured convolution in bf16 at 0.27 times "
                "its rate in fp32.",
            ),
        ],
    )
    def test_what_a_lower_precision_gains_is_told_as_the_profile_measured_it(self, bf16, words):
        profiles = {"host": profile(convolution("fp32", 1e9), convolution("bf16", bf16), convolution("bf16", 9e9, 64))}
        computes = setting(wait=0.0, compute=8.0)
        assert explain(computes, setting(), None, profiles)[1:] == (words,)
        mixed = explain(setting("mixed", wait=0.0, compute=8.0), computes, ratio("equivalent"), profiles)
        assert mixed[-1] == words.replace("these steps", "the baseline's steps in 'head'")

    def test_what_was_not_measured_of_a_lower_precision_is_not_guessed(self):
        assert len(explain(setting(wait=0.0, compute=8.0), setting(), None, {"host": profile()})) == 1


def without_ceilings(train):
    return dataclasses.replace(train, ceilings=None, absent={**train.absent, "ceilings": "not said"})


class TestParts:
    def test_make_up_the_total(self):
        one, other = setting(wait=3.0), setting()
        found = {part.name: part for part in parts(one, other, TOTAL)}
        assert sum(part.seconds for part in found.values()) == pytest.approx(11 + PREDICTION_SECONDS)
        assert found[WAIT].difference == pytest.approx(1.0)
        assert found["head: beside its steps"].seconds == pytest.approx(1.0)
        assert found["predict"].seconds == PREDICTION_SECONDS

    def test_of_a_wall_clock_have_what_is_outside_of_the_spans(self):
        found = {part.name: part.seconds for part in parts(setting(), setting(), WALL)}
        assert sum(found.values()) == pytest.approx(setting()[0].train.command_seconds)
        assert found[OUTSIDE] == pytest.approx(37 - 10) and "predict" not in found

    def test_without_a_split_on_both_sides_are_the_spans_themselves(self):
        plain = [cell("fp32", "host", n, (results.span("head", 10.0 + n, split=None),), None) for n in (1, 2, 3)]
        for one, other in ((plain, setting()), (setting(), plain)):
            assert [part.name for part in parts(one, other, TOTAL)] == ["head", "predict"]

    def test_of_a_job_without_spans_are_none(self):
        cells = [
            CellResult(Cell("host", "fp32-bs16", n), "ok", None, *results.silent(Cell("host", "fp32-bs16", n)))
            for n in (1, 2, 3)
        ]
        assert parts(cells, cells, WALL) == ()
        assert explain(cells, cells, ratio("slower"), total=WALL) == ()

    def test_are_paired_by_repeat(self):
        one = setting(repeats=(0.0, 0.5), wait=3.0)
        other = [setting(repeats=(0.0, 0.5))[1]]
        found = {part.name: part for part in parts(one, other, TOTAL)}
        assert found[WAIT].difference == pytest.approx(1.5)
        assert not found[WAIT].shown  # one pair shows nothing

    def test_of_no_common_repeat_are_none(self):
        assert parts(setting()[:1], setting()[1:], TOTAL) == ()


class TestExplanation:
    def test_slower_by_compute_which_alone_is_not(self):
        attribution, facts, ceiling = why(setting("mixed", compute=9.0, wait=2.1), setting(), "slower")
        assert facts == "By what the job says of itself, number_format is bf16, not fp32."
        assert "3.10 s a repeat more: compute takes 3.00 s more (1.50 times as long), 97% of it" in attribution
        assert "waiting" not in attribution
        assert "in 'head' 1.50 times, which does not agree" in ceiling  # both compute 200 images/s alone

    def test_slower_by_compute_which_alone_is_as_slow(self):
        ceiling = why(setting(compute=9.0, compute_rate=133.0), setting(), "slower")[1]
        assert "takes 1.50 times as long, which agrees" in ceiling

    @pytest.mark.parametrize("heads", [1, 20])
    def test_whether_compute_alone_agrees_does_not_hang_on_the_share_of_earlier_spans(self, heads):
        one = two_spans(heads, 1.2, 9.0, 100.0)  # 'head' computes 1.2 times as long, 'body' 1.5
        other = two_spans(heads, 1.0, 6.0, 150.0)
        said = explain(one, other, ratio("slower"))
        assert any("takes 1.50 times as long, which agrees" in each for each in said)

    def test_faster_by_the_loader(self):
        attribution, ceiling = why(setting(wait=0.2, loader_rate=2000.0), setting(wait=4.0), "faster")
        assert "3.80 s a repeat less: waiting for the loader takes 3.80 s less" in attribution
        assert "takes 0.50 times as long for a sample, which agrees" in ceiling

    def test_waiting_that_changed_though_the_loader_did_not(self):
        attribution, ceiling = why(setting(wait=4.0), setting(), "slower")
        assert "waiting for the loader takes 2.00 s more" in attribution
        assert "not the loader that changed" in ceiling

    def test_a_part_that_offsets_another_is_named(self):
        (attribution, *_) = why(setting(compute=9.0, wait=1.0), setting(), "slower")
        assert (
            "waiting for the loader takes 1.00 s less (0.50 times as long), which takes 50% of it back" in attribution
        )

    def test_parts_within_noise_explain_nothing(self):
        one = setting(repeats=(0.0, 0.6, -0.4), compute=6.6)
        (attribution,) = why(one, setting(), "slower")
        assert "The parts do not explain it" in attribution and "make up 0%" in attribution

    def test_a_difference_that_drift_turned_round_is_not_explained(self):
        (attribution,) = why(setting(compute=9.0), setting(), "faster")
        assert "do not explain it" in attribution and "faster only once drift is taken out" in attribution

    def test_equal_totals_with_shifted_parts(self):
        (shift,) = why(setting(compute=4.0, wait=4.0), setting(), "equivalent")
        assert shift.startswith(
            "The whole takes as long, but its parts differ: waiting for the loader takes 2.00 s more"
        )
        assert "compute takes 2.00 s less" in shift

    @pytest.mark.parametrize("verdict", ["equivalent", "inconclusive"])
    def test_no_difference_has_no_cause(self, verdict):
        assert "nothing to explain" in why(setting(), setting(), verdict)[0]

    def test_where_no_verdict_can_be_given_no_cause_can(self):
        assert why(setting(compute=2.0), setting(), "cannot say") == ()

    def test_where_undisturbed_steps_alone_settle_it_the_parts_that_go_their_way_are_told(self):
        def told(one):
            return explanation.explain(one, setting(), ratio("inconclusive"), {}, TOTAL, ratio("slower"))

        first, *_ = told(setting(compute=9.0, wait=1.0))
        assert first.startswith("By the whole time, compute takes 3.00 s more")
        assert "waiting" not in first
        (of_load, *_) = told(beside(setting(compute=9.0, wait=1.0), "host", [1], others_share=0.4))
        assert of_load.startswith("As measured, with what else the machine did, compute takes 3.00 s more")
        noisy = setting(repeats=(0.0, 0.6, -0.4), compute=6.6)
        assert told(noisy)[0].startswith("By the whole time, no part shows the difference for sure.")
        assert not any("nothing to explain" in each or "alone, on one batch" in each for each in told(noisy))
        alone = setting(repeats=(0.0, 0.6, -0.4), compute=6.6, compute_rate=100.0)
        assert told(alone)[1] == "Compute alone, on one batch again and again, takes 2.00 times as long, which fits."

    def test_another_fact_of_the_job_is_told(self):
        one, other = (setting(compute=9.0, facts={"memory_format": each}) for each in ("contiguous", "channels_last"))
        assert why(one, other, "slower") == (
            "The parts do not explain it: as measured it takes 0.00 s a repeat less, and is slower only once drift is "
            "taken out.",
            "By what the job says of itself, memory_format is contiguous, not channels_last.",
        )
        (difference,) = explanation.environment_differences(one, other, {})
        assert (difference.what, difference.a, difference.b) == ("memory_format", "contiguous", "channels_last")
        mixed = setting("mixed", facts={"memory_format": "contiguous"})
        assert explanation.environment_differences(mixed, other, {}) == (), "another variant may well differ in it"

    @pytest.mark.parametrize(
        ("changes", "words"),
        [
            ({"cuda": "10.0.130"}, "The two differ in CUDA alone: the ratio shows what that does."),
            (
                {"cuda": "10.0.130", "cudnn": 7602},
                "in several things: CUDA, cuDNN. Which of them the ratio shows cannot",
            ),
            ({}, "The two environments do not differ in anything that decides a timing."),
        ],
    )
    def test_whether_the_environments_differ_in_one_thing_alone(self, changes, words):
        profiles = {"host": results.profile("host"), "old": results.older("old", **(changes or {"nccl": "2.30.7"}))}
        profiles = {name: on_gpu(each) for name, each in profiles.items()}
        for verdict in ("slower", "inconclusive"):
            assert words in why(setting(image="old", compute=9.0), setting(), verdict, profiles)[1]
        both = why(setting("mixed", image="old", compute=9.0), setting(), "slower", profiles)[1]
        assert "precision" in both
        assert len(why(setting("mixed", compute=9.0), setting(), "inconclusive", profiles)) == 1  # of one image

    def test_a_variable_of_a_variant_is_named_beside_the_verdict_and_in_the_sentences(self):
        """Of one image too, whose profile knows nothing of it, and torch's threads come with it."""
        one, words = with_env(setting(compute=9.0), OMP_NUM_THREADS="1"), "The two differ in OMP_NUM_THREADS alone: the"
        for profiles in ({"host": results.profile("host")}, {}):
            for verdict in ("slower", "inconclusive"):
                assert any(each.startswith(words) for each in why(one, setting(), verdict, profiles))
            variable, *threads = explanation.environment_differences(one, setting(), profiles)
            assert (variable.what, variable.a, variable.b) == ("environment variable OMP_NUM_THREADS", "1", "unset")
            assert [(each.a, each.b, each.cause) for each in threads] == [("1", "2", "OMP_NUM_THREADS")] * len(profiles)
        alike = with_env(setting(), OMP_NUM_THREADS="1")
        assert explanation.environment_differences(one, alike, {}) == ()
        assert not any("differ in" in each for each in why(one, alike, "slower"))

    def test_what_the_image_sets_and_what_the_variant_sets_are_one(self):
        """A variant's value stands for the image's."""
        facts = dataclasses.replace(results.facts("mine"), variables={"OMP_NUM_THREADS": "1"}, torch_threads=1)
        mine = dataclasses.replace(results.profile("mine"), facts=facts)
        profiles = {"host": results.profile("host"), "mine": mine}
        one = setting(image="mine", compute=9.0)
        assert "The two differ in OMP_NUM_THREADS alone" in why(one, setting(), "slower", profiles)[1]
        both = [with_env(each, OMP_NUM_THREADS="2") for each in (one, setting())]
        assert "do not differ in anything that decides a timing" in why(*both, "slower", profiles)[1]

    def test_what_image_yaml_sets_is_a_cause_though_no_library_of_torchs_reads_it(self, tmp_path):
        for name, value in (("host", "true"), ("mine", "false")):
            image = dataclasses.replace(results.image(name), env={"TOKENIZERS_PARALLELISM": value})
            codec.write(tmp_path / records.image_path(name), image)
            codec.write(tmp_path / records.profile_path(name), results.profile(name))
        profiles = runs.read_profiles(["host", "mine"], tmp_path)
        one = setting(image="mine", compute=9.0)
        assert "The two differ in TOKENIZERS_PARALLELISM alone" in why(one, setting(), "slower", profiles)[1]
        (difference,) = explanation.environment_differences(one, setting(), profiles)
        assert (difference.a, difference.b) == ("false", "true")
        alike = [with_env(each, TOKENIZERS_PARALLELISM="true") for each in (one, setting())]
        assert explanation.environment_differences(*alike, profiles) == ()

    def test_a_value_is_one_line_and_a_secret_is_told_as_set(self, tmp_path):
        """As an image's, a variant's with a profile, and a variant's without."""
        env = {"HF_TOKEN": "abc", "MINE": "2\n3"}
        codec.write(tmp_path / records.profile_path("mine"), results.profile("mine"))
        codec.write(tmp_path / records.image_path("mine"), dataclasses.replace(results.image("mine"), env=env))
        of_image = {"host": results.profile("host"), **runs.read_profiles(["mine"], tmp_path)}
        variant = with_env(setting(), **env)
        for one, profiles in ((setting(image="mine"), of_image), (variant, of_image), (variant, {})):
            found = explanation.environment_differences(one, setting(), profiles)
            assert [(each.cause, each.a, each.b) for each in found] == [
                ("HF_TOKEN", "(set)", "unset"),
                ("MINE", "2\\n3", "unset"),
            ]
            other = with_env(setting(), HF_TOKEN="def", MINE="2\\n3")  # as the facts of an image tell it
            assert explanation.environment_differences(one, other, profiles) == ()

    def test_a_variable_beside_parameters_is_one_of_several_things(self):
        one = with_env(setting("mixed", compute=9.0), KMP_BLOCKTIME="0")
        assert any("several things: precision, KMP_BLOCKTIME." in each for each in why(one, setting(), "slower"))

    def test_the_baseline_has_no_difference(self):
        said = explain(setting(), setting(), None)
        assert len(said) == 1 and said[0].startswith("Its steps in 'head' are compute-bound")


def measured(name, rate, explains, spread=0.05, **applies):
    """A measurement at that rate; None: not possible."""
    absent = {"peak": "unknown"} if rate else dict.fromkeys(("median", "spread", "peak"), "not possible")
    samples = (rate,) if rate else ()
    return Measurement(
        name, "", "flop/s", samples, rate, spread * rate if rate else None, None, explains, applies, absent
    )


def on_gpu(found):
    return dataclasses.replace(found, facts=dataclasses.replace(found.facts, device="Some card"))


def product(number_format, rate):
    return measured(f"matrix product, {number_format}", rate, "compute", number_format=number_format)


def convolution(number_format, rate, size=16):
    name = f"convolution, batch size {size}, {number_format}"
    return measured(name, rate, "compute", number_format=number_format, batch_size=size)


def profile(*measurements, image="host"):
    return dataclasses.replace(results.profile(image), measurements=measurements)


class TestProfiles:
    """It is slower by compute in bf16: what do the profiles say of the device in both formats?"""

    @pytest.mark.parametrize(
        ("fp32", "bf16", "words"),
        [
            (1e11, 0.8e11, "'matrix product, bf16' reaches 0.80 times the rate of 'matrix product, fp32', which fits."),
            (1e11, 2e11, "reaches 2.00 times the rate of 'matrix product, fp32', which does not explain it."),
            (1e11, 0.99e11, "within the spread of both"),
        ],
    )
    def test_are_cited_as_agreeing_or_not(self, fp32, bf16, words):
        assert any(words in each for each in self.said(fp32, bf16))

    def test_are_not_cited_where_they_do_not_tell(self):
        assert not any("profile" in each for each in self.said(1e11, None))

    def said(self, fp32, bf16):
        profiles = {"host": profile(product("fp32", fp32), product("bf16", bf16))}
        return why(setting("mixed", compute=9.0), setting(), "slower", profiles)

    @pytest.mark.parametrize(
        ("changed", "decode", "read", "words"),
        [
            ("wait", 50.0, 1e8, "'decode' reaches 0.50 times the rate in the baseline's image, which fits."),
            ("wait", 100.0, 2e7, "'read, cold' reaches 0.20 times"),  # decoding does not tell
            (
                "wait",
                200.0,
                1e8,
                "'decode' reaches 2.00 times the rate in the baseline's image, which does not explain",
            ),
            ("copy", 100.0, 1e8, "'host to device, pinned' reaches 0.25 times"),
        ],
    )
    def test_of_the_loader_and_of_copying_are_cited_where_these_make_the_difference(self, changed, decode, read, words):
        def of(decode, read, pinned):
            return (
                measured("decode", decode, "wait"),
                measured("read, cold", read, "wait"),
                measured("host to device, pinned", pinned, "copy"),
                measured("memory copy", decode, None),  # explains nothing
            )

        profiles = {
            "host": profile(*of(100.0, 1e8, 1e10)),
            "other": profile(*of(decode, read, 2.5e9), image="other"),
        }
        said = [
            each
            for each in why(setting(image="other", **{changed: 6.0}), setting(), "slower", profiles)
            if each.startswith("In the profile")
        ]
        assert len(said) == 1 and words in said[0]

    def test_what_says_most_exactly_to_what_it_applies_is_cited_first(self):
        host = profile(product("fp32", 1e9), convolution("fp32", 1e9), convolution("fp32", 9e9, 64))
        other = profile(product("fp32", 5e8), convolution("fp32", 4e8), convolution("fp32", 1e8, 64), image="other")
        said = why(setting(image="other", compute=9.0), setting(), "slower", {"host": host, "other": other})
        assert "In the profile 'convolution, batch size 16, fp32' reaches 0.40 times the rate in the" in said[-1]


class TestUnitsForLowerPrecision:
    @pytest.mark.parametrize("verdict", ["slower", "equivalent"])
    def test_a_cpu_without_bf16_is_the_likely_reason(self, verdict):
        assert self.said(verdict, results.HARDWARE) == [
            "This CPU has no instructions for bf16 (avx512_bf16, amx_bf16), so torch emulates it: the likely reason "
            "why bf16 is not faster."
        ]

    def test_is_not_told_where_the_cpu_has_it_or_it_is_faster(self):
        able = dataclasses.replace(results.HARDWARE.cpu, isa=("avx2", "avx512_bf16"))
        assert self.said("slower", dataclasses.replace(results.HARDWARE, cpu=able)) == []
        assert self.said("faster", results.HARDWARE) == []

    @pytest.mark.parametrize(("capability", "told"), [("6.0", True), ("3.7", True), ("7.0", False), ("10.0", False)])
    def test_a_gpu_without_tensor_cores_is_the_likely_reason(self, capability, told):
        hardware = environments.hardware(environments.gpu("Some card", compute_capability=capability))
        said = self.said("slower", hardware, device="Some card")
        assert said == [
            f"This GPU, of compute capability {capability}, has no tensor cores, which came with 7.0: the likely "
            "reason why fp16 is not faster."
        ] * told  # fmt: skip

    def said(self, verdict, hardware, device="cpu"):
        plain = results.profile("host")
        facts = dataclasses.replace(plain.facts, hardware=hardware, device=device)
        profiles = {"host": dataclasses.replace(plain, facts=facts)}
        number_format = "bf16" if device == "cpu" else "fp16"
        found = why(setting("mixed", compute=9.0, facts={"number_format": number_format}), setting(), verdict, profiles)
        return [each for each in found if each.startswith("This ")]
