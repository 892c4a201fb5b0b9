"""Whether a device waits for the host to launch its work: by what was seen of it, and on a recorded run of an H200."""

import dataclasses
import json

import pytest

from stages.contract import Ceilings, Split
from stages.harness.comparison import explanation
from stages.harness.comparison.bottlenecks import bottleneck, speedup_of_steps
from stages.harness.comparison.compare import compare
from stages.harness.comparison.parts import COMPUTE, LAUNCH, parts
from stages.harness.params.schema import CompareParams
from stages.harness.results.read import CellResult
from stages.records import CardSpan, CardSummary, Cell, Course, Measurement, Ratio
from tests import environments, results
from tests.project import ROOT

H200 = json.loads((ROOT / "tests" / "recorded" / "h200.json").read_text())
CARD = "NVIDIA H200"
ADVICE = "torch.compile or CUDA graphs, and fused optimisers, which launch less for each sample; faster arithmetic, a"
UNKNOWN = "Whether compute is the device's work or launching it "
NOT_MEASURED = UNKNOWN + "was not measured."


def cell(variant, repeat, spans, ceilings=None, device=CARD, number_format="fp32", cards=(), **changes):
    """A repeat that trained on a card."""
    one = Cell("host", variant, repeat)
    facts = {"device": device, "number_format": number_format}
    train = results.trained(one, spans=tuple(spans), ceilings=ceilings, facts=facts, cards=tuple(cards))
    if changes:
        own = dataclasses.replace(train.belongs.variant, **changes)
        train = dataclasses.replace(train, belongs=dataclasses.replace(train.belongs, variant=own))
    return CellResult(one, "ok", None, train, results.evaluated(one))


