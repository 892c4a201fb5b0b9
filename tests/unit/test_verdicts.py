"""Face-offs whose truth is known get the verdict and the words that they should."""

import dataclasses
import datetime
import math
import random

import numpy
import pytest
from scipy import stats

from benchmarks import verdict_quality
from stages.contract import Span
from stages.harness.report import table
from stages.harness.results import metrics
from stages.harness.statistics import estimates, verdicts
from stages.harness.statistics.estimates import Pair
from tests import comparisons, results
from tests.faceoffs import compared, face_off, noisy, predicting, with_facts

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
        assert f" as likely as not, {total.more_repeats} in nine of ten cases, judged from 5 pairs" in said.words
        assert total.more_repeats % 10 == 0, "more digits than 5 pairs can tell"

    def test_two_failed_repeats(self):
        said = other(8.0, "failed", 8.0, "failed", 8.01)
        assert (said.status, said.verdict) == ("partial", "cannot say")
        assert said.words.startswith("cannot say: 2 of its 5 repeats failed; without the drift, 0.8")
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
        found = with_facts(
            face_off(host=noisy(10.0, REPEATS), other=noisy(2.0, REPEATS, seed=2)), "other", device="Tesla T4"
        )
        said = compared(found)["other"]
        assert said.verdict == "cannot say"
        assert said.words.startswith(
            "cannot say: confounded: it ran on GPU Tesla T4, the baseline on CPU; without the drift"
        )
        total = said.ratios["total_seconds"]
        assert total.low is not None, "the times stand; what they show cannot be said"
        assert total.p_value is None, "nothing is tested"

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
        assert said.words.startswith(
            "cannot say: confounded: not the same CPU limit as the baseline's; without the drift"
        )

    def test_software_that_differs_is_what_is_compared_and_is_told(self):
        profiles = {"host": results.profile("host"), "other": results.older("other", torch="1.2.0", python="3.7.16")}
        said = compared(face_off(host=noisy(10.0, 5), other=noisy(12.0, 5, seed=2)), profiles=profiles)["other"]
        assert said.verdict == "slower"
        assert "torch 1.2.0, not 2.14.1" in said.differences

    def test_nothing_ran(self):
        said = other("unsupported", "unsupported", "unsupported")
        assert (said.verdict, said.words) == ("cannot say", "cannot say: it is not supported here")


class TestFasterButWorse:
    def test_is_no_win(self):
        found = face_off(host=noisy(10.0, REPEATS), other=noisy(8.0, REPEATS, seed=2))
        said = compared(predicting(found, host=range(10), other=range(8, 30)))["other"]
        assert said.predictions.verdict == "worse"
        assert said.words.startswith("faster, but worse, which is no win: 0.80")
        assert said.words.endswith("8 items are right only here, 20 only with the baseline (p = 0.036)")

    def test_and_as_good_is_a_win(self):
        found = face_off(host=noisy(10.0, REPEATS), other=noisy(8.0, REPEATS, seed=2))
        said = compared(predicting(found, host=range(10), other=range(2, 13)))["other"]
        assert said.words.startswith("faster: 0.80")
        assert said.words.endswith("; 5 of 400 predictions changed side, which shows no difference in accuracy")


