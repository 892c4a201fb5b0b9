"""Settings with a known split and known ceilings get the words that they should."""

import dataclasses
from types import MappingProxyType

import pytest

from stages import records
from stages.harness.comparison import explanation
from stages.harness.results.read import Result
from stages.records import Ceilings, Cell, Measurement, Split
from tests import environments, results

NOISE = (0.0, 0.01, -0.01)  # shares by which the three repeats differ from what they are on average
PLAIN = MappingProxyType({"wait": 2.0, "copy": 0.5, "compute": 6.0, "other": 0.5, "validation": 1.0})
PREDICTION_SECONDS = 3.0


def setting(precision="fp32", loader_rate=1000.0, compute_rate=200.0, repeats=NOISE, image="host", **seconds):
    """Repeats of a setting with a single epoch of 320 photos, in which the parts took so long."""
    parts = {**PLAIN, **seconds}
    found = []
    for index, noise in enumerate(repeats):
        wait, copy, computing, other, validation = (value * (1 + noise) for value in parts.values())
        split = Split(20, wait, copy, computing, other)
        epoch = results.epoch(
            "frozen",
            0,
            split.seconds + validation,
            train_seconds=split.seconds,
            valid_seconds=validation,
            train_images_per_second=320 / split.seconds,
            split=split,
        )
        cell = Cell(image, precision, 16, index + 1)
        train = results.trained(cell, epochs=(epoch,), ceilings=Ceilings(loader_rate, compute_rate))
        found.append(Result(cell, "ok", None, train, results.evaluated(cell, PREDICTION_SECONDS)))
    return found


def ratio(verdict):
    reason = None if verdict in ("faster", "slower", "equivalent") else "why"
    return records.Ratio({}, 1.1, 1.0, 1.2, 0.01, verdict, reason, None)


def why(one, other, verdict, profiles=MappingProxyType({})):
    """All but what is said of the setting alone, which comes last."""
    said = explanation.explain(one, other, ratio(verdict), profiles)
    place = next(index for index, sentence in enumerate(said) if sentence.startswith("Its frozen epochs are"))
    return said[:place]


def laid_out(found, memory_format):
    """The same with the network like that in memory."""
    return [
        dataclasses.replace(each, train=dataclasses.replace(each.train, memory_format=memory_format)) for each in found
    ]


def two_phases(frozen_epochs, frozen_compute, unfrozen_compute, compute_rate, image="host"):
    """Repeats of a setting with frozen epochs and one unfrozen one, whose compute takes so many seconds each."""
    found = []
    for index, noise in enumerate(NOISE):
        cell = Cell(image, "fp32", 16, index + 1)
        epochs = []
        for phase, count, computing in (("frozen", frozen_epochs, frozen_compute), ("unfrozen", 1, unfrozen_compute)):
            split = Split(20, 0.5, 0.1, computing * (1 + noise), 0.1)
            rate = 320 / split.seconds
            whole = {"train_seconds": split.seconds, "train_images_per_second": rate, "split": split}
            epochs += [results.epoch(phase, number, split.seconds + 1, **whole) for number in range(count)]
        train = results.trained(cell, epochs=tuple(epochs), ceilings=Ceilings(1000.0, compute_rate))
        found.append(Result(cell, "ok", None, train, results.evaluated(cell, PREDICTION_SECONDS)))
    return found


