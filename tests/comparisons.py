"""Comparisons with known metrics, made through the records: for tests of what people read."""

import dataclasses
import math
import statistics
from collections.abc import Mapping
from typing import Any

from stages.contract import Split
from stages.harness.results.metrics import declared
from stages.records import (
    Bottleneck,
    Comparison,
    CurvePoint,
    Hardware,
    Launching,
    Metric,
    OtherBatch,
    PairedPredictions,
    Ratio,
    SettingResult,
    SpanSteps,
    Summary,
)
from tests import faceoffs, results

BASELINE = "host/fp32-bs16"
SHARES = {"head_seconds": 0.3, "body_seconds": 0.6, "predict_seconds": 0.1}  # of the total
SECONDS = Metric("seconds", "lower", timed=True)
METRICS = {
    "total_seconds": SECONDS,
    **dict.fromkeys(SHARES, SECONDS),
    "samples_per_second": Metric("samples/s", "higher", timed=True),
    **results.JOB.metrics,
}


def summary(samples: Mapping[str, float]) -> Summary:
    values = list(samples.values())
    return Summary(dict(samples), statistics.fmean(values), statistics.stdev(values) if len(values) > 1 else None)


def metrics(*seconds: float | None) -> dict[str, Summary]:
    """Of a setting whose repeats took these seconds in all; None: the repeat gave none."""
    totals = {str(repeat): each for repeat, each in enumerate(seconds, start=1) if each is not None}
    if not totals:
        return {}
    found = {"total_seconds": totals}
    found |= {name: {key: part * each for key, each in totals.items()} for name, part in SHARES.items()}
    found["samples_per_second"] = {key: 1280 / each for key, each in totals.items()}
    found["accuracy"] = dict.fromkeys(totals, 0.927)
    return {name: summary(samples) for name, samples in found.items()}


def ratio(here: Summary, baseline: Summary, verdict: str, **changes: Any) -> Ratio:
    """The quotients of common repeats; an interval of two standard errors, from three of them on."""
    pairs = {
        repeat: here.samples[repeat] / baseline.samples[repeat] for repeat in here.samples if repeat in baseline.samples
    }
    logs = [math.log(each) for each in pairs.values()]
    middle = statistics.fmean(logs)
    wide = 2 * statistics.stdev(logs) / math.sqrt(len(logs)) + 0.004 if len(logs) >= 3 else None
    plain = Ratio(
        pairs=pairs,
        mean=math.exp(middle),
        low=None if wide is None else math.exp(middle - wide),
        high=None if wide is None else math.exp(middle + wide),
        p_value=None if wide is None else 0.0004,
        verdict=verdict,
        reason=None if verdict in ("faster", "slower", "equivalent") else "2 pairs of repeats are too few, 3 the least",
        likely_repeats=None,
        more_repeats=None,
    )
    return dataclasses.replace(plain, **changes)


def setting(
    name: str, *seconds: float | None, baseline: SettingResult | None = None, verdict: str = "baseline", **changes: Any
) -> SettingResult:
    """A setting whose repeats took these seconds, and its ratios to the baseline."""
    own = metrics(*seconds)
    ratios = {}
    if baseline is not None:
        for metric in (key for key, each in METRICS.items() if each.timed):
            if metric in own and metric in baseline.metrics:
                ratios[metric] = ratio(own[metric], baseline.metrics[metric], verdict)
    whole = bool(own)
    plain = SettingResult(
        setting=name,
        status="ok" if None not in seconds else "partial" if whole else "failed",
        reasons={str(repeat): "failed: out of memory" for repeat, each in enumerate(seconds, 1) if each is None},
        devices=("cpu",) if whole else (),
        facts={"number_format": ("bf16" if "mixed" in name else "fp32",)} if whole else {},
        metrics=own,
        ratios=ratios,
        verdict=verdict,
        verdict_by="total_seconds",
        words="the baseline" if verdict == "baseline" else f"{verdict} than the baseline",
        predictions=PairedPredictions(288, 3, 5, 0.73, "no difference shown") if ratios else None,
        bottleneck=BOTTLENECK if whole else None,
        curve=_curve(own["total_seconds"].mean) if whole else (),
        differences=(),
        explanation=("The training is input-bound: 58% of a step waits for the loader.",) if whole else (),
        warnings=(),
        not_given=(),
    )
    return dataclasses.replace(plain, **changes)


def _curve(seconds: float) -> tuple[CurvePoint, ...]:
    """Of a setting that learns a bit, differently for each time that it takes."""
    losses = [0.7 - seconds / 5000, 0.41, 0.3 + seconds / 2000]
    return tuple(
        CurvePoint(
            number,
            "head" if number == 1 else "body",
            {"train_loss": loss, "valid_loss": 0.9 * loss, "accuracy": 1 - loss / 4},
        )
        for number, loss in enumerate(losses, start=1)
    )


BOTTLENECK = Bottleneck(
    {
        "head": SpanSteps("input-bound", Split(7.4, 0.3, 2.1, 0.3), 40, 130.9),
        "body": SpanSteps("compute-bound", Split(3.0, 0.6, 21.0, 0.5), 80, 102.3),
    },
    618.2,
    121.5,
)


