"""Every setting of a run against the baseline: metrics, verdicts, and why. Pure: no files, no clocks."""

from collections.abc import Mapping, Sequence

from stages.harness.comparison import (
    bottlenecks,
    by_steps,
    confounders,
    energies,
    explanation,
    scaling,
    sentences,
    under_load,
)
from stages.harness.params.schema import CompareParams
from stages.harness.results.metrics import (
    BEYOND,
    TOTAL,
    UNDISTURBED,
    blocks,
    compared_samples,
    confirmable,
    curve,
    declared,
    moments,
    steps,
    summaries,
    timed,
)
from stages.harness.results.read import CellResult
from stages.harness.statistics import predictions, stability, verdicts
from stages.harness.statistics.estimates import Pair
from stages.records import Cell, Job, PairedPredictions, Profile, Ratio, SettingResult

Profiles = Mapping[str, Profile]  # by image, those that there are


def compare(
    results: Sequence[CellResult], rules: CompareParams, profiles: Profiles, job: Job
) -> tuple[SettingResult, ...]:
    """Compare every setting of `results`, in their order, with the baseline."""
    groups: dict[str, list[CellResult]] = {}
    for result in results:
        groups.setdefault(result.cell.setting, []).append(result)
    reference = groups[rules.baseline]
    rivals = {name: group for name, group in groups.items() if name != rules.baseline}
    ratios = _ratios(results, rivals, reference, rules, profiles, job)
    predicted = predictions.compare({name: (group, reference) for name, group in rivals.items()})
    apart = _apart(rivals, reference, blocks(results))
    return tuple(
        _setting(group, results, ratios[name], predicted.get(name), profiles, rules, job, apart.get(name, ()))
        for name, group in groups.items()
    )


def _ratios(
    results: Sequence[CellResult],
    rivals: Mapping[str, Sequence[CellResult]],
    reference: Sequence[CellResult],
    rules: CompareParams,
    profiles: Profiles,
    job: Job,
) -> dict[str, dict[str, Ratio]]:
    """Judge by every timed metric each setting but the baseline, which has none."""
    found: dict[str, dict[str, Ratio]] = {name: {} for name in (rules.baseline, *rivals)}
    confounded = {}
    for name, group in rivals.items():
        reason = confounders.confounder(group, reference, _profile(group, profiles), _profile(reference, profiles))
        if reason:
            confounded[name] = reason
    repeats = [*dict.fromkeys(str(result.cell.repeat) for result in results)]
    earlier = [repeats[:look] for look in rules.looks if look < len(repeats)]
    of_blocks = blocks(results)
    paired: dict[str, dict[str, dict[str, Pair]]] = {}
    for metric, its in timed(declared(job, results)).items():
        when = moments(results, metric)
        paired[metric] = {name: pairs(group, reference, metric, job, when, of_blocks) for name, group in rivals.items()}
        for name, ratio in verdicts.ratios(paired[metric], its.better, rules.margin, earlier, confounded).items():
            found[name][metric] = ratio
    overhangs = {
        name: by_steps.overhang(paired[TOTAL][name], each) for name, each in paired.get(UNDISTURBED, {}).items()
    }
    tails = verdicts.ratios(overhangs, "lower", rules.margin, earlier, confounded)
    for name, group in rivals.items():
        settled = by_steps.with_tail(found[name], tails.get(name))
        confirmed_by_steps = confirmable(group, job) & confirmable(reference, job)
        loaded = under_load.weighed(settled, under_load.load(group, reference, profiles), confirmed_by_steps)
        found[name] = energies.weighed(loaded, group, reference)
    return found


