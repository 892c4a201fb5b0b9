"""Settings with a known split and known ceilings get the words that they should."""

import dataclasses
from types import MappingProxyType

import pytest

from stages import records
from stages.harness import explanation
from stages.harness.cells import Result
from stages.records import Ceilings, Cell, Measurement, Split
from tests import results

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
    """All but what is said of the setting alone."""
    said = explanation.explain(one, other, ratio(verdict), profiles)
    return said[1 if one[0].cell.precision == "mixed" else 2 :]


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
        assert (found.kind, found.possible_speedup) == (kind, pytest.approx(speedup))
        assert found.images_per_second == pytest.approx(320 / 9)
        sentences = explanation.explain(setting(loader_rate=loader_rate, **parts), setting(), None, {})
        assert f"The training is {kind}" in sentences[0]

    def test_sums_the_split_over_epochs_and_repeats_and_takes_the_ceilings_medians(self):
        cells = setting(repeats=(0.0, 0.1, 0.0))
        slow = dataclasses.replace(cells[1].train, ceilings=Ceilings(1.0, 1.0))
        found = explanation.bottleneck([cells[0], dataclasses.replace(cells[1], train=slow), cells[2]])
        assert found.split == Split(60, *(pytest.approx(3.1 * value) for value in (2.0, 0.5, 6.0, 0.5)))
        assert (found.loader_images_per_second, found.compute_images_per_second) == (1000.0, 200.0)

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
        attribution, ceiling, limit = why(setting("mixed", compute=9.0, wait=2.1), setting(), "slower")[:3]
        assert "3.10 s a repeat more: compute takes 3.00 s more (1.50 times as long), 97% of it" in attribution
        assert "waiting" not in attribution
        assert "does not agree" in ceiling  # both compute 200 images/s alone
        assert "the baseline's training steps 3.00 times as fast at most" in limit

    def test_slower_by_compute_which_alone_is_as_slow(self):
        ceiling = why(setting("mixed", compute=9.0, compute_rate=133.0), setting(), "slower")[1]
        assert "takes 1.50 times as long, which agrees" in ceiling

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
        assert "waiting for the loader takes 1.00 s less (0.50 times as long), -50% of it" in attribution

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

    @pytest.mark.parametrize("verdict", ["equivalent", "inconclusive", "cannot say"])
    def test_no_difference_has_no_cause(self, verdict):
        assert "nothing to explain" in why(setting(), setting(), verdict)[0]

    def test_the_baseline_has_no_difference(self):
        said = explanation.explain(setting(), setting(), None, {})
        assert len(said) == 2 and "its training steps" in said[1]


class TestProfiles:
    """mixed is slower by compute; what do the profiles say of the device at both precisions?"""

    @pytest.mark.parametrize(
        ("fp32", "bf16", "words"),
        [
            (1e11, 0.8e11, "at 0.80 times the rate of 'matrix product, fp32', in line with that"),
            (1e11, 2e11, "at 2.00 times the rate of 'matrix product, fp32', which does not explain it"),
            (1e11, 0.99e11, "within the spread of both"),
        ],
    )
    def test_are_cited_as_agreeing_or_not(self, fp32, bf16, words):
        assert any(words in each for each in self.said(fp32, bf16))

    def test_are_not_cited_where_they_do_not_tell(self):
        assert not any("profile" in each for each in self.said(1e11, None))

    def said(self, *rates):
        measured = [
            Measurement(
                f"matrix product, {name}",
                "512 x 512",
                "flop/s",
                (rate,) if rate else (),
                rate,
                0.05 * rate if rate else None,
                None,
                {"peak": "unknown"} if rate else dict.fromkeys(("median", "spread", "peak"), "not possible"),
            )
            for name, rate in zip(("fp32", "bf16"), rates, strict=True)
        ]
        profile = dataclasses.replace(results.profile("host"), measurements=tuple(measured))
        return why(setting("mixed", compute=9.0), setting(), "slower", {"host": profile})