class TestBottleneck:
    # Of 9 s of steps for 320 photos, 35.6 images/s.
    @pytest.mark.parametrize(
        ("kind", "speedup", "parts", "loader_rate"),
        [
            ("input-bound", 2.0, {"wait": 4.5, "compute": 3.5}, 36.0),  # workers that are ahead leave no waiting
            ("input-bound", 9 / 1.0, {"wait": 8.0, "compute": 0.5, "copy": 0.25, "other": 0.25}, 40.0),
            ("compute-bound", 9 / 2.0, {"wait": 0.0, "compute": 7.0, "copy": 1.5}, 1000.0),
            ("compute-bound", 2.0, {"wait": 0.0, "compute": 8.0}, 2 * 320 / 9),  # then the loader holds it back
            ("balanced", 1.0, {"wait": 0.0, "compute": 8.0}, 320 / 9),  # as fast as compute, which just hides it
            ("balanced", 9 / 5.0, {"wait": 4.0, "compute": 4.0}, 1000.0),  # no workers: one after the other
        ],
    )
    def test_is_the_side_whose_absence_gains_more(self, kind, speedup, parts, loader_rate):
        found = explanation.bottleneck(setting(loader_rate=loader_rate, repeats=(0.0,), **parts))
        assert (found.last.kind, found.last.possible_speedup) == (kind, pytest.approx(speedup))
        assert found.last.images_per_second == pytest.approx(320 / 9)
        sentences = explanation.explain(setting(loader_rate=loader_rate, **parts), setting(), None, {})
        assert f"Its frozen epochs are {kind}" in sentences[0]

    def test_sums_the_split_over_epochs_and_repeats_and_takes_the_ceilings_medians(self):
        cells = setting(repeats=(0.0, 0.1, 0.0))
        slow = dataclasses.replace(cells[1].train, ceilings=Ceilings(1.0, 1.0))
        found = explanation.bottleneck([cells[0], dataclasses.replace(cells[1], train=slow), cells[2]])
        assert found.phases["frozen"].split == Split(
            60, *(pytest.approx(3.1 * value) for value in (2.0, 0.5, 6.0, 0.5))
        )
        assert (found.loader_images_per_second, found.compute_images_per_second) == (1000.0, 200.0)

    def test_each_phase_has_its_own_and_the_last_is_spoken_of(self):
        found = explanation.bottleneck(two_phases(3, 0.2, 8.0, 40.0))
        assert {phase: steps.split.steps for phase, steps in found.phases.items()} == {"frozen": 180, "unfrozen": 60}
        assert {phase: steps.kind for phase, steps in found.phases.items()} == {
            "frozen": "input-bound",
            "unfrozen": "compute-bound",
        }
        assert found.last.images_per_second == pytest.approx(320 / 8.7, rel=0.01)
        (sentence, *_) = explanation.explain(two_phases(3, 0.2, 8.0, 40.0), setting(), None, {})
        assert sentence.startswith("Its unfrozen epochs are compute-bound (the frozen ones input-bound): 6% of a step")
        assert "They reach 36.8 images/s; the loader alone 1000.0, compute alone 40.0" in sentence

    def test_needs_a_repeat_that_ran_whole(self):
        cell = Cell("host", "fp32", 16, 1)
        assert explanation.bottleneck([Result(cell, "failed", "crashed")]) is None
        assert explanation.explain([Result(cell, "failed", "crashed")], setting(), None, {}) == ()

    def test_mixed_precision_gains_no_more_than_compute_took_nor_than_the_loader_delivers(self):
        compute_bound = explanation.bottleneck(setting(wait=0.0, compute=8.0, loader_rate=1000.0))
        assert explanation.mixed_precision_limit(compute_bound) == pytest.approx(9.0)
        held_by_loader = explanation.bottleneck(setting(wait=0.0, compute=8.0, loader_rate=40.0))
        assert explanation.mixed_precision_limit(held_by_loader) == pytest.approx(40 * 9 / 320)
        below = explanation.bottleneck(setting(wait=0.0, compute=8.0, loader_rate=30.0))
        assert explanation.mixed_precision_limit(below) == 1.0

    def test_mixed_precision_gains_what_compute_gains_at_the_rate_that_the_profile_measured(self):
        found = explanation.bottleneck(setting(wait=0.0, compute=8.0))
        assert explanation.mixed_precision_limit(found, 2.0) == pytest.approx(9 / 5)
        assert explanation.mixed_precision_limit(found, 0.5) == pytest.approx(9 / 17)
        profiles = {"host": profile({f"convolution, heaviest layer, batch size 16, {name}": rate * 1e9
                                     for name, rate in (("fp32", 1), ("bf16", 2))})}  # fmt: skip
        limit = explanation.explain(setting(wait=0.0, compute=8.0), setting(), None, profiles)[1]
        assert limit.startswith("That is also the most that mixed precision")
        assert "could gain; with the network's heaviest convolution in bf16 at 2.00 times its rate in fp32" in limit
        assert limit.endswith("as the profile measured, 1.80 times.")