def pairs(
    group: Sequence[CellResult],
    reference: Sequence[CellResult],
    metric: str,
    job: Job,
    when: Mapping[Cell, float],
    of_blocks: Mapping[Cell, int],
) -> dict[str, Pair]:
    """Pair the metric of a setting with the baseline's, by repeat, where both have one above 0.

    What is of steps makes a pair where both tell those of the same spans.
    """
    here = compared_samples(group, metric, job)
    of_steps = _stepping_spans(group, job), _stepping_spans(reference, job)
    there = {cell.repeat: (cell, value) for cell, value in compared_samples(reference, metric, job).items()}
    found = {}
    for cell, value in here.items():
        other, reference_value = there.get(cell.repeat, (cell, 0.0))
        unlike = metric in (UNDISTURBED, BEYOND) and of_steps[0].get(cell.repeat) != of_steps[1].get(cell.repeat)
        if value > 0 and reference_value > 0 and not unlike:
            block = of_blocks[cell] if of_blocks[cell] == of_blocks[other] else None
            found[str(cell.repeat)] = Pair(value, reference_value, when[cell], when[other], block)
    return found


def _stepping_spans(group: Sequence[CellResult], job: Job) -> dict[int, frozenset[str]]:
    """Return by repeat the spans whose steps it tells."""
    return {each.cell.repeat: frozenset(span.span for span in steps(each, job.total)) for each in group}


def _apart(
    rivals: Mapping[str, Sequence[CellResult]], reference: Sequence[CellResult], of_blocks: Mapping[Cell, int]
) -> dict[str, tuple[str, ...]]:
    """Name the repeats of each setting that make no pair."""
    there = {each.cell.repeat: of_blocks[each.cell] for each in reference if each.cell in of_blocks}
    found: dict[str, tuple[str, ...]] = {}
    for name, group in rivals.items():
        cells = [each.cell for each in group if each.cell in of_blocks and each.cell.repeat in there]
        apart = [str(cell.repeat) for cell in cells if of_blocks[cell] != there[cell.repeat]]
        if apart:
            which = f"{'repeat' if len(apart) == 1 else 'repeats'} {', '.join(apart)}"
            found[name] = (f"{which}: not of the same block of repeats as the baseline's, so not compared with it",)
    return found


def _setting(
    group: Sequence[CellResult],
    run: Sequence[CellResult],
    ratios: Mapping[str, Ratio],
    predicted: PairedPredictions | None,
    profiles: Profiles,
    rules: CompareParams,
    job: Job,
    apart: tuple[str, ...],
) -> SettingResult:
    setting, total = group[0].cell.setting, ratios.get(TOTAL)
    reference = [each for each in run if each.cell.setting == rules.baseline]
    decides = by_steps.decisive(ratios)
    status = setting_status([result.status for result in group])
    is_baseline = setting == rules.baseline
    differences = explanation.environment_differences(group, reference, profiles)
    by_steps_alone = ratios[decides] if total and decides != TOTAL else None
    return SettingResult(
        setting=setting,
        status=status,
        reasons={str(result.cell.repeat): f"{result.status}: {result.reason}" for result in group if result.reason},
        devices=confounders.devices(group, _profile(group, profiles)),
        facts=explanation.facts(group),
        metrics=summaries(group, job, declared(job, group)),
        ratios=dict(ratios),
        verdict="baseline" if is_baseline else ratios[decides].verdict if total else "cannot say",
        verdict_by=decides,
        words="the baseline" if is_baseline else sentences.words(ratios, status, predicted, rules.margin),
        predictions=predicted,
        bottleneck=bottlenecks.bottleneck(group, profiles, run),
        curve=curve(group),
        differences=tuple(f"{each.what} {each.a}, not {each.b}" for each in differences),
        explanation=(
            *scaling.sentences(group, reference, ratios),
            *explanation.explain(group, reference, total, profiles, job.total, by_steps_alone, run),
        ),
        warnings=(*stability.of_setting(group, job), *sentences.caveats(group), *apart),
        not_given=sentences.not_given(group, job),
    )


def _profile(group: Sequence[CellResult], profiles: Profiles) -> Profile | None:
    return profiles.get(group[0].cell.image)


def setting_status(statuses: Sequence[str]) -> str:
    """Return one status for the repeats of a setting: 'partial' where some ran whole, else the gravest."""
    if "ok" in statuses:
        return "ok" if set(statuses) == {"ok"} else "partial"
    return next(each for each in ("failed", "refused", "unsupported", "trained", "missing") if each in statuses)