class TestMethod:
    def test_a_metric_that_is_better_higher_goes_the_other_way(self):
        said = other(*noisy(8.0, REPEATS, seed=2))
        images = said.ratios["samples_per_second"]
        assert images.mean > 1 and images.verdict == "faster"

    def test_every_span_has_a_verdict_of_its_own(self):
        said = other(*noisy(8.0, REPEATS, seed=2))
        timed = ("total_seconds", "head_seconds", "body_seconds", "predict_seconds")
        assert [said.ratios[name].verdict for name in timed] == ["faster"] * 4

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
        """Two that differ are found among ten that do not, and told, and no other is."""
        images = {f"image{number}": noisy(10.0, REPEATS, 0.01, seed=100 + number) for number in range(10)}
        slow, fast = noisy(13.0, REPEATS, 0.01, seed=2), noisy(7.0, REPEATS, 0.01, seed=3)
        said = compared(face_off(host=noisy(10.0, REPEATS, 0.01, seed=1), **images, slow=slow, fast=fast))
        equal = [each.verdict for name, each in said.items() if name.startswith("image")]
        assert {*equal} <= {"equivalent", "inconclusive"}
        assert said["slow"].words.startswith("slower: 1.3") and said["fast"].words.startswith("faster: 0.7")
        conclusion = table.conclusion(comparisons.comparison(*said.values()))
        told = [f"{equal.count(each)} {each}" for each in ("equivalent", "inconclusive") if each in equal]
        assert conclusion.startswith(f"Against host/fp32-bs16: {', '.join(['1 faster', '1 slower', *told])}. On CPU")
        assert "fast/fp32-bs16 is faster: 0.7" in conclusion

    def test_an_interval_without_1_that_shows_nothing_yet_says_why(self):
        pairs = pairs_of([(10.3, 10.0), (10.1, 10.0), (10.25, 10.0), (10.15, 10.0)])
        alone = judged(pairs)
        assert alone.low > 1
        among = verdicts.ratios({str(n): pairs for n in range(12)}, "lower", 0.02)["0"]
        assert among.verdict == "inconclusive"
        assert among.reason.startswith(
            "the interval excludes 1, but not after the correction for 12 comparisons and 1 look; about "
        )

    def test_holm_makes_p_values_larger_the_more_are_compared(self):
        pairs = {str(n): Pair(value, 10.0, 2 * n + 1, 2 * n) for n, value in enumerate((10.2, 10.4, 10.3, 10.35))}
        alone = verdicts.ratios({"a": pairs}, "lower", 0.02)["a"]
        twelve = {str(n): pairs for n in range(12)}
        among = verdicts.ratios(twelve, "lower", 0.02)["0"]
        assert among.p_value == pytest.approx(12 * alone.p_value)
        assert (among.low, among.high) == (alone.low, alone.high)
        untold = dict.fromkeys("123456", "confounded")
        few = verdicts.ratios(twelve, "lower", 0.02, confounders=untold)
        assert few["0"].p_value == pytest.approx(6 * alone.p_value), "what is not tested costs the others nothing"
        assert (few["1"].p_value, few["1"].low) == (None, alone.low)

    def test_looking_again_costs(self):
        pairs = {str(n): Pair(value, 10.0, 2 * n + 1, 2 * n) for n, value in enumerate((10.2, 10.4, 10.3, 10.35))}
        pairs |= {str(n): Pair(value, 10.0, 2 * n + 1, 2 * n) for n, value in enumerate((10.1, 10.5, 10.4, 10.2), 4)}
        once, twice = judged(pairs), judged(pairs, [{"0", "1", "2", "3"}])
        assert twice.p_value == pytest.approx(3 * once.p_value)
        assert judged(pairs, [{"0", "1"}]) == once, "a look at too few pairs tests nothing, and costs nothing"

    def test_what_a_look_has_shown_stands(self):
        """A ninth pair of 5 % among eight: without the first look's p-value the correction alone would undo it."""
        shown = pairs_of([(10.5 + 0.05 * (n % 3), 10.0) for n in range(4)])
        more = pairs_of([(10.5 + 0.05 * (n % 3), 10.0) for n in range(4)] + [(10.9, 10.0)])
        assert judged(shown).verdict == "slower"
        assert judged(more).verdict == "inconclusive" or judged(more).p_value > judged(shown).p_value
        later = judged(more, [set(shown)])
        assert (later.verdict, later.p_value) == ("slower", judged(shown).p_value)

    def test_what_a_look_has_shown_falls_where_the_ratio_turns(self):
        shown = [(10.5 + 0.05 * (n % 3), 10.0) for n in range(4)]
        turned = pairs_of(shown + [(8.0 + 0.1 * (n % 4), 10.0) for n in range(8)])
        assert judged(turned, [set(map(str, range(4)))]).verdict in ("faster", "inconclusive")

    def test_equivalent_is_corrected_for_looks_too(self):
        pairs = pairs_of([(10.0 + 0.2 * (-1) ** n + 0.002 * n, 10.0) for n in range(10)])
        assert judged(pairs).verdict == "equivalent"
        assert judged(pairs, [set("012"), set("01234"), set("0123456")]).verdict == "inconclusive"

    def test_all_looks_together_stay_within_the_level(self):
        assert sum(1 / verdicts.price(look) for look in range(1, 5000)) <= 1

    def test_a_difference_that_is_sure_but_within_the_margin_is_none(self):
        said = other(*noisy(10.05, 12, 0.0005, seed=2))
        assert said.ratios["total_seconds"].low > 1 and said.verdict == "equivalent"

    def test_times_that_agree_to_the_last_digit(self):
        assert other(10.0, 10.0, 10.0).ratios["total_seconds"].high < 1.02
        assert compared(face_off(host=[10.0] * 3, other=[11.0] * 3))["other"].verdict == "slower"

    def test_a_metric_of_zero_has_no_ratio(self):
        found = [
            dataclasses.replace(each, evaluate=dataclasses.replace(each.evaluate, spans=(Span("predict", 0.0),)))
            for each in face_off(host=[10.0] * 3, other=[10.0] * 3)
        ]
        assert "predict_seconds" not in compared(found)["other"].ratios

    def test_the_repeats_that_are_asked_for_settle_it(self):
        """A slowdown of 5 %: judged after 3 repeats and, where that is inconclusive, after what it asks for."""
        verdicts_said, asked = settled(shift=0.05, drift=0.0)
        assert verdicts_said.count("slower") >= 90
        assert asked >= 50, "noise as high as this needs more than 3 repeats, or nothing was tested"

    @pytest.mark.parametrize("drift", [0.0, 0.01])
    def test_equal_images_are_seldom_called_different(self, drift):
        """Judged once and, where that is inconclusive, again; `drift` is what each run adds to the time of the next."""
        verdicts_said, _ = settled(shift=0.0, drift=drift)
        assert verdicts_said.count("faster") + verdicts_said.count("slower") <= 8  # 5 are the level


