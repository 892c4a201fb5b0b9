"""Why a setting takes as long as it does: where the time of its steps went, and which parts make up a difference.

Pure arithmetic on what was measured: the split of the steps, the ceilings, the profiles. A sentence names a part of the
time only where that part differs beyond its own noise, and a measurement only as agreeing or not; where the parts do
not add up to the difference, it says that.
"""

import dataclasses
import math
import statistics
from collections.abc import Callable, Iterable, Mapping, Sequence

from scipy import stats

from stages.harness.comparison import evidence, profile_diff
from stages.harness.comparison.profile_diff import Difference
from stages.harness.results.read import Result
from stages.harness.statistics.estimates import CONFIDENCE
from stages.records import (
    PHASES,
    Bottleneck,
    Cell,
    Epoch,
    EvaluateResult,
    PhaseSteps,
    Profile,
    Ratio,
    Split,
    TrainResult,
)

# Of what is gained without the loader's part and without compute: closer together than this, neither holds it back
# more than the other.
BALANCED_WITHIN = 1.1
NAMED_SHARE = 0.1  # of the difference, below which a part is not worth a word
SHIFTED_SHARE = 0.05  # of the baseline's time: parts that changed by more are told though the whole did not
# Parts that differ beyond noise must add up to the difference this closely, or it is not explained.
EXPLAINED_SHARES = (0.5, 1.5)
AGREES_WITHIN = 1.1  # factor between what a ceiling and the split say of the same part
CAUSES_SHOWN = 4  # of many; the page and faceoff.md list all that differs
MEMORY_FORMAT = "memory format"


# ------------------------------------------------------------------------------------------------- one setting alone


def bottleneck(results: Sequence[Result]) -> Bottleneck | None:
    """What holds a setting's training steps back, phase by phase; None where no repeat ran whole."""
    trained = [result.train for result in results if result.train is not None]
    ceilings = [train.ceilings for train in trained if train.ceilings is not None]
    if not ceilings:
        return None
    loader = statistics.median(each.loader_images_per_second for each in ceilings)
    epochs = [epoch for train in trained for epoch in train.epochs]
    return Bottleneck(
        phases={
            phase: _phase_steps([epoch for epoch in epochs if epoch.phase == phase], loader)
            for phase in PHASES
            if any(epoch.phase == phase for epoch in epochs)
        },
        loader_images_per_second=loader,
        compute_images_per_second=statistics.median(each.compute_images_per_second for each in ceilings),
    )


def _phase_steps(epochs: Sequence[Epoch], loader: float) -> PhaseSteps:
    """The rule: what would be gained without waiting for the loader, and what without compute? The larger gain says
    which it is, and where the two are within BALANCED_WITHIN of each other, it is neither. Without compute, steps
    still cannot come faster than the loader alone delivers, `loader` images/s.
    """
    split = _sum(epoch.split for epoch in epochs)
    reached = sum(epoch.train_images for epoch in epochs) / sum(epoch.train_seconds for epoch in epochs)
    without_waiting = _gain(split.wait_seconds, split)
    without_compute = _gain_of_faster_compute(split, loader / reached)
    if max(without_waiting, without_compute) <= BALANCED_WITHIN * min(without_waiting, without_compute):
        kind = "balanced"
    else:
        kind = "input-bound" if without_waiting > without_compute else "compute-bound"
    return PhaseSteps(kind, split, reached, max(without_waiting, without_compute))


def mixed_precision_limit(fp32: Bottleneck, compute_speedup: float = math.inf) -> float:
    """How many times faster mixed precision could at most make the last phase's steps of a setting in fp32.

    Amdahl's law: it speeds up compute and nothing else, so not even instant compute gains more than this.
    """
    last = fp32.last
    return _gain_of_faster_compute(last.split, fp32.loader_images_per_second / last.images_per_second, compute_speedup)


def _gain(saved_seconds: float, split: Split) -> float:
    """Speedup of the steps if that time of theirs were saved."""
    return split.seconds / max(split.seconds - saved_seconds, 1e-9)


def _gain_of_faster_compute(split: Split, loader_headroom: float, times: float = math.inf) -> float:
    """`loader_headroom`: the rate of the loader alone to the rate reached."""
    return min(_gain(split.compute_seconds * (1 - 1 / times), split), max(1.0, loader_headroom))


def _sum(splits: Iterable[Split]) -> Split:
    rows = [dataclasses.astuple(split) for split in splits]
    return Split(*(sum(column) for column in zip(*rows, strict=True)))


