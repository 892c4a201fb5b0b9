"""Every setting of a run against the baseline: figures, verdicts, and why. Pure: no files, no clocks."""

import dataclasses
from collections.abc import Mapping, Sequence

from stages.harness import accuracy, comparable, explanation, sentences, steadiness, verdicts
from stages.harness.cells import Result
from stages.harness.figures import TIMED, TOTAL, run_order, samples, summaries
from stages.harness.params import CompareParams
from stages.harness.verdicts import Pair
from stages.records import Cell, PairedAccuracy, Profile, Ratio, SettingFigures


def compare(
    results: Sequence[Result], rules: CompareParams, profiles: Mapping[str, Profile]
) -> tuple[SettingFigures, ...]:
    """Every setting of `results`, in their order, against the baseline. `profiles`: by image, those that there are."""
    groups: dict[str, list[Result]] = {}
    for result in results:
        groups.setdefault(result.cell.setting, []).append(result)
    reference = groups[rules.baseline]
    rivals = {name: group for name, group in groups.items() if name != rules.baseline}
    places = run_order(results)
    ratios: dict[str, dict[str, Ratio]] = {name: {} for name in groups}
    for figure in TIMED:
        paired = {name: pairs(group, reference, figure, places) for name, group in rivals.items()}
        for name, ratio in verdicts.ratios(paired, figure, rules.margin, rules.looks).items():
            ratios[name][figure] = ratio
    told = accuracy.compare(rivals, reference)
    return tuple(
        _setting(group, reference, ratios[name], told.get(name), profiles, rules) for name, group in groups.items()
    )


def pairs(
    group: Sequence[Result], reference: Sequence[Result], figure: str, places: Mapping[Cell, int]
) -> dict[str, Pair]:
    """By repeat: the figure of a setting and of the baseline, where both have one above 0."""
    here = samples(group, figure)
    there = {cell.repeat: (cell, value) for cell, value in samples(reference, figure).items()}
    found = {}
    for cell, value in here.items():
        other, reference_value = there.get(cell.repeat, (cell, 0.0))
        if value > 0 and reference_value > 0:
            found[str(cell.repeat)] = Pair(value, reference_value, places[cell], places[other])
    return found


def _setting(
    group: Sequence[Result],
    reference: Sequence[Result],
    measured: Mapping[str, Ratio],
    told: PairedAccuracy | None,
    profiles: Mapping[str, Profile],
    rules: CompareParams,
) -> SettingFigures:
    image, setting = group[0].cell.image, group[0].cell.setting
    profile, reference_profile = profiles.get(image), profiles.get(reference[0].cell.image)
    obstacle = comparable.obstacle(group, reference, profile, reference_profile)
    ratios = {figure: _unless(obstacle, ratio) for figure, ratio in measured.items()}
    total = ratios.get(TOTAL)
    status = setting_status([result.status for result in group])
    is_baseline = setting == rules.baseline
    trained = [result.train for result in group if result.train is not None]
    return SettingFigures(
        setting=setting,
        status=status,
        reasons={str(result.cell.repeat): f"{result.status}: {result.reason}" for result in group if result.reason},
        devices=comparable.devices(group),
        algorithms=tuple(dict.fromkeys(train.algorithm for train in trained if train.algorithm)),
        figures=summaries(group),
        ratios=ratios,
        verdict="baseline" if is_baseline else total.verdict if total else "cannot say",
        words="the baseline" if is_baseline else sentences.words(total, status, told, rules.margin),
        accuracy=told,
        bottleneck=explanation.bottleneck(group),
        differences=differences(group, reference, profiles),
        explanation=explanation.explain(group, reference, total, profiles),
        warnings=steadiness.of_setting(group),
    )


def _unless(obstacle: str | None, ratio: Ratio) -> Ratio:
    """The ratio as measured, and where something stands in the way of a verdict, none."""
    if obstacle is None:
        return ratio
    return dataclasses.replace(ratio, verdict="cannot say", reason=obstacle, more_repeats=None)


def differences(
    group: Sequence[Result], reference: Sequence[Result], profiles: Mapping[str, Profile]
) -> tuple[str, ...]:
    """What of the environments is not the same: 'torch 1.2.0, not 2.14.1'."""
    found = explanation.environment_differences(group, reference, profiles)
    return tuple(f"{each.what} {each.a}, not {each.b}" for each in found)


def setting_status(statuses: Sequence[str]) -> str:
    """One status for the repeats of a setting: 'partial' where some ran whole, else the gravest."""
    if "ok" in statuses:
        return "ok" if set(statuses) == {"ok"} else "partial"
    return next(status for status in ("failed", "refused", "unsupported", "missing") if status in statuses)