class TestParts:
    def test_make_up_the_total(self):
        one, other = setting(wait=3.0), setting()
        parts = {part.name: part for part in explanation.parts(one, other)}
        assert sum(part.seconds for part in parts.values()) == pytest.approx(11 + PREDICTION_SECONDS)
        assert parts[explanation.WAIT].difference == pytest.approx(1.0)
        assert parts["validation"].difference == pytest.approx(0.0)

    def test_are_paired_by_repeat(self):
        one = setting(repeats=(0.0, 0.5), wait=3.0)
        other = [setting(repeats=(0.0, 0.5))[1]]
        parts = {part.name: part for part in explanation.parts(one, other)}
        assert parts[explanation.WAIT].difference == pytest.approx(1.5)
        assert not parts[explanation.WAIT].shown  # one pair shows nothing

    def test_of_no_common_repeat_are_none(self):
        assert explanation.parts(setting()[:1], setting()[1:]) == ()


class TestExplanation:
    def test_slower_by_compute_which_alone_is_not(self):
        attribution, ceiling = why(setting("mixed", compute=9.0, wait=2.1), setting(), "slower")
        assert "3.10 s a repeat more: compute takes 3.00 s more (1.50 times as long), 97% of it" in attribution
        assert "waiting" not in attribution
        assert "in the frozen epochs 1.50 times, which does not agree" in ceiling  # both compute 200 images/s alone
        limit = explanation.explain(setting("mixed", compute=9.0), setting(), ratio("slower"), {})[-1]
        assert "the baseline's frozen epochs train 3.00 times as fast at most" in limit

    def test_slower_by_compute_which_alone_is_as_slow(self):
        ceiling = why(setting("mixed", compute=9.0, compute_rate=133.0), setting(), "slower")[1]
        assert "takes 1.50 times as long, which agrees" in ceiling

    @pytest.mark.parametrize("frozen_epochs", [1, 20])
    def test_whether_compute_alone_agrees_does_not_hang_on_the_share_of_frozen_epochs(self, frozen_epochs):
        one = two_phases(frozen_epochs, 1.2, 9.0, 100.0)  # frozen epochs compute 1.2 times as long, unfrozen ones 1.5
        other = two_phases(frozen_epochs, 1.0, 6.0, 150.0)
        said = explanation.explain(one, other, ratio("slower"), {})
        assert any("takes 1.50 times as long, which agrees" in each for each in said)

    def test_faster_by_the_loader(self):
        attribution, ceiling = why(setting(wait=0.2, loader_rate=2000.0), setting(wait=4.0), "faster")
        assert "3.80 s a repeat less: waiting for the loader takes 3.80 s less" in attribution
        assert "takes 0.50 times as long for an image, which agrees" in ceiling

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
        assert "The figures do not explain it" in attribution and "make up 0%" in attribution

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
        assert why(setting(compute=2.0), setting(), "cannot say") == ("Why it differs cannot be told: why.",)

    def test_another_memory_format_is_told_with_compute(self):
        one, other = laid_out(setting(compute=9.0), "contiguous"), setting()
        said = why(one, other, "slower")
        assert "Its network lies contiguous in memory, the baseline's channels_last" in said[1]
        (difference,) = explanation.environment_differences(one, other, {})
        assert (difference.what, difference.a, difference.b) == ("memory format", "contiguous", "channels_last")
        assert not any("lies" in each for each in why(laid_out(setting(wait=9.0), "contiguous"), other, "slower"))

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
        older = results.profile("old")
        contents = dataclasses.replace(older.facts.contents, **changes)
        older = dataclasses.replace(older, facts=dataclasses.replace(older.facts, contents=contents))
        profiles = {"host": results.profile("host"), "old": older}
        for verdict in ("slower", "inconclusive"):
            assert words in why(setting(image="old", compute=9.0), setting(), verdict, profiles)[1]
        both = why(setting("mixed", image="old", compute=9.0), setting(), "slower", profiles)[1]
        assert "precision" in both
        assert len(why(setting("mixed", compute=9.0), setting(), "inconclusive", profiles)) == 1  # of one image

    def test_the_baseline_has_no_difference(self):
        said = explanation.explain(setting(), setting(), None, {})
        assert len(said) == 2 and "mixed precision" in said[1]


