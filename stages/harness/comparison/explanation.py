"""Why a setting takes as long as it does: what holds its steps back, and which parts make up a difference.

Pure arithmetic on what was measured: the spans and their splits, the ceilings, the profiles. A sentence names a part of
the time only where that part differs beyond its own noise, and a measurement only as agreeing or not; where the parts
do not add up to the difference, it says that. What the job does not tell is not explained.
"""

from collections.abc import Iterable, Mapping, Sequence

from stages.harness.comparison import as_run, bottlenecks, evidence, launching, profile_diff, under_load
from stages.harness.comparison.bottlenecks import bottleneck, speedup_of_steps
from stages.harness.comparison.confounders import DEVICE
from stages.harness.comparison.parts import COMPUTE, EXPLAINED_BY, LAUNCH, WAIT, Part, parts
from stages.harness.comparison.profile_diff import Difference
from stages.harness.results.read import CellResult
from stages.records import Bottleneck, Profile, Ratio, SpanSteps

NAMED_SHARE = 0.1  # of the difference, below which a part is not worth a word
SHIFTED_SHARE = 0.05  # of the baseline's time: parts that changed by more are told though the whole did not
# Parts that differ beyond noise must add up to the difference this closely, or it is not explained.
EXPLAINED_SHARES = (0.5, 1.5)
LEAST_GAIN = 1.01  # factor of the steps, below which a lower precision gains nothing
AGREES_WITHIN = 1.1  # factor between what a ceiling and the split say of the same part
CAUSES_SHOWN = 4  # of many; the page and faceoff.md list all that differs


def explain(
    setting: Sequence[CellResult],
    baseline: Sequence[CellResult],
    ratio: Ratio | None,
    profiles: Mapping[str, Profile],
    total: tuple[str, ...],
    by_steps: Ratio | None = None,
    run: Sequence[CellResult] = (),
) -> tuple[str, ...]:
    """Say why the setting takes as long as it does, and longer or shorter than the baseline; a sentence or two each.

    `ratio` is that of the total time, None for the baseline itself; `by_steps` that of its undisturbed steps where
    these alone settle the verdict; `profiles` are those that there are, by image; `total`: of records.Job; `run`: the
    cells of all settings.
    """
    decides = by_steps or ratio
    found, reference = (bottleneck(each, profiles, run) for each in (setting, baseline))
    alone = _alone(setting, baseline, found, reference, profiles, decides)
    if ratio is None or decides is None or decides.verdict == "cannot say":
        return tuple(alone)
    pieces = parts(setting, baseline, total)
    isolation = _isolation(setting, baseline, profiles)
    if decides.verdict in ("faster", "slower"):
        if by_steps is None:
            named, sentences = attribution(pieces, ratio.verdict)
        else:
            load = under_load.load(setting, baseline, profiles).both
            named, sentences = _beside_steps(pieces, by_steps, was_loaded=bool(load.loaded(load.disturbed)))
        said = [*sentences, *isolation, *_other_facts(setting, baseline)]
        for part in named:
            said += [each for each in _evidence(part, setting, baseline, profiles) if each not in said]
        if by_steps is not None and not {COMPUTE, LAUNCH} & {part.name for part in named}:
            said += _compute_seen_alone(by_steps.verdict == "slower", setting, baseline, profiles)
    else:
        said = [*_shifts(pieces, decides.verdict), *isolation]
    if decides.verdict in ("slower", "equivalent") and not (reference and reference.last.kind == launching.LAUNCH):
        said += evidence.no_unit_for_lower(setting, baseline, profiles)
    return (*said, *alone)