# Of a card, with all that tells of launching.
LAUNCHING = Bottleneck(
    {
        "head": SpanSteps("launch-bound", Split(1.4, 0.3, 8.1, 0.3, 7.7), 40, 130.9),
        "body": SpanSteps("compute-bound", Split(3.0, 0.6, 21.0, 0.5, 2.2), 80, 102.3),
    },
    618.2,
    121.5,
    Launching(True, 0.87, 0.934, 0.77, OtherBatch("host/fp32-bs64", "batch_size", 16, 64, 0.131, 0.512, alone=True)),
)


def comparison(*settings: SettingResult, hardware: Hardware = results.HARDWARE, **changes: Any) -> Comparison:
    plain = Comparison(
        baseline=BASELINE,
        job=results.JOB.name,
        total=results.JOB.total,
        metrics=METRICS,
        data_sha256=results.DATA_SHA256,
        margin=0.02,
        confidence=0.95,
        machine=results.machine(hardware=hardware),
        warnings=(),
        settings=settings,
    )
    return dataclasses.replace(plain, **changes)


def pair(verdict: str = "slower", factor: float = 1.1, repeats: int = 3) -> Comparison:
    """The baseline and a setting that took `factor` times as long."""
    times = [12.0 + 0.1 * math.sin(7 * repeat) for repeat in range(repeats)]
    base = setting(BASELINE, *times)
    other = [factor * each + 0.02 * math.cos(5 * repeat) for repeat, each in enumerate(times)]
    rival = setting("cuda-10.0/fp32-bs16", *other, baseline=base, verdict=verdict, bottleneck=LAUNCHING)
    return comparison(base, rival)


def with_failures() -> Comparison:
    """A setting that lost a repeat, one that cannot run, one that failed, and doubts."""
    base = setting(BASELINE, 12.0, 12.2, 12.1)
    short = "failed: the loader's processes ran out of shared memory: /dev/shm has 64 MiB: raise container.shm_size"
    missing = "missing: metrics/cuda-9.2/fp32-bs16/train-{}.json was not written"
    without = "cannot say: no repeat ran whole"
    return comparison(
        base,
        setting("host/mixed-bs16", 13.0, None, 13.2, baseline=base, verdict="cannot say",
                warnings=("repeat 3 is hot",)),
        setting("cuda-9.2/mixed-bs16", None, None, None, baseline=base, verdict="cannot say", words=without,
                status="unsupported", reasons=dict.fromkeys("123", "unsupported: no mixed precision on a CPU")),
        setting("cuda-9.2/fp32-bs16", None, None, None, baseline=base, verdict="cannot say", words=without,
                reasons={"1": short, "2": missing.format(2), "3": missing.format(3)}),
        warnings=("the CPU was 34% busy with other work",),
    )  # fmt: skip


def twelve() -> Comparison:
    """Twelve settings of ten minutes and more, with every verdict among them."""
    names = [f"{image}/{precision}-bs{size}" for image in ("host", "cuda-9.2", "cuda-10.0")
             for precision in ("fp32", "mixed") for size in (16, 64)]  # fmt: skip
    base = setting(BASELINE, 671.0, 677.2, 680.1)
    found = {1.13: "slower", 0.71: "faster", 1.004: "equivalent", 1.03: "inconclusive"}
    rivals = [
        setting(name, *(factor * each + 3 * math.cos(place + each) for each in (671.0, 677.2, 680.1)), baseline=base,
                verdict=found[factor])
        for place, (name, factor) in enumerate(zip(names[1:], [*found] * 3, strict=False))
    ]  # fmt: skip
    return comparison(base, *rivals)


def long_names() -> Comparison:
    base = setting(BASELINE, 12.0, 12.2, 12.1)
    names = (
        "registry-mirror.example-research-institute-training-2026.11-cuda-13.0-experimental/fp32-bs16",
        "another-long-name-with_underscores.and.dots/mixed-bs256",
        "and" + "x" * 70 + "/fp32-bs16",
    )
    return comparison(base, *(setting(name, 13.0, 13.2, 13.1, baseline=base, verdict="slower") for name in names))


def measured() -> Comparison:
    """What the compare stage makes of results with step times: one image slower, one that lost a repeat."""
    found = faceoffs.with_steps(
        faceoffs.face_off(
            host=faceoffs.noisy(10, 4),
            slow=faceoffs.noisy(11.5, 4, seed=1),
            lost=[*faceoffs.noisy(10, 3, seed=2), "failed"],
        )
    )
    profiles = {"host": results.profile("host"), "slow": results.older("slow"), "lost": results.older("lost")}
    settings = faceoffs.compared(found, profiles=profiles).values()
    return comparison(*settings, metrics=declared(results.JOB, found))


def silent() -> Comparison:
    """Of a job that says nothing: its clock is all there is."""
    found = faceoffs.face_off(job=results.SILENT_JOB, host=faceoffs.noisy(10, 4), slow=faceoffs.noisy(11.5, 4, seed=1))
    settings = faceoffs.compared(found, job=results.SILENT_JOB).values()
    told = {"job": "silent", "total": results.SILENT_JOB.total, "metrics": declared(results.SILENT_JOB, found)}
    return comparison(*settings, **told)


SAMPLES = {
    "measured": measured,
    "a silent job": silent,
    "two settings": pair,
    "a single repeat": lambda: pair("cannot say", 0.93, 1),
    "failures": with_failures,
    "twelve settings": twelve,
    "long names": long_names,
    "nothing ran": lambda: comparison(setting(BASELINE, None), setting("b/fp32-bs16", None, verdict="cannot say")),
}
