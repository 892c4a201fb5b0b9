"""Face-offs whose truth is known get the verdict and the words that they should."""

import dataclasses
import gc
import math
import random

import pytest

from stages.harness import verdicts
from stages.harness.verdicts import Pair
from tests import results
from tests.faceoffs import compared, face_off, noisy, on_device, telling

REPEATS = 5


def other(*seconds, **options):
    """What is said of an image that took these seconds, against a steady baseline of 10 s."""
    return compared(face_off(host=noisy(10.0, len(seconds), seed=1), other=seconds, **options))["other"]


class TestWords:
    def test_a_faster_image(self):
        said = other(*noisy(8.0, REPEATS, seed=2))
        assert said.verdict == "faster"
        assert said.words.startswith("faster: 0.80") and "times the baseline's time (95% interval 0.79" in said.words
        assert said.words.endswith("5 pairs)")

    def test_a_slower_image(self):
        said = other(*noisy(10.5, REPEATS, seed=2))
        assert (said.verdict, said.words[:12]) == ("slower", "slower: 1.05")

    def test_an_equal_image(self):
        said = other(*noisy(10.0, REPEATS, seed=2))
        assert said.verdict == "equivalent"
        assert "within the margin of 2%" in said.words

    def test_a_noisy_image_is_inconclusive_and_says_how_many_repeats_would_settle_it(self):
        said = other(10.0, 10.9, 10.1, 10.8, 10.3)
        total = said.ratios["total_seconds"]
        assert said.verdict == "inconclusive" and total.more_repeats > 0
        assert said.words.endswith(f"; about {total.more_repeats} more repeats would settle it")

    def test_two_failed_repeats(self):
        said = other(8.0, "failed", 8.0, "failed", 8.01)
        assert (said.status, said.verdict) == ("partial", "cannot say")
        assert said.words.startswith("cannot say: 2 of its 5 repeats failed; as measured, 0.8")
        assert said.ratios["total_seconds"].more_repeats is None, "more repeats mend no failing one"

    def test_two_failed_repeats_of_the_baseline(self):
        said = compared(face_off(host=[10.0, "failed", 10.0, 10.1, "failed"], other=noisy(8.0, 5)))
        assert said["other"].words.startswith("cannot say: 2 of the baseline's 5 repeats failed")

    def test_a_single_repeat(self):
        said = other(8.0)
        assert said.verdict == "cannot say"
        assert said.words.startswith("cannot say: 1 pair of repeats is too few, 3 the least; as measured, 0.797 times")
        assert (said.ratios["total_seconds"].low, said.ratios["total_seconds"].more_repeats) == (None, 2)

    def test_a_confounded_pair_other_device(self):
        found = on_device(face_off(host=noisy(10.0, REPEATS), other=noisy(2.0, REPEATS, seed=2)), "other", "Tesla T4")
        said = compared(found)["other"]
        assert said.verdict == "cannot say"
        assert said.words.startswith("cannot say: confounded: it ran on GPU Tesla T4, the baseline on CPU; as measured")
        assert said.ratios["total_seconds"].low is not None, "the figures stand; what they show cannot be said"

    def test_a_confounded_pair_other_limits(self):
        absent = {"memory_bytes": "no limit"}
        limits = dataclasses.replace(results.HARDWARE.limits, cpu_quota=1.0, usable_cpus=1.0, absent=absent)
        limited = results.facts("other", dataclasses.replace(results.HARDWARE, limits=limits))
        profiles = {
            "host": results.profile("host"),
            "other": dataclasses.replace(results.profile("other"), facts=limited),
        }
        found = face_off(host=noisy(10.0, REPEATS), other=noisy(12.0, REPEATS, seed=2))
        said = compared(found, profiles=profiles)["other"]
        assert said.words.startswith("cannot say: confounded: not the same CPU limit as the baseline's; as measured")

    def test_software_that_differs_is_what_is_compared_and_is_told(self):
        contents = dataclasses.replace(results.CONTENTS, torch="1.2.0", python="3.7.16")
        facts = dataclasses.replace(results.facts("other"), contents=contents)
        profiles = {
            "host": results.profile("host"),
            "other": dataclasses.replace(results.profile("other"), facts=facts),
        }
        said = compared(face_off(host=noisy(10.0, 5), other=noisy(12.0, 5, seed=2)), profiles=profiles)["other"]
        assert said.verdict == "slower"
        assert "torch 1.2.0, not 2.14.1" in said.differences

    def test_nothing_ran(self):
        said = other("unsupported", "unsupported", "unsupported")
        assert (said.verdict, said.words) == ("cannot say", "cannot say: it is not supported here")