def setting(
    variant="fp32-bs16",
    compute=8.0,
    launch=None,
    busy=None,
    rate=None,
    nvml=None,
    batch=16,
    wait=0.5,
    copy=0.2,
    other=0.3,
    samples=640,
    **changes,
):
    """Three repeats of one span; `rate`: samples/s of compute alone; `nvml`: the card's busy share, 3 samples each."""
    found = []
    for repeat, factor in enumerate((1.0, 1.01, 0.99), start=1):
        times = [factor * each for each in (wait, copy, compute, other)]
        split = Split(*times, None if launch is None else factor * launch)
        span = results.span("body", split.seconds, split=split, samples=samples, steps=-(-samples // batch))
        ceilings = None if rate is None else Ceilings(1e5, rate / factor, busy)
        cards = [] if nvml is None else [card(nvml)]
        found.append(cell(variant, repeat, [span], ceilings, cards=cards, **changes))
    return found


def card(busy, samples=3):
    """A card of which NVML says that it was so busy, in the span and, what does not count, before it."""
    spans = tuple(CardSpan(name, samples, None, None, share) for name, share in (("head", 0.99), ("body", busy)))
    absent = dict.fromkeys(("sm_hertz", "memory_hertz", "power_watts", "temperature_celsius", "throttled"), "not asked")
    return CardSummary("GPU-1", samples, None, None, None, None, Course(busy, busy, busy), None, spans, absent)


def kind(cells, run=()):
    return bottleneck(cells, {}, run).last.kind


def said(cells, run=(), baseline=None, verdict=None, profiles=None):
    ratio = verdict and Ratio({}, 1.1, 1.0, 1.2, 0.01, verdict, "why", None, None)
    return explanation.explain(cells, baseline or cells, ratio, profiles or {}, ("body",), run=run)


class TestSigns:
    @pytest.mark.parametrize(
        ("launch", "expected"),
        [
            (0.0, "compute-bound"),
            (3.0, "compute-bound"),
            (4.0, "balanced"),
            (5.0, "launch-bound"),
            (8.0, "launch-bound"),
        ],
    )
    def test_of_the_marks_the_larger_part_of_compute_decides_as_of_a_steps_parts(self, launch, expected):
        assert kind(setting(launch=launch)) == expected

    def test_marks_are_told_in_words_with_what_helps(self):
        first, sign, helps = said(setting(launch=7.2))
        assert first.startswith("Its steps in 'body' are launch-bound: 6% of a step waits for the loader, 2% copies")
        assert sign == (
            "The device waits for the host to launch its work: for 90% of the time that its steps compute, nothing is "
            "left in the device's queue."
        )
        assert helps == f"What helps are larger batches, {ADVICE} lower precision too, does not."
        (_, half) = said(setting(launch=4.0))
        assert half.startswith("Its compute is as much launching as the device's work: for 50% of")

    @pytest.mark.parametrize(
        ("busy", "expected"),
        [(0.1, "launch-bound"), (0.49, "launch-bound"), (0.6, "compute-bound"), (0.95, "compute-bound")],
    )
    def test_a_device_that_is_idle_for_longer_than_it_works_waits(self, busy, expected):
        assert kind(setting(busy=busy, rate=600.0)) == expected

    def test_how_busy_the_device_is_is_told_and_what_shows_neither_is_told_as_that(self):
        (_, sign, *_) = said(setting(busy=0.1, rate=600.0))
        assert sign.endswith("in compute alone, the device's kernels take 10% of a step by torch's profiler.")
        (_, sign) = said(setting(busy=0.95, rate=600.0))
        assert sign.startswith(
            "It is the device's work that takes the time: in compute alone, the device's kernels take 95%"
        )
        (_, *signs) = said(setting(busy=0.6, rate=600.0))
        assert signs[0] == UNKNOWN + "cannot be told." and signs[1].startswith("This shows neither: in compute alone")

    def test_without_a_sign_it_is_told_that_none_was_looked_for(self):
        assert said(setting())[1:] == (NOT_MEASURED,)
        assert len(said(setting(device="cpu"))) == 1, "a CPU has no queue"

    @pytest.mark.parametrize(
        ("nvml", "expected"),
        [(0.1, "launch-bound"), (0.43, "launch-bound"), (0.5, "compute-bound"), (1.0, "compute-bound")],
    )
    def test_nvml_shows_a_card_that_is_idle_and_never_one_that_computes(self, nvml, expected):
        """Of 9 s, 8 compute: half of that is 44 %. `head`, before, was busy."""
        cells = setting(nvml=nvml)
        assert kind(cells) == expected
        signs = " ".join(said(cells)[1:])
        assert f"NVML calls the card busy for {nvml:.0%} of the last span, in which steps compute for 89%" in signs
        assert ("it counts any kernel, however small" in signs) == (expected == "compute-bound")
        assert (f"{UNKNOWN}cannot be told." in signs) == (expected == "compute-bound")

    def test_nvmls_share_is_weighed_against_compute_not_against_what_waits(self):
        """Of 9 s, 4.5 compute and 4 wait for the loader, in which a card that computes is idle."""
        assert kind(setting(nvml=0.3, compute=4.5, wait=4.0)) == "compute-bound"
        assert kind(setting(nvml=0.2, compute=4.5, wait=4.0)) == "launch-bound"

    def test_too_few_samples_of_nvml_tell_nothing_and_of_two_cards_the_busier_counts(self):
        few = setting(nvml=0.1)[:1]
        assert bottleneck(few).launching.card_busy_share is None and kind(few) == "compute-bound"
        cells = setting(nvml=0.9)
        both = [
            dataclasses.replace(each, train=dataclasses.replace(each.train, cards=(card(0.0), *each.train.cards)))
            for each in cells
        ]
        assert bottleneck(both).launching.card_busy_share == 0.9

    def test_a_stronger_sign_counts_and_what_does_not_agree_is_said(self):
        cells = setting(launch=0.2, busy=0.3, rate=600.0, nvml=0.2)
        assert kind(cells) == "compute-bound"
        (_, agrees, against) = said(cells)
        assert agrees.startswith("It is the device's work that takes the time: for 3% of the time")
        assert against.startswith("This does not agree: in compute alone, the device's kernels take 30% of a step")
        assert "NVML calls the card busy for 20%" in against

    def test_an_earlier_span_of_other_steps_is_not_judged_by_the_last(self):
        """With steps that compute for about as long, it is."""

        def of(earlier):
            spans = [
                results.span(name, 10.0, split=Split(0.5, 0.2, computing, 0.3), samples=640, steps=40)
                for name, computing in (("head", earlier), ("body", 5.0))
            ]
            found = bottleneck([cell("fp32-bs16", 1, spans, Ceilings(1e5, 600.0, 0.1))])
            return found.spans["head"].kind, found.last.kind

        assert of(7.0) == ("launch-bound", "launch-bound")
        assert of(8.0) == ("compute-bound", "launch-bound")


def pair(longer, sizes=(16, 64), alone=True, **changes):
    """Settings of two batch sizes; the larger one's step of compute takes so many times as long."""
    found = []
    for size, step in zip(sizes, (0.05, 0.05 * longer), strict=True):
        computing = step * 960 / size
        rate = size / step if alone else None
        own = {"variant": f"fp32-bs{size}", "compute": computing, "rate": rate, "batch": size, "samples": 960}
        found.append(setting(**own, wait=0.02, copy=0.01, other=0.01, **changes))
    return found


class TestBatches:
    @pytest.mark.parametrize("alone", [True, False])
    @pytest.mark.parametrize(
        ("longer", "kinds"),
        [
            (1.0, ("launch-bound", "launch-bound")),
            (1.09, ("launch-bound", "launch-bound")),
            (0.8, ("launch-bound", "launch-bound")),
            (0.5, ("compute-bound", "compute-bound")),  # measured under other conditions
            (1.2, ("launch-bound", "compute-bound")),  # of the smaller one's step, 7 % grow with the batch
            (1.3, ("compute-bound", "compute-bound")),
            (4.0, ("compute-bound", "compute-bound")),
        ],
    )
    def test_a_step_that_takes_as_long_with_a_larger_batch_is_launched_for_as_long(self, longer, kinds, alone):
        small, large = pair(longer, alone=alone)
        run = [*small, *large]
        assert (kind(small, run), kind(large, run)) == kinds
        assert kind(small) == "compute-bound", "by itself it does not show"

    def test_is_told_with_both_batches_and_what_the_larger_one_gains(self):
        small, large = pair(1.04)
        (_, sign, helps) = said(small, [*small, *large])
        assert sign == (
            "The device waits for the host to launch its work: compute alone takes 50 ms a step at batch_size 16 and "
            "52 ms at 64."
        )
        assert "larger batches (batch_size 64 computes 3.8 times as many samples/s), torch.compile" in helps
        (_, sign, helps) = said(large, [*small, *large])
        assert "52 ms a step at batch_size 64 and 50 ms at 16" in sign and "larger batches, torch" in helps

    @pytest.mark.parametrize(("longer", "shown"), [(4.0, (True, True)), (2.2, (False, True)), (1.5, (False, False))])
    def test_a_step_that_grows_with_the_batch_computes(self, longer, shown):
        """At the larger batch as soon as that makes half of its step; at the smaller one if all of it grows."""
        small, large = pair(longer)
        run = [*small, *large]
        computes = [
            "It is the device's work that takes the time: compute alone takes" in said(each, run)[1]
            for each in pair(longer)
        ]
        assert tuple(computes) == shown

    @pytest.mark.parametrize(
        "changes", [{"env": {"A": "1"}}, {"gpus": 2}, {"number_format": "fp16"}, {"parameters": {"batch_size": 64}}]
    )
    def test_settings_that_differ_in_more_tell_nothing(self, changes):
        small, _ = pair(1.0)
        _, large = pair(1.0, **changes)
        assert kind(small, [*small, *large]) == "compute-bound"

    def test_a_parameter_that_is_not_the_batch_tells_nothing_whatever_its_name(self):
        def of(name, values):
            small, large = (
                setting(f"fp32-bs{size}", batch=size, rate=20.0 * size, samples=960, parameters={name: value})
                for size, value in zip((16, 64), values, strict=True)
            )
            return kind(small, [*small, *large])

        assert of("images", (16, 64)) == "launch-bound"
        assert of("workers", (2, 4)) == "compute-bound", "it does not go with the samples of a step"
        assert of("network", ("small", "large")) == of("fused", (True, False)) == "compute-bound"

    @pytest.mark.parametrize(("longer", "expected"), [(1.19, "launch-bound"), (1.21, "compute-bound")])
    def test_of_the_smaller_ones_step_a_fifth_may_grow(self, longer, expected):
        small, _ = pair(longer)
        doubled = setting(
            "fp32-bs64",
            batch=32,
            rate=32 / (0.05 * longer),
            samples=960,
            parameters={"precision": "fp32", "batch_size": 32},
        )
        assert kind(small, [*small, *doubled]) == expected

    def test_a_batch_that_is_hardly_larger_tells_nothing(self):
        small = setting("fp32-bs16", batch=16, rate=320.0, samples=960)
        large = setting(
            "fp32-bs64", batch=20, rate=400.0, samples=960, parameters={"precision": "fp32", "batch_size": 20}
        )
        assert kind(small, [*small, *large]) == "compute-bound"

    def test_a_last_batch_that_is_smaller_does_not_count(self):
        """70 samples in batches of 64 are two steps: 35 a step in the mean, and 64 in compute alone."""
        small = setting("fp32-bs16", batch=16, rate=320.0, samples=70)
        large = setting("fp32-bs64", batch=64, rate=1280.0, samples=70)
        other = bottleneck(small, {}, [*small, *large]).launching.other_batch
        assert (other.samples_per_step, other.other_samples_per_step) == (16, 64)
        assert other.times_as_long == pytest.approx(1.0)

    def test_of_several_the_one_that_shows_launching_counts(self):
        cells = [
            setting(f"fp32-bs{size}", batch=size, rate=size / step, samples=1024)
            for size, step in ((16, 0.05), (64, 0.052), (256, 0.2))
        ]
        run = [each for group in cells for each in group]
        assert [kind(each, run) for each in cells] == ["launch-bound", "launch-bound", "compute-bound"]
        assert bottleneck(cells[2], {}, run).launching.other_batch.setting == "host/fp32-bs16", "the farthest"

    def test_on_a_cpu_it_says_that_arithmetic_is_not_what_takes_the_time_and_nothing_of_lower_precision(self):
        small, large = pair(1.0, device="cpu")
        run, profiles = [*small, *large], {"host": measured(fp32=1e12, bf16=2e12)}
        assert kind(small, run) == "compute-bound"
        assert said(small, run, profiles=profiles)[1:] == (
            "It is not arithmetic that its compute takes the time for: compute alone takes 50 ms a step at batch_size "
            "16 and 50 ms at 64. Larger batches and torch.compile help, a lower precision does not.",
        )
        alone = said(small, profiles=profiles)
        assert len(alone) == 2 and alone[1].startswith("A lower precision could make these steps")


def measured(device="cpu", **rates):
    found = []
    for name, rate in rates.items():
        absent, applies = {"peak": "unknown"}, {"number_format": name}
        values = ("", "flop/s", (rate,), rate, 0.01 * rate, None, "compute", applies, absent)
        found.append(Measurement(f"matrix product, {name}", *values))
    plain = results.profile("host")
    facts = dataclasses.replace(plain.facts, device=device)
    return dataclasses.replace(plain, measurements=tuple(found), facts=facts)


class TestLowerPrecision:
    PROFILES = {"host": measured(CARD, fp32=1e13, fp16=4e13)}  # noqa: RUF012

    def test_gains_of_what_the_device_computes_alone(self):
        """Of 9 s it computes for 8, of which 2 are launching: 6 s become 1.5."""
        assert speedup_of_steps(bottleneck(setting(launch=2.0)), 4.0) == pytest.approx(9 / 4.5)
        assert speedup_of_steps(bottleneck(setting(busy=0.9, rate=600.0)), 4.0) == pytest.approx(9 / (9 - 0.9 * 6))
        (*_, gain) = said(setting(launch=2.0), profiles=self.PROFILES)
        assert gain.startswith("A lower precision could make these steps 2.00 times as fast: the profile measured")

    def test_is_promised_on_condition_where_nothing_shows_whether_the_device_waits(self):
        (*_, gain) = said(setting(), profiles=self.PROFILES)
        assert gain.startswith("If it is the device's work, a lower precision could make these steps 3.00 times as")
        (*_, gain) = said(setting(busy=0.9, rate=600.0), profiles=self.PROFILES)
        assert gain.startswith("A lower precision could make these steps")

    @pytest.mark.parametrize(
        "cells",
        [setting(launch=7.0), setting(busy=0.1, rate=600.0), setting(launch=0.2, nvml=0.1), setting(launch=4.0)],
        ids=["marks", "kernels", "signs that do not agree", "balanced"],
    )
    def test_is_promised_nothing_where_the_device_may_wait_for_launches(self, cells):
        assert not any("lower precision could" in each for each in said(cells, profiles=self.PROFILES))

    @pytest.mark.parametrize(
        ("verdict", "told"), [("equivalent", True), ("slower", True), ("inconclusive", True), ("faster", False)]
    )
    def test_is_why_the_rival_in_lower_precision_is_no_faster(self, verdict, told):
        fp32, mixed = setting(launch=7.0), setting("mixed-bs16", compute=7.9, launch=7.0, number_format="fp16")
        words = "A lower precision speeds up arithmetic, which is not what the baseline's steps in 'body' wait for."
        assert (words in said(mixed, baseline=fp32, verdict=verdict, profiles=self.PROFILES)) == told

    def test_a_card_without_units_for_it_is_not_blamed_where_launches_are_waited_for(self):
        hardware = environments.hardware(environments.gpu(CARD, compute_capability="6.0"))
        plain = self.PROFILES["host"]
        profiles = {"host": dataclasses.replace(plain, facts=dataclasses.replace(plain.facts, hardware=hardware))}
        for launch, blamed in ((7.0, False), (0.2, True)):
            fp32, mixed = setting(launch=launch), setting("mixed-bs16", launch=launch, number_format="fp16")
            sentences = said(mixed, baseline=fp32, verdict="equivalent", profiles=profiles)
            assert any("has no tensor cores" in each for each in sentences) == blamed


class TestCopies:
    def test_that_take_most_are_told_with_what_helps(self):
        cells = setting(copy=8.0, compute=3.0, launch=3.0)
        assert kind(cells) == "copy-bound"
        (_, helps) = said(cells)
        assert helps.startswith(
            "Without copies these steps would be 3.11 times as fast: what helps are batches in pinned"
        )

    def test_as_long_as_compute_are_not_what_holds_back_more(self):
        assert kind(setting(copy=4.0, compute=4.0)) == "balanced"

    def test_the_rest_of_the_loop_is_none_of_the_kinds_and_is_told(self):
        cells = setting(other=8.0, compute=2.0, launch=2.0)
        assert kind(cells) == "balanced"
        assert "The largest part is the rest of the loop" in said(cells)[1]


class TestParts:
    def test_launching_is_a_part_of_its_own_where_all_tell_it(self):
        one, other = setting(launch=7.0), setting(launch=2.0)
        found = {part.name: part for part in parts(one, other, ("body",))}
        assert found[LAUNCH].difference == pytest.approx(5.0) and found[COMPUTE].difference == pytest.approx(-5.0)
        assert sum(part.seconds for part in found.values()) == pytest.approx(9.0)
        first, *_ = said(setting(compute=12.0, launch=10.0), baseline=setting(launch=6.0), verdict="slower")
        assert "launching, for which the device waits, takes 4.00 s more (1.67 times as long), 100% of it" in first

    def test_what_compute_alone_took_is_said_once_where_both_launching_and_the_rest_differ(self):
        one, other = setting(compute=14.0, launch=10.0, rate=400.0), setting(launch=6.0, rate=600.0)
        sentences = said(one, baseline=other, verdict="slower")
        assert "launching, for which the device waits, takes" in sentences[0] and "; compute takes" in sentences[0]
        assert sum(each.startswith("Compute alone, on one batch again") for each in sentences) == 1

    def test_is_none_where_one_does_not_tell_it(self):
        assert LAUNCH not in [part.name for part in parts(setting(launch=7.0), setting(), ("body",))]


def recorded():
    """The repeats of the H200's run, by setting."""
    found = {}
    for one in H200["cells"]:
        variant = f"{one['precision']}-bs{one['batch_size']}"
        spans = [
            results.span(each["name"], each["seconds"], samples=each["samples"], steps=each["steps"],
                         split=Split(**each["split"]))
            for each in one["spans"]
        ]  # fmt: skip
        number_format = "fp16" if one["precision"] == "mixed" else "fp32"
        ceilings = Ceilings(**one["ceilings"])
        made = cell(variant, one["repeat"], spans, ceilings, H200["device"], number_format)
        found.setdefault(made.cell.setting, []).append(made)
    return found


class TestRecordedRun:
    """As an H200 was measured, by no marks: launch-bound at both batch sizes, in fp32 and mixed."""

    def test_is_launch_bound_in_every_span_and_no_faster_arithmetic_is_recommended(self):
        settings = recorded()
        run = [each for group in settings.values() for each in group]
        rates = {name.split(", ")[1]: rate for name, rate in H200["matrix_products_flop_per_second"].items()}
        profiles = {"host": measured(CARD, **rates)}
        rules = CompareParams(baseline="host/fp32-bs16", margin=0.02, looks=(), remeasure=0)
        job = dataclasses.replace(results.JOB, total=("frozen", "unfrozen"))
        found = compare(run, rules, profiles, job)
        assert [each.setting for each in found] == [*settings] and len(found) == 4
        for each in found:
            kinds = {steps.kind for steps in each.bottleneck.spans.values()}
            assert kinds == {"launch-bound"}, each.setting
            assert any(sentence.startswith("The device waits for the host to launch its work: compute alone takes")
                       for sentence in each.explanation)  # fmt: skip
            assert any(ADVICE in sentence for sentence in each.explanation)
            assert not any("lower precision could" in sentence for sentence in each.explanation)

    def test_is_not_where_one_batch_size_alone_was_measured(self):
        """Then nothing was recorded that shows it: this is what was told wrongly, and is told as unknown now."""
        for cells in recorded().values():
            assert kind(cells, cells) == "compute-bound"
            assert NOT_MEASURED in said(cells, cells)
