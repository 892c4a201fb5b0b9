"""Pages of comparisons that tests make up, with cells, params and profiles that belong to them."""

import dataclasses

from stages.harness.params import schema
from stages.harness.params.schema import Params
from stages.harness.report import page
from stages.harness.results.read import CellResult
from stages.records import Cell, Comparison, Measurement, Metric, Profile, Ratio, SettingResult, Variant
from tests import comparisons, results

HOSTILE = """<img src=x onerror="document.title='owned'">'"&{{ 7 * 7 }}</script></title></style>$x$"""


def html(compared: Comparison) -> str:
    wanted = params_of(compared)
    profiles = {image: profile_of(image) for image in wanted.images}
    return page.html(compared, cells_of(compared), wanted, profiles, {"host": results.image("host")})


def cells_of(compared: Comparison) -> list[CellResult]:
    found = []
    for setting in compared.settings:
        for repeat in _repeats(compared):
            cell = Cell(*setting.setting.split("/"), repeat)
            if str(repeat) in setting.reasons:
                found.append(CellResult(cell, *setting.reasons[str(repeat)].split(": ", 1)))
            else:
                train = results.trained(Cell(cell.image, "fp32-bs16", repeat))
                found.append(CellResult(cell, "ok", None, train))
    return found


def params_of(compared: Comparison) -> Params:
    parts = [setting.setting.split("/") for setting in compared.settings]
    images, variants = (tuple(dict.fromkeys(each)) for each in zip(*parts, strict=True))
    claims = dict.fromkeys(("gpu", "gpus", "gpu_memory", "disk"))
    return Params(
        image=images[0],
        images=images,
        job=compared.job,
        variants={name: Variant({}, {}) for name in variants},
        repeats=_repeats(compared),
        seed=42,
        env={},
        container=schema.ContainerParams("auto", "1g", None, None, None, {}),
        limits=schema.LimitParams(None, None),
        on_failure="stop",
        profile=schema.ProfileParams(20),
        provider=schema.ProviderParams(
            "Example Cloud", "https://cloud.example/machines", cpus=4.0, memory="8 GB", **claims
        ),
        session=schema.SessionParams(None),
        compare=schema.CompareParams(compared.baseline, compared.margin, (), 1),
        section=None,
    )


def profile_of(image: str) -> Profile:
    """The first image has what the tests' machine has, another an older stack."""
    measured = (
        measurement("matrix product", "flop/s", 1.15e11, 3e9, detail="2048 wide"),
        measurement("open of shards", "files/s", 1234.0, 12.0),
    )
    plain = results.profile("host") if image == "host" else results.older(image)
    return dataclasses.replace(plain, measurements=measured)


def measurement(name: str, unit: str, median: float, spread: float, detail: str = "") -> Measurement:
    absent = {"peak": "not stated"}
    return Measurement(name, detail, unit, (median - spread, median + spread), median, spread, None, None, {}, absent)


def hostile() -> Comparison:
    """Every name and sentence that a job or a machine may say holds what a page might take for its own."""
    plain = comparisons.with_failures()
    metrics = {
        **plain.metrics,
        HOSTILE: Metric(HOSTILE, "higher", timed=True),
        f"_{HOSTILE}_seconds": Metric("seconds", "lower", timed=True),
    }
    settings = tuple(_hostile(each) for each in plain.settings)
    total = ("head", "body", f"_{HOSTILE}")
    return dataclasses.replace(plain, metrics=metrics, total=total, settings=settings, warnings=(HOSTILE,))


def _hostile(setting: SettingResult) -> SettingResult:
    said = dict.fromkeys(("differences", "explanation", "warnings", "not_given"), (HOSTILE,))
    reasons = dict.fromkeys(setting.reasons, f"failed: {HOSTILE}")
    if not setting.metrics:
        return dataclasses.replace(setting, reasons=reasons, words=HOSTILE, **said)
    total = setting.metrics["total_seconds"]
    names = (HOSTILE, f"_{HOSTILE}_seconds")
    ratio: dict[str, Ratio] = {}
    if setting.ratios:
        ratio = dict.fromkeys(names, dataclasses.replace(setting.ratios["total_seconds"], reason=HOSTILE))
    assert setting.bottleneck
    spans = {HOSTILE: setting.bottleneck.last, "body": setting.bottleneck.last}
    return dataclasses.replace(
        setting,
        reasons=reasons,
        words=HOSTILE,
        devices=(HOSTILE,),
        facts={HOSTILE: (HOSTILE + setting.setting,)},
        metrics={**setting.metrics, **dict.fromkeys(names, total)},
        ratios={**setting.ratios, **ratio},
        bottleneck=dataclasses.replace(setting.bottleneck, spans=spans),
        curve=tuple(
            dataclasses.replace(each, span=HOSTILE, values={HOSTILE: 1 / each.epoch}) for each in setting.curve
        ),
        **said,
    )


def _repeats(compared: Comparison) -> tuple[int, ...]:
    keys = {*(key for each in compared.settings for key in each.reasons)}
    keys |= {key for each in compared.settings for metric in each.metrics.values() for key in metric.samples}
    return tuple(sorted(map(int, keys)))