def _alone(
    setting: Sequence[CellResult],
    baseline: Sequence[CellResult],
    found: Bottleneck | None,
    reference: Bottleneck | None,
    profiles: Mapping[str, Profile],
    decides: Ratio | None,
) -> list[str]:
    """Say what holds the setting back, and what a lower precision gains of it, as measured here.

    Nothing of a lower precision where the steps do not wait for arithmetic: what they wait for is told instead.
    """
    if found is None:
        return []
    said = bottlenecks.sentences(found)
    if evidence.number_format(setting) == evidence.FP32:
        said += _gain_of_lower(found, "these steps", setting, profiles)
    elif _is_lower(setting, baseline) and reference is not None:
        steps = f"the baseline's steps in {list(reference.spans)[-1]!r}"
        said += _gain_of_lower(reference, steps, baseline, profiles)
        if reference.last.kind == launching.LAUNCH and decides is not None and decides.verdict != "faster":
            said.append(f"A lower precision speeds up arithmetic, which is not what {steps} wait for.")
    return said


def _is_lower(setting: Sequence[CellResult], baseline: Sequence[CellResult]) -> bool:
    """Whether the setting computes in a lower precision and the baseline, of the same image, in fp32."""
    formats = evidence.number_format(setting), evidence.number_format(baseline)
    same_image = setting[0].cell.image == baseline[0].cell.image
    return formats[0] in evidence.LOWER and formats[1] == evidence.FP32 and same_image


def _gain_of_lower(
    fp32: Bottleneck, steps: str, results: Sequence[CellResult], profiles: Mapping[str, Profile]
) -> Iterable[str]:
    """Say what a lower precision gains, by the profile; nothing where that did not measure it."""
    measured = evidence.speedup_of_lower(results, profiles)
    if measured is None or not launching.waits_for_arithmetic(fp32):
        return
    gain = speedup_of_steps(fp32, measured.times)
    if gain <= LEAST_GAIN:
        yield f"A lower precision has nothing to gain here: the profile measured {measured.words}."
    else:
        subject = "A" if launching.is_sure(fp32) else "If it is the device's work, a"
        yield (
            f"{subject} lower precision could make {steps} {gain:.2f} times as fast: the profile measured "
            f"{measured.words}, and what is not compute stays as it is."
        )


# -------------------------------------------------------------------------------------------------- the environments


def facts(results: Sequence[CellResult]) -> dict[str, tuple[str, ...]]:
    """Gather what the job said of itself in any repeat, in training and evaluation, each value once."""
    found: dict[str, dict[str, None]] = {}
    for name, value in (pair for each in results for stage in each.stages for pair in stage.facts.items()):
        found.setdefault(name, {})[value] = None
    return {name: tuple(values) for name, values in found.items()}


def environment_differences(
    setting: Sequence[CellResult], baseline: Sequence[CellResult], profiles: Mapping[str, Profile]
) -> tuple[Difference, ...]:
    """List what of the environments is not the same as the baseline's: by the profiles, where both are there.

    The variables of a variant belong to them. And, of one and the same variant, what its job says of itself: that it
    differs is the environment's doing.
    """
    here, there = (as_run.facts(each, profiles) for each in (setting, baseline))
    if here is not None and there is not None:
        found = profile_diff.differences(here, there)
    else:
        found = tuple(profile_diff.variable_differences(_variables(setting), _variables(baseline)))
    if setting[0].cell.variant != baseline[0].cell.variant:
        return found
    known = {each.what.lower() for each in found}
    said = (
        Difference("software", name, here, there, name)
        for name, here, there in _unlike_facts(setting, baseline)
        if name.lower() not in known
    )
    return (*said, *found)


def _unlike_facts(setting: Sequence[CellResult], baseline: Sequence[CellResult]) -> Iterable[tuple[str, str, str]]:
    """Facts that both say and not alike: name, value, the baseline's value."""
    here, there = facts(setting), facts(baseline)
    for name in here:
        if name != DEVICE and name in there and {*here[name]} != {*there[name]}:
            yield name, ", ".join(here[name]), ", ".join(there[name])


def _other_facts(setting: Sequence[CellResult], baseline: Sequence[CellResult]) -> list[str]:
    unlike = "; ".join(f"{name} is {here}, not {there}" for name, here, there in _unlike_facts(setting, baseline))
    return [f"By what the job says of itself, {unlike}."] if unlike else []