def _bottleneck_sentence(found: Bottleneck) -> str:
    """Of the last phase, whose network the ceilings were measured with."""
    (*earlier, _), last = found.phases, found.last
    split, phase = last.split, list(found.phases)[-1]
    gone = {
        "input-bound": "If the loader kept up",
        "compute-bound": "If compute took no time",
        "balanced": "If the larger of the two took no time",
    }[last.kind]
    unlike = "".join(
        f" (the {name} ones {found.phases[name].kind})" for name in earlier if found.phases[name].kind != last.kind
    )
    return (
        f"Its {phase} epochs are {last.kind}{unlike}: {split.wait_seconds / split.seconds:.0%} of a step waits for the "
        f"loader, {split.copy_seconds / split.seconds:.0%} copies to the device, "
        f"{split.compute_seconds / split.seconds:.0%} computes and {split.other_seconds / split.seconds:.0%} is the "
        f"rest. They reach {last.images_per_second:.1f} images/s; the loader alone "
        f"{found.loader_images_per_second:.1f}, compute alone {found.compute_images_per_second:.1f}. {gone}, they "
        f"would be {last.possible_speedup:.2f} times as fast."
    )


def _limit_sentence(fp32: Bottleneck, whose: str, results: Sequence[Result], profiles: Mapping[str, Profile]) -> str:
    said = (
        f"Mixed precision speeds up compute alone: it could make {whose} {list(fp32.phases)[-1]} epochs train "
        f"{mixed_precision_limit(fp32):.2f} times as fast at most"
    )
    if whose == "its" and fp32.last.kind == "compute-bound":
        said = "That is also the most that mixed precision, which speeds up compute alone, could gain"
    measured = evidence.mixed_speedup(results, profiles)
    if measured is None:
        return f"{said}."
    limit = mixed_precision_limit(fp32, measured.times)
    return f"{said}; with {measured.words}, as the profile measured, {limit:.2f} times."


# ---------------------------------------------------------------------------------------------------- a difference


@dataclasses.dataclass(frozen=True)
class Part:
    """One part of the total time, of a setting and of the baseline, in means over the repeats that both ran whole."""

    name: str
    seconds: float
    baseline_seconds: float
    noise_seconds: float | None  # half the interval of the difference; None with fewer than 3 pairs

    @property
    def difference(self) -> float:
        return self.seconds - self.baseline_seconds

    @property
    def shown(self) -> bool:
        """Whether it differs beyond noise."""
        return self.noise_seconds is not None and abs(self.difference) > self.noise_seconds

    @property
    def words(self) -> str:
        said = f"{self.name} takes {abs(self.difference):.2f} s {'more' if self.difference > 0 else 'less'}"
        if min(self.seconds, self.baseline_seconds) <= 0.01 * abs(self.difference):
            return said
        return f"{said} ({self.seconds / self.baseline_seconds:.2f} times as long)"


WAIT, COPY, COMPUTE, OTHER = "waiting for the loader", "copying to the device", "compute", "the rest of the steps"
# They make up the total: the epochs and one prediction with TTA.
PARTS: dict[str, Callable[[TrainResult, EvaluateResult], float]] = {
    WAIT: lambda train, _: _sum(epoch.split for epoch in train.epochs).wait_seconds,
    COPY: lambda train, _: _sum(epoch.split for epoch in train.epochs).copy_seconds,
    COMPUTE: lambda train, _: _sum(epoch.split for epoch in train.epochs).compute_seconds,
    OTHER: lambda train, _: _sum(epoch.split for epoch in train.epochs).other_seconds,
    "validation": lambda train, _: sum(epoch.epoch_seconds - epoch.split.seconds for epoch in train.epochs),
    "prediction with TTA": lambda _, evaluate: evaluate.predict_tta_seconds or 0.0,
}
PROFILED = {  # what of the profile can tell why a part differs, the most telling first
    WAIT: ("JPEG decode, all usable cores", "read of photos, cold"),
    COPY: ("host to device, pinned", "host to device, pageable"),
    COMPUTE: (evidence.CONVOLUTION, evidence.MATRIX_PRODUCT),
}


def parts(setting: Sequence[Result], baseline: Sequence[Result]) -> tuple[Part, ...]:
    """The total time in parts; empty where no repeat ran whole in both."""
    reference = {each.cell.repeat: (each.train, each.evaluate) for each in baseline if each.train and each.evaluate}
    pairs = [
        ((each.train, each.evaluate), reference[each.cell.repeat])
        for each in setting
        if each.train and each.evaluate and each.cell.repeat in reference
    ]
    if not pairs:
        return ()
    return tuple(_part(name, [(of(*one), of(*other)) for one, other in pairs]) for name, of in PARTS.items())


