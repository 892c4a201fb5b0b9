"""Every setting of a run against the baseline: figures, verdicts, and why. Pure: no files, no clocks."""

from collections.abc import Mapping, Sequence

from stages.harness.comparison import comparable, explanation, sentences
from stages.harness.params.schema import CompareParams
from stages.harness.results import scorecard
from stages.harness.results.metrics import TIMED, TOTAL, moments, samples, sessions, summaries
from stages.harness.results.read import Result
from stages.harness.statistics import accuracy, steadiness, verdicts
from stages.harness.statistics.estimates import Pair
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
    ratios = _ratios(results, rivals, reference, rules, profiles)
    told = accuracy.compare({name: (group, reference) for name, group in rivals.items()})
    apart = _apart(rivals, reference, sessions(results))
    return tuple(
        _setting(group, reference, ratios[name], told.get(name), profiles, rules, apart.get(name, ()))
        for name, group in groups.items()
    )


def _ratios(
    results: Sequence[Result],
    rivals: Mapping[str, Sequence[Result]],
    reference: Sequence[Result],
    rules: CompareParams,
    profiles: Mapping[str, Profile],
) -> dict[str, dict[str, Ratio]]:
    """Setting: its ratio by figure; of the baseline, none."""
    found: dict[str, dict[str, Ratio]] = {name: {} for name in (rules.baseline, *rivals)}
    obstacles = {}
    for name, group in rivals.items():
        obstacle = comparable.obstacle(group, reference, _profile(group, profiles), _profile(reference, profiles))
        if obstacle:
            obstacles[name] = obstacle
    repeats = [*dict.fromkeys(str(result.cell.repeat) for result in results)]
    earlier = [repeats[:look] for look in rules.looks if look < len(repeats)]
    of_sessions = sessions(results)
    for figure in TIMED:
        when = moments(results, figure)
        paired = {name: pairs(group, reference, figure, when, of_sessions) for name, group in rivals.items()}
        for name, ratio in verdicts.ratios(paired, figure, rules.margin, earlier, obstacles).items():
            found[name][figure] = ratio
    return found


def pairs(
    group: Sequence[Result],
    reference: Sequence[Result],
    figure: str,
    when: Mapping[Cell, float],
    of_sessions: Mapping[Cell, int],
) -> dict[str, Pair]:
    """By repeat: the figure of a setting and of the baseline, where both have one above 0."""
    here = samples(group, figure)
    there = {cell.repeat: (cell, value) for cell, value in samples(reference, figure).items()}
    found = {}
    for cell, value in here.items():
        other, reference_value = there.get(cell.repeat, (cell, 0.0))
        if value > 0 and reference_value > 0:
            session = of_sessions[cell] if of_sessions[cell] == of_sessions[other] else None
            found[str(cell.repeat)] = Pair(value, reference_value, when[cell], when[other], session)
    return found


def _apart(
    rivals: Mapping[str, Sequence[Result]], reference: Sequence[Result], of_sessions: Mapping[Cell, int]
) -> dict[str, tuple[str, ...]]:
    """Setting: the repeats that make no pair, in words."""
    there = {each.cell.repeat: of_sessions[each.cell] for each in reference if each.cell in of_sessions}
    found: dict[str, tuple[str, ...]] = {}
    for name, group in rivals.items():
        cells = [each.cell for each in group if each.cell in of_sessions and each.cell.repeat in there]
        apart = [str(cell.repeat) for cell in cells if of_sessions[cell] != there[cell.repeat]]
        if apart:
            which = f"{'repeat' if len(apart) == 1 else 'repeats'} {', '.join(apart)}"
            found[name] = (f"{which}: of another session than the baseline's, so not compared with it",)
    return found


def _setting(
    group: Sequence[Result],
    reference: Sequence[Result],
    ratios: Mapping[str, Ratio],
    told: PairedAccuracy | None,
    profiles: Mapping[str, Profile],
    rules: CompareParams,
    apart: tuple[str, ...],
) -> SettingFigures:
    setting, total = group[0].cell.setting, ratios.get(TOTAL)
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
        ratios=dict(ratios),
        verdict="baseline" if is_baseline else total.verdict if total else "cannot say",
        words="the baseline" if is_baseline else sentences.words(total, status, told, rules.margin),
        accuracy=told,
        bottleneck=explanation.bottleneck(group),
        curve=scorecard.curve(group),
        differences=differences(group, reference, profiles),
        explanation=explanation.explain(group, reference, total, profiles),
        warnings=(*steadiness.of_setting(group), *apart),
    )


def _profile(group: Sequence[Result], profiles: Mapping[str, Profile]) -> Profile | None:
    return profiles.get(group[0].cell.image)


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