def _isolation(
    setting: Sequence[CellResult], baseline: Sequence[CellResult], profiles: Mapping[str, Profile]
) -> list[str]:
    """Whether the environments differ in one thing alone; nothing of two settings of one image, unless by variables."""
    here, there = setting[0].cell, baseline[0].cell
    found = environment_differences(setting, baseline, profiles)
    if here.image == there.image:
        if _variables(setting) == _variables(baseline):
            return []
    elif here.image not in profiles or there.image not in profiles:
        return []
    names = [*_unlike_parameters(setting, baseline), *profile_diff.causes(found)]
    proviso = ", as far as is known" if any(profile_diff.UNKNOWN in (each.a, each.b) for each in found) else ""
    if not names:
        return [f"The two environments do not differ in anything that decides a timing{proviso}."]
    if len(names) == 1:
        return [f"The two differ in {names[0]} alone{proviso}: the ratio shows what that does."]
    more = f" and {len(names) - CAUSES_SHOWN} more" if len(names) > CAUSES_SHOWN else ""
    shown = ", ".join(names[:CAUSES_SHOWN])
    return [f"The two differ in several things: {shown}{more}. Which of them the ratio shows cannot be told."]


def _unlike_parameters(setting: Sequence[CellResult], baseline: Sequence[CellResult]) -> list[str]:
    """Name the parameters that the two variants do not have alike."""
    here, there = (as_run.variant(each) for each in (setting, baseline))
    if here is None or there is None:
        return []
    ours, theirs = ({**each.parameters, "gpus": each.gpus} for each in (here, there))
    return [name for name in dict.fromkeys((*ours, *theirs)) if ours.get(name) != theirs.get(name)]


def _variables(results: Sequence[CellResult]) -> dict[str, str]:
    variant = as_run.variant(results)
    return as_run.shareable(variant.env) if variant else {}


# ---------------------------------------------------------------------------------------------------- a difference


def attribution(pieces: Sequence[Part], verdict: str) -> tuple[list[Part], list[str]]:
    """Pick the parts that being faster or slower is put down to, and say it; none where they do not explain it."""
    if not pieces:
        return [], []
    difference = sum(part.difference for part in pieces)
    slower = verdict == "slower"
    amount = f"{abs(difference):.2f} s a repeat"
    if difference == 0 or (difference > 0) != slower:
        return [], [
            f"The parts do not explain it: as measured it takes {amount} {'more' if difference > 0 else 'less'}, and "
            f"is {verdict} only once drift is taken out."
        ]
    shown = [part for part in pieces if part.shown and abs(part.difference) >= NAMED_SHARE * abs(difference)]
    explained = sum(part.difference for part in shown) / difference
    if not EXPLAINED_SHARES[0] <= explained <= EXPLAINED_SHARES[1]:
        return [], [
            f"The parts do not explain it: of the {amount} that it takes {'more' if slower else 'less'}, those that "
            f"differ beyond noise make up {explained:.0%}."
        ]
    shown.sort(key=lambda part: part.difference / difference, reverse=True)
    words = "; ".join(f"{part.words}, {_share(part.difference / difference)}" for part in shown)
    rest = 1 - explained
    remainder = f"; {rest:.0%} is spread over parts within noise" if rest > NAMED_SHARE else ""
    return shown, [f"It takes {amount} {'more' if slower else 'less'}: {words}{remainder}."]


def _share(of_difference: float) -> str:
    return f"{of_difference:.0%} of it" if of_difference > 0 else f"which takes {-of_difference:.0%} of it back"


def _beside_steps(pieces: Sequence[Part], steps: Ratio, *, was_loaded: bool) -> tuple[list[Part], list[str]]:
    """Pick the parts that go the way of the undisturbed steps, where the total itself shows nothing sure."""
    if not pieces:
        return [], []
    shown = [part for part in pieces if part.shown and (part.difference > 0) == (steps.verdict == "slower")]
    measured = "As measured, with what else the machine did" if was_loaded else "By the whole time"
    if not shown:
        return [], [f"{measured}, no part shows the difference for sure."]
    return shown, [f"{measured}, {'; '.join(part.words for part in shown)}."]