def _part(name: str, pairs: list[tuple[float, float]]) -> Part:
    differences = [one - other for one, other in pairs]
    noise = None
    if len(pairs) >= 3:
        noise = float(stats.sem(differences) * stats.t.ppf((1 + CONFIDENCE) / 2, len(pairs) - 1))
    ones, others = zip(*pairs, strict=True)
    return Part(name, statistics.fmean(ones), statistics.fmean(others), noise)


def explain(
    setting: Sequence[Result], baseline: Sequence[Result], ratio: Ratio | None, profiles: Mapping[str, Profile]
) -> tuple[str, ...]:
    """Why the setting takes as long as it does, and longer or shorter than the baseline; a sentence or two each.

    `ratio` is that of the total time, None for the baseline itself; `profiles` are those that there are, by image.
    """
    found, reference = bottleneck(setting), bottleneck(baseline)
    if found is None:
        return ()
    here, there = setting[0].cell, baseline[0].cell
    alone = [_bottleneck_sentence(found)]
    if here.precision == "fp32":
        alone.append(_limit_sentence(found, "its", setting, profiles))
    elif (there.precision, there.image) == ("fp32", here.image) and reference is not None:
        alone.append(_limit_sentence(reference, "the baseline's", baseline, profiles))
    if ratio is None or reference is None:
        return tuple(alone)
    if ratio.verdict == "cannot say":
        return (f"Why it differs cannot be told: {ratio.reason}.", *alone)
    pieces = parts(setting, baseline)
    if ratio.verdict in ("faster", "slower"):
        named, sentence = _attribution(pieces, ratio)
        said = [sentence, *_isolation(setting, baseline, profiles)]
        for part in named:
            said += _evidence(part, setting, baseline, profiles)
    else:
        said = [_shifts(pieces, ratio.verdict), *_isolation(setting, baseline, profiles)]
    if ratio.verdict in ("slower", "equivalent"):
        said += evidence.no_unit_for_mixed(setting, baseline, profiles)
    return (*said, *alone)


def environment_differences(
    setting: Sequence[Result], baseline: Sequence[Result], profiles: Mapping[str, Profile]
) -> tuple[Difference, ...]:
    """What of the environments is not the same as the baseline's: by the profiles, where both are there, and the format
    in which the network lay in memory, which is no property of an image and decides how fast it computes.
    """
    found: tuple[Difference, ...] = ()
    here, there = _memory_formats(setting), _memory_formats(baseline)
    if here and there and here != there:
        found = (Difference("software", MEMORY_FORMAT, here, there, MEMORY_FORMAT),)
    profile, reference = (profiles.get(each[0].cell.image) for each in (setting, baseline))
    if profile is not None and reference is not None:
        found += profile_diff.differences(profile.facts, reference.facts)
    return found


def _memory_formats(results: Sequence[Result]) -> str:
    return ", ".join(
        dict.fromkeys(each.train.memory_format for each in results if each.train and each.train.memory_format)
    )


def _isolation(setting: Sequence[Result], baseline: Sequence[Result], profiles: Mapping[str, Profile]) -> list[str]:
    """Whether the environments differ in one thing alone; nothing of two settings of one image."""
    here, there = setting[0].cell, baseline[0].cell
    if here.image == there.image or here.image not in profiles or there.image not in profiles:
        return []
    found = environment_differences(setting, baseline, profiles)
    names = [*(name for name in ("precision", "batch size") if _of_cell(here, name) != _of_cell(there, name))]
    names += profile_diff.causes(found)
    proviso = ", as far as is known" if any(profile_diff.UNKNOWN in (each.a, each.b) for each in found) else ""
    if not names:
        return [f"The two environments do not differ in anything that decides a timing{proviso}."]
    if len(names) == 1:
        return [f"The two differ in {names[0]} alone{proviso}: the ratio shows what that does."]
    more = f" and {len(names) - CAUSES_SHOWN} more" if len(names) > CAUSES_SHOWN else ""
    shown = ", ".join(names[:CAUSES_SHOWN])
    return [f"The two differ in several things: {shown}{more}. Which of them the ratio shows cannot be told."]


def _of_cell(cell: Cell, name: str) -> object:
    return {"precision": cell.precision, "batch size": cell.batch_size}[name]