class TestBlocks:
    """Between two blocks of repeats a machine may change its pace at once."""

    @pytest.mark.parametrize(("before", "after"), [(3, 3), (3, 7), (5, 5)])
    def test_the_interval_holds_the_truth_as_often_as_it_says(self, before, after):
        """Over 300 face-offs of equal settings with 0.5 % of noise and a jump; 95 % ± 2.5 % are likely."""
        noise = numpy.random.default_rng(1)
        held = 0
        for _ in range(300):
            jump = noise.normal(0, 0.05)
            logs = (
                noise.normal(0, 0.005, (before + after, 2)) + jump * (numpy.arange(before + after) >= before)[:, None]
            )
            found = estimates.estimate(
                [
                    Pair(math.exp(here), math.exp(there), 2 * n + 1, 2 * n, int(n >= before))
                    for n, (here, there) in enumerate(logs)
                ]
            )
            low, high = found.interval()
            held += low <= 0 <= high
        assert 0.925 <= held / 300 <= 0.98

    def test_a_pause_of_a_day_is_another_block_and_of_a_minute_is_none(self):
        times = {"host": noisy(10.0, 6), "other": noisy(10.0, 6, seed=2)}
        one = face_off(**times)
        assert {*metrics.blocks(one).values()} == {0}
        assert [*metrics.blocks(tomorrow(one, {4, 5, 6})).values()] == [0] * 6 + [1] * 6

    def test_two_runs_of_different_blocks_make_no_pair_and_it_is_said(self):
        found = tomorrow(face_off(host=noisy(10.0, 6), other=noisy(10.0, 6, seed=2)), {6}, "other")
        said = compared(found)["other"]
        assert [*said.ratios["total_seconds"].pairs] == ["1", "2", "3", "4", "5"]
        assert "repeat 6: not of the same block of repeats as the baseline's, so not compared with it" in said.warnings

    def test_an_image_that_was_added_a_day_later_asks_for_repeats_beside_the_baseline(self):
        found = tomorrow(face_off(host=noisy(10.0, 3), other=noisy(10.0, 3, seed=2)), {1, 2, 3}, "other")
        said = compared(found)["other"]
        assert said.words.startswith("cannot say: it ran in another block than the baseline, ")
        assert said.ratios["total_seconds"].more_repeats == 3

    def test_too_few_of_one_block_to_tell_a_drift(self):
        said = compared(tomorrow(face_off(host=noisy(10.0, 3), other=noisy(10.0, 3, seed=2)), {2, 3}))["other"]
        assert said.words.startswith(
            "cannot say: from 2 blocks, with pauses between, 3 pairs of repeats are too few to tell a drift; "
        )

    def test_an_interval_that_is_wide_for_its_blocks_says_so(self):
        times = {"host": noisy(10.0, 5), "other": (10.0, 10.9, 10.1, 10.8, 10.3)}
        why = "; its pairs are of 2 blocks, with pauses between, so the interval is wider; "
        assert why in compared(tomorrow(face_off(**times), {4, 5}))["other"].words
        assert "blocks" not in compared(face_off(**times))["other"].words


def tomorrow(found, repeats, image=None):
    """The same, with these repeats (of one image) a day later."""
    return [
        dataclasses.replace(each, train=later(each.train), evaluate=later(each.evaluate))
        if each.cell.repeat in repeats and image in (None, each.cell.image)
        else each
        for each in found
    ]


def later(run):
    moment = datetime.datetime.fromisoformat(run.started_at) + datetime.timedelta(days=1)
    return dataclasses.replace(run, started_at=moment.isoformat())


class TestRecordedRuns:
    """200 face-offs of real runs of one setting, after the repeats that 3 pairs ask for."""

    @pytest.mark.parametrize("seed", [1, 2])
    def test_equal_settings_are_called_different_in_5_percent_at_most(self, seed):
        said = recorded(1.0, seed)
        called = sum(each in ("faster", "slower") for each in said)
        assert stats.binomtest(called, len(said), 0.05, "greater").pvalue > 0.05, "at most 15 of 200: 5 % and chance"

    @pytest.mark.parametrize("seed", [1, 2])
    def test_a_slowdown_of_5_percent_is_found_in_90_percent(self, seed):
        said = recorded(1.05, seed)
        assert said.count("slower") >= 0.9 * len(said)


def recorded(slowdown, seed):
    runs, generator = verdict_quality.read(verdict_quality.RECORDING), numpy.random.default_rng(seed)
    return [
        verdict_quality.at_asked(verdict_quality.draw(runs, 0.0, slowdown, 1, generator), 0.02).verdict
        for _ in range(200)
    ]


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
            said = judged(pairs_of(values[: 3 + min(said.more_repeats or 97, 97)]), [set("012")])
        found.append(said.verdict)
    return found, asked


def judged(pairs, earlier=()):
    return verdicts.ratios({"other": pairs}, "lower", 0.02, earlier)["other"]


def pairs_of(values):
    return {str(n): Pair(one, two, 2 * n + 1, 2 * n) for n, (one, two) in enumerate(values)}


def estimate(values):
    return estimates.estimate([*pairs_of(values).values()])