def _compute_seen_alone(
    takes_longer: bool, setting: Sequence[CellResult], baseline: Sequence[CellResult], profiles: Mapping[str, Profile]
) -> Iterable[str]:
    """Tell of compute what was measured apart from the training, where that goes the way of the undisturbed steps."""
    alone = _times_as_long_alone(bottleneck(setting), bottleneck(baseline))
    if alone is not None and (alone > AGREES_WITHIN if takes_longer else alone < 1 / AGREES_WITHIN):
        yield f"Compute alone, on one batch again and again, takes {alone:.2f} times as long, which fits."
        yield from evidence.of_profiles(EXPLAINED_BY[COMPUTE], takes_longer, setting, baseline, profiles)


def _shifts(pieces: Sequence[Part], verdict: str) -> list[str]:
    """Say what moved from one part to another though the whole did not change, or not beyond noise."""
    if not pieces:
        return []
    whole_seconds = sum(part.baseline_seconds for part in pieces)
    shown = [part for part in pieces if part.shown and abs(part.difference) >= SHIFTED_SHARE * whole_seconds]
    whole = "The whole takes as long" if verdict == "equivalent" else "The whole shows no difference that is sure"
    if not shown:
        return [f"{whole}: there is nothing to explain."]
    return [f"{whole}, but its parts differ: {'; '.join(part.words for part in shown)}."]


def _evidence(
    part: Part, setting: Sequence[CellResult], baseline: Sequence[CellResult], profiles: Mapping[str, Profile]
) -> Iterable[str]:
    """Tell what else was measured of a part that the difference lies in."""
    found, reference = bottleneck(setting), bottleneck(baseline)
    if found and reference and part.name in (COMPUTE, LAUNCH):
        yield from _compute_alone(found, reference)
    if found and reference and part.name == WAIT:
        yield from _loader_alone(part, found, reference)
    if part.name in EXPLAINED_BY:
        yield from evidence.of_profiles(EXPLAINED_BY[part.name], part.difference > 0, setting, baseline, profiles)


def _compute_alone(found: Bottleneck, reference: Bottleneck) -> Iterable[str]:
    """Whether compute as measured alone, after the last span and with its model, tells the same as that span."""
    alone = _times_as_long_alone(found, reference)
    if alone is None:
        return
    within = _compute_seconds_per_sample(found.last) / _compute_seconds_per_sample(reference.last)
    said = f"Compute alone, on one batch again and again, takes {alone:.2f} times as long"
    if max(alone, within) <= AGREES_WITHIN * min(alone, within) and (alone > 1) == (within > 1):
        yield f"{said}, which agrees."
        return
    yield (
        f"{said}, in {list(found.spans)[-1]!r} {within:.2f} times, which does not agree: what else goes on while it "
        "trains has a share in it."
    )


def _times_as_long_alone(found: Bottleneck | None, reference: Bottleneck | None) -> float | None:
    """Divide what compute alone takes by what it takes in the baseline; None where it was not measured of both."""
    if not (found and reference and found.compute_samples_per_second and reference.compute_samples_per_second):
        return None
    return reference.compute_samples_per_second / found.compute_samples_per_second


def _compute_seconds_per_sample(steps: SpanSteps) -> float:
    return steps.split.compute_seconds / steps.split.seconds / steps.samples_per_second


def _loader_alone(part: Part, found: Bottleneck, reference: Bottleneck) -> Iterable[str]:
    if found.loader_samples_per_second is None or reference.loader_samples_per_second is None:
        return
    alone = reference.loader_samples_per_second / found.loader_samples_per_second
    said = f"The loader alone takes {alone:.2f} times as long for a sample"
    changed = alone > AGREES_WITHIN or alone < 1 / AGREES_WITHIN
    if changed and (alone > 1) == (part.difference > 0):
        yield f"{said}, which agrees."
    else:
        yield f"{said}, so it is not the loader that changed but how much of it the other parts hide."