def _attribution(pieces: Sequence[Part], ratio: Ratio) -> tuple[list[Part], str]:
    """The parts that a difference is put down to, and that in a sentence; none where they do not explain it."""
    difference = sum(part.difference for part in pieces)
    slower = ratio.verdict == "slower"
    amount = f"{abs(difference):.2f} s a repeat"
    if not pieces or (difference > 0) != slower:
        return [], (
            f"The figures do not explain it: as measured it takes {amount} {'more' if difference > 0 else 'less'}, and "
            f"is {ratio.verdict} only once drift is taken out."
        )
    shown = [part for part in pieces if part.shown and abs(part.difference) >= NAMED_SHARE * abs(difference)]
    explained = sum(part.difference for part in shown) / difference
    if not EXPLAINED_SHARES[0] <= explained <= EXPLAINED_SHARES[1]:
        return [], (
            f"The figures do not explain it: of the {amount} that it takes {'more' if slower else 'less'}, the parts "
            f"that differ beyond noise make up {explained:.0%}."
        )
    shown.sort(key=lambda part: part.difference / difference, reverse=True)
    words = _listed(f"{part.words}, {_share(part.difference / difference)}" for part in shown)
    rest = 1 - explained
    remainder = f"; {rest:.0%} is spread over parts within noise" if rest > NAMED_SHARE else ""
    return shown, f"It takes {amount} {'more' if slower else 'less'}: {words}{remainder}."


def _share(of_difference: float) -> str:
    return f"{of_difference:.0%} of it" if of_difference > 0 else f"which takes {-of_difference:.0%} of it back"


def _shifts(pieces: Sequence[Part], verdict: str) -> str:
    """What moved from one part to another though the whole did not change, or not beyond noise."""
    total = sum(part.baseline_seconds for part in pieces)
    shown = [part for part in pieces if part.shown and abs(part.difference) >= SHIFTED_SHARE * total]
    whole = "The whole takes as long" if verdict == "equivalent" else "The whole shows no difference that is sure"
    if not shown:
        return f"{whole}: there is nothing to explain."
    return f"{whole}, but its parts differ: {_listed(part.words for part in shown)}."


def _evidence(
    part: Part, setting: Sequence[Result], baseline: Sequence[Result], profiles: Mapping[str, Profile]
) -> Iterable[str]:
    """What else was measured of a part that the difference lies in."""
    found, reference = bottleneck(setting), bottleneck(baseline)
    assert found is not None and reference is not None  # noqa: S101 - parts come from both
    if part.name == COMPUTE:
        here, there = _memory_formats(setting), _memory_formats(baseline)
        if here != there:
            yield (
                f"Its network lies {here} in memory, the baseline's {there}: that alone can make convolutions many "
                "times as fast or as slow."
            )
        yield _compute_alone(found, reference)
    if part.name == WAIT:
        yield _loader_alone(part, found, reference)
    yield from evidence.of_profiles(PROFILED.get(part.name, ()), part.difference > 0, setting, baseline, profiles)


def _compute_alone(found: Bottleneck, reference: Bottleneck) -> str:
    """Whether compute as measured alone, after the last phase and with its network, tells the same as that phase."""
    alone = reference.compute_images_per_second / found.compute_images_per_second
    within = _compute_seconds_per_image(found.last) / _compute_seconds_per_image(reference.last)
    said = f"Compute alone, on one batch again and again, takes {alone:.2f} times as long"
    if max(alone, within) <= AGREES_WITHIN * min(alone, within) and (alone > 1) == (within > 1):
        return f"{said}, which agrees."
    return (
        f"{said}, in the {list(found.phases)[-1]} epochs {within:.2f} times, which does not agree: what else goes on "
        "while it trains has a share in it."
    )


def _compute_seconds_per_image(steps: PhaseSteps) -> float:
    return steps.split.compute_seconds / steps.split.seconds / steps.images_per_second


def _loader_alone(part: Part, found: Bottleneck, reference: Bottleneck) -> str:
    alone = reference.loader_images_per_second / found.loader_images_per_second
    said = f"The loader alone takes {alone:.2f} times as long for an image"
    changed = alone > AGREES_WITHIN or alone < 1 / AGREES_WITHIN
    if changed and (alone > 1) == (part.difference > 0):
        return f"{said}, which agrees."
    return f"{said}, so it is not the loader that changed but how much of it the other parts hide."


def _listed(words: Iterable[str]) -> str:
    return "; ".join(words)