class TestFasterButWorse:
    def test_is_no_win(self):
        found = face_off(host=noisy(10.0, REPEATS), other=noisy(8.0, REPEATS, seed=2))
        said = compared(telling(found, host=range(10), other=range(8, 30)))["other"]
        assert said.accuracy.verdict == "worse"
        assert said.words.startswith("faster, but worse, which is no win: 0.80")
        assert said.words.endswith("8 are right only here, 20 only with the baseline (p = 0.036)")

    def test_and_as_good_is_a_win(self):
        found = face_off(host=noisy(10.0, REPEATS), other=noisy(8.0, REPEATS, seed=2))
        said = compared(telling(found, host=range(10), other=range(2, 13)))["other"]
        assert said.words.startswith("faster: 0.80")
        assert said.words.endswith("; 5 of 400 photos changed side, which shows no difference in accuracy")


class TestMethod:
    def test_images_per_second_go_the_other_way(self):
        said = other(*noisy(8.0, REPEATS, seed=2))
        images = said.ratios["train_images_per_second"]
        assert images.mean > 1 and images.verdict == "faster"

    def test_every_phase_has_a_verdict_of_its_own(self):
        said = other(*noisy(8.0, REPEATS, seed=2))
        figures = ("total_seconds", "frozen_seconds", "unfrozen_seconds", "predict_tta_seconds")
        assert [said.ratios[figure].verdict for figure in figures] == ["faster"] * 4

    def test_the_ratio_is_geometric_whichever_is_the_reference(self):
        pairs = {str(n): Pair(value, 10.0, 2 * n, 2 * n) for n, value in enumerate((5.0, 20.0, 10.0))}
        assert judged(pairs).mean == pytest.approx(1.0)

    def test_a_steady_drift_is_taken_out(self):
        """Each run takes 2 % longer than the one before: of equal images, the second of a repeat is 2 % behind."""
        said = compared(face_off(drift=0.02, host=noisy(10.0, 8, 0.001, 1), other=noisy(10.0, 8, 0.001, 2)))["other"]
        total = said.ratios["total_seconds"]
        assert min(total.pairs.values()) > 1.015, "what was measured stays as it was"
        assert total.mean == pytest.approx(1.0, abs=0.002)
        assert said.verdict == "equivalent"

    def test_an_uncertain_drift_widens_the_interval(self):
        """Pairs that all agree tell nothing where nobody knows what drift makes of them."""
        steady = [(10.5, 10.0), (10.5, 10.0), (10.5, 10.0), (10.5, 10.0)]
        shaken = [(10.5, 10.0), (16.8, 16.0), (9.45, 9.0), (14.7, 14.0)]
        widths = []
        for values in (steady, shaken):
            low, high = estimate(values).interval()
            widths.append(high - low)
        assert widths[1] > 10 * widths[0]

    def test_holm_over_twelve_images(self):
        """One that differs is found among eleven that do not; what would do alone does not do among twelve."""
        images = {f"image{number}": noisy(10.0, REPEATS, 0.01, seed=100 + number) for number in range(11)}
        said = compared(face_off(host=noisy(10.0, REPEATS, 0.01, seed=1), **images, slow=noisy(13.0, REPEATS, 0.01)))
        verdicts_said = [each.verdict for name, each in said.items() if name.startswith("image")]
        assert "faster" not in verdicts_said and "slower" not in verdicts_said
        assert said["slow"].verdict == "slower"

    def test_holm_makes_p_values_larger_the_more_are_compared(self):
        pairs = {str(n): Pair(value, 10.0, 2 * n + 1, 2 * n) for n, value in enumerate((10.2, 10.4, 10.3, 10.35))}
        alone = verdicts.ratios({"a": pairs}, "total_seconds", 0.02, 1)["a"]
        among = verdicts.ratios({str(n): pairs for n in range(12)}, "total_seconds", 0.02, 1)["0"]
        assert among.p_value == pytest.approx(12 * alone.p_value)
        assert (among.low, among.high) == (alone.low, alone.high)

    def test_looking_again_costs(self):
        pairs = {str(n): Pair(value, 10.0, 2 * n + 1, 2 * n) for n, value in enumerate((10.2, 10.4, 10.3, 10.35))}
        first, second = (judged(pairs, looks=looks).p_value for looks in (1, 2))
        assert second == pytest.approx(2 * first)

    def test_all_looks_together_stay_within_the_level(self):
        assert sum(verdicts.LEVEL / 2**look for look in range(1, 50)) <= verdicts.LEVEL

    def test_a_difference_that_is_sure_but_within_the_margin_is_none(self):
        said = other(*noisy(10.05, 12, 0.0005, seed=2))
        assert said.ratios["total_seconds"].low > 1 and said.verdict == "equivalent"

    def test_times_that_agree_to_the_last_digit(self):
        assert other(10.0, 10.0, 10.0).ratios["total_seconds"].high < 1.02
        assert compared(face_off(host=[10.0] * 3, other=[11.0] * 3))["other"].verdict == "slower"

    def test_a_figure_of_zero_has_no_ratio(self):
        found = [
            dataclasses.replace(each, evaluate=dataclasses.replace(each.evaluate, predict_tta_seconds=0.0))
            for each in face_off(host=[10.0] * 3, other=[10.0] * 3)
        ]
        assert "predict_tta_seconds" not in compared(found)["other"].ratios

    def test_the_repeats_that_are_asked_for_settle_it(self, cheap_collection):
        """A slowdown of 5 %: judged after 3 repeats and, where that is inconclusive, after what it asks for."""
        verdicts_said, asked = settled(shift=0.05, drift=0.0)
        assert verdicts_said.count("slower") >= 90
        assert asked >= 50, "noise as high as this needs more than 3 repeats, or nothing was tested"

    @pytest.mark.parametrize("drift", [0.0, 0.01])
    def test_equal_images_are_seldom_called_different(self, cheap_collection, drift):
        """Judged once and, where that is inconclusive, again; `drift` is what each run adds to the time of the next."""
        verdicts_said, _ = settled(shift=0.0, drift=drift)
        assert verdicts_said.count("faster") + verdicts_said.count("slower") <= 8  # 5 are the level


@pytest.fixture
def cheap_collection():
    """statsmodels collects all garbage in each correction of p-values: 0.1 s, with all of what tests import."""
    gc.freeze()
    yield
    gc.unfreeze()


def settled(shift, drift):
    """The last verdict of each of 100 face-offs of two images, and how many of them asked for more repeats."""
    noise = random.Random(1)  # noqa: S311 - repeatable
    found, asked = [], 0
    for _ in range(100):
        runs = [math.exp(noise.gauss(drift * place, 0.02)) for place in range(200)]
        values = [((1 + shift) * one, two) for two, one in zip(runs[::2], runs[1::2], strict=True)]
        said = judged(pairs_of(values[:3]))
        if said.verdict == "inconclusive":
            asked += 1
            said = judged(pairs_of(values[: 3 + min(said.more_repeats or 97, 97)]), looks=2)
        found.append(said.verdict)
    return found, asked


def judged(pairs, looks=1):
    return verdicts.ratios({"other": pairs}, "total_seconds", 0.02, looks)["other"]


def pairs_of(values):
    return {str(n): Pair(one, two, 2 * n + 1, 2 * n) for n, (one, two) in enumerate(values)}


def estimate(values):
    return verdicts.estimate([*pairs_of(values).values()])