def profile(rates, image="host", spread=0.05):
    """Of an image in which each of these was measured at that rate; None: not possible."""
    measured = tuple(
        Measurement(
            name,
            "",
            "flop/s",
            (rate,) if rate else (),
            rate,
            spread * rate if rate else None,
            None,
            {"peak": "unknown"} if rate else dict.fromkeys(("median", "spread", "peak"), "not possible"),
        )
        for name, rate in rates.items()
    )
    return dataclasses.replace(results.profile(image), measurements=measured)


class TestProfiles:
    """mixed is slower by compute; what do the profiles say of the device at both precisions?"""

    @pytest.mark.parametrize(
        ("fp32", "bf16", "words"),
        [
            (1e11, 0.8e11, "a matrix product in bf16 reaches 0.80 times its rate in fp32, which fits."),
            (1e11, 2e11, "reaches 2.00 times its rate in fp32, which does not explain it."),
            (1e11, 0.99e11, "within the spread of both"),
        ],
    )
    def test_are_cited_as_agreeing_or_not(self, fp32, bf16, words):
        assert any(words in each for each in self.said(fp32, bf16))

    def test_are_not_cited_where_they_do_not_tell(self):
        assert not any("profile" in each for each in self.said(1e11, None))

    def said(self, fp32, bf16):
        profiles = {"host": profile({"matrix product, fp32": fp32, "matrix product, bf16": bf16})}
        return why(setting("mixed", compute=9.0), setting(), "slower", profiles)

    @pytest.mark.parametrize(
        ("changed", "decode", "read", "words"),
        [
            ("wait", 50.0, 1e8, "on all usable cores reaches 0.50 times the rate in the baseline's image, which fits."),
            ("wait", 100.0, 2e7, "reading photos from the disk reaches 0.20 times"),  # decoding does not tell
            ("wait", 200.0, 1e8, "all usable cores reaches 2.00 times the rate in the baseline's image, "
                                 "which does not explain"),
            ("copy", 100.0, 1e8, "copying to the GPU from pinned memory reaches 0.25 times"),
        ],
    )  # fmt: skip
    def test_of_the_loader_and_of_copying_are_cited_where_these_make_the_difference(self, changed, decode, read, words):
        names = ("JPEG decode, all usable cores", "read of photos, cold", "host to device, pinned")
        profiles = {
            "host": profile(dict(zip(names, (100.0, 1e8, 1e10), strict=True))),
            "other": profile(dict(zip(names, (decode, read, 2.5e9), strict=True)), "other"),
        }
        said = [
            each
            for each in why(setting(image="other", **{changed: 6.0}), setting(), "slower", profiles)
            if each.startswith("In the profile")
        ]
        assert len(said) == 1 and words in said[0]


class TestUnitsForMixedPrecision:
    @pytest.mark.parametrize("verdict", ["slower", "equivalent"])
    def test_a_cpu_without_bf16_is_the_likely_reason(self, verdict):
        assert self.said(verdict, results.HARDWARE) == [
            "This CPU has no instructions for bf16 (avx512_bf16, amx_bf16), so torch emulates it: the likely reason "
            "why mixed precision is not faster."
        ]

    def test_is_not_told_where_the_cpu_has_it_or_mixed_is_faster(self):
        able = dataclasses.replace(results.HARDWARE.cpu, isa=("avx2", "avx512_bf16"))
        assert self.said("slower", dataclasses.replace(results.HARDWARE, cpu=able)) == []
        assert self.said("faster", results.HARDWARE) == []

    @pytest.mark.parametrize(("capability", "told"), [("6.0", True), ("3.7", True), ("7.0", False), ("10.0", False)])
    def test_a_gpu_without_tensor_cores_is_the_likely_reason(self, capability, told):
        hardware = environments.hardware(environments.gpu("Some card", compute_capability=capability))
        said = self.said("slower", hardware, device="Some card")
        assert said == [
            f"This GPU, of compute capability {capability}, has no tensor cores, which came with 7.0: the likely "
            "reason why mixed precision is not faster."
        ] * told  # fmt: skip

    def said(self, verdict, hardware, device="cpu"):
        plain = results.profile("host")
        facts = dataclasses.replace(plain.facts, hardware=hardware, device=device)
        profiles = {"host": dataclasses.replace(plain, facts=facts)}
        found = why(setting("mixed", compute=9.0), setting(), verdict, profiles)
        return [each for each in found if each.startswith("This ")]
