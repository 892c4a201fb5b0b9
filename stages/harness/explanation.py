"""Why a setting takes as long as it does: where the time of its steps went, and which parts make up a difference.

Pure arithmetic on what was measured: the split of the steps, the ceilings, the profiles. A sentence names a part of the
time only where that part differs beyond its own noise, and a measurement only as agreeing or not; where the parts do
not add up to the difference, it says that.
"""

import dataclasses
import statistics
from collections.abc import Callable, Iterable, Mapping, Sequence

from scipy import stats

from stages.harness.cells import Result
from stages.harness.verdicts import CONFIDENCE
from stages.records import Bottleneck, EvaluateResult, Measurement, Profile, Ratio, Split, TrainResult

# Of what is gained without the loader's part and without compute: closer together than this, neither holds it back
# more than the other.
BALANCED_WITHIN = 1.1
NAMED_SHARE = 0.1  # of the difference, below which a part is not worth a word
SHIFTED_SHARE = 0.05  # of the baseline's time: parts that changed by more are told though the whole did not
# Parts that differ beyond noise must add up to the difference this closely, or it is not explained.
EXPLAINED_SHARES = (0.5, 1.5)
AGREES_WITHIN = 1.1  # factor between what a ceiling and the split say of the same part


# ------------------------------------------------------------------------------------------------- one setting alone


def bottleneck(results: Sequence[Result]) -> Bottleneck | None:
    """What holds a setting's training steps back; None where no repeat ran whole.

    The rule: what would be gained without waiting for the loader, and what without compute? The larger gain says which
    it is, and where the two are within BALANCED_WITHIN of each other, it is neither. Without compute, steps still
    cannot come faster than the loader alone delivers.
    """
    trained = [result.train for result in results if result.train is not None]
    ceilings = [train.ceilings for train in trained if train.ceilings is not None]
    if not ceilings:
        return None
    epochs = [epoch for train in trained for epoch in train.epochs]
    split = _sum(epoch.split for epoch in epochs)
    reached = sum(epoch.train_images for epoch in epochs) / sum(epoch.train_seconds for epoch in epochs)
    loader = statistics.median(each.loader_images_per_second for each in ceilings)
    without_waiting = _gain(split.wait_seconds, split)
    without_compute = _gain_without_compute(split, loader / reached)
    if max(without_waiting, without_compute) <= BALANCED_WITHIN * min(without_waiting, without_compute):
        kind = "balanced"
    else:
        kind = "input-bound" if without_waiting > without_compute else "compute-bound"
    return Bottleneck(
        kind=kind,
        split=split,
        loader_images_per_second=loader,
        compute_images_per_second=statistics.median(each.compute_images_per_second for each in ceilings),
        images_per_second=reached,
        possible_speedup=max(without_waiting, without_compute),
    )


def mixed_precision_limit(fp32: Bottleneck) -> float:
    """How many times faster mixed precision could at most make the training steps of a setting in fp32.

    Amdahl's law: it speeds up compute and nothing else, so not even instant compute gains more than this.
    """
    return _gain_without_compute(fp32.split, fp32.loader_images_per_second / fp32.images_per_second)


def _gain(part_seconds: float, split: Split) -> float:
    """Speedup of the steps if a part of them took no time."""
    return split.seconds / max(split.seconds - part_seconds, 1e-9)


def _gain_without_compute(split: Split, loader_headroom: float) -> float:
    """`loader_headroom`: the rate of the loader alone to the rate reached."""
    return max(1.0, min(_gain(split.compute_seconds, split), loader_headroom))


def _sum(splits: Iterable[Split]) -> Split:
    rows = [dataclasses.astuple(split) for split in splits]
    return Split(*(sum(column) for column in zip(*rows, strict=True)))


def _bottleneck_sentence(found: Bottleneck) -> str:
    split = found.split
    gone = {
        "input-bound": "If the loader kept up",
        "compute-bound": "If compute took no time",
        "balanced": "If the larger of the two took no time",
    }[found.kind]
    return (
        f"The training is {found.kind}: {split.wait_seconds / split.seconds:.0%} of a step waits for the loader, "
        f"{split.copy_seconds / split.seconds:.0%} copies to the device, {split.compute_seconds / split.seconds:.0%} "
        f"computes and {split.other_seconds / split.seconds:.0%} is the rest. It reaches "
        f"{found.images_per_second:.1f} images/s; the loader alone {found.loader_images_per_second:.1f}, compute alone "
        f"{found.compute_images_per_second:.1f}. {gone}, steps would be {found.possible_speedup:.2f} times as fast."
    )


def _limit_sentence(fp32: Bottleneck, whose: str) -> str:
    return (
        f"Mixed precision, which speeds up compute alone, could make {whose} training steps "
        f"{mixed_precision_limit(fp32):.2f} times as fast at most."
    )


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
    said = [_bottleneck_sentence(found)]
    if here.precision == "fp32":
        said.append(_limit_sentence(found, "its"))
    if ratio is None or reference is None:
        return tuple(said)
    pieces = parts(setting, baseline)
    if ratio.verdict not in ("faster", "slower"):
        return (*said, *_shifts(pieces, ratio.verdict))
    named, sentence = _attribution(pieces, ratio)
    said.append(sentence)
    said += [_against_ceiling(part, found, reference) for part in named if part.name in (WAIT, COMPUTE)]
    if COMPUTE in [part.name for part in named]:
        said += _against_profiles(setting, baseline, ratio.verdict, profiles)
    if (here.precision, there.precision) == ("mixed", "fp32") and here.image == there.image:
        said.append(_limit_sentence(reference, "the baseline's"))
    return tuple(said)


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
    words = _listed(f"{part.words}, {part.difference / difference:.0%} of it" for part in shown)
    rest = 1 - explained
    remainder = f"; {rest:.0%} is spread over parts within noise" if rest > NAMED_SHARE else ""
    return shown, f"It takes {amount} {'more' if slower else 'less'}: {words}{remainder}."


def _shifts(pieces: Sequence[Part], verdict: str) -> list[str]:
    """What moved from one part to another though the whole did not change, or not beyond noise."""
    total = sum(part.baseline_seconds for part in pieces)
    shown = [part for part in pieces if part.shown and abs(part.difference) >= SHIFTED_SHARE * total]
    whole = "The whole takes as long" if verdict == "equivalent" else "The whole shows no difference that is sure"
    if not shown:
        return [f"{whole}: there is nothing to explain."]
    return [f"{whole}, but its parts differ: {_listed(part.words for part in shown)}."]


def _against_ceiling(part: Part, found: Bottleneck, reference: Bottleneck) -> str:
    """Whether what was measured of that side alone, after the training, tells the same."""
    if part.name == COMPUTE:
        alone = reference.compute_images_per_second / found.compute_images_per_second
        within = part.seconds / part.baseline_seconds
        said = f"Compute alone, on one batch again and again, takes {alone:.2f} times as long"
        if max(alone, within) <= AGREES_WITHIN * min(alone, within) and (alone > 1) == (within > 1):
            return f"{said}, which agrees."
        return f"{said}, which does not agree: what else goes on while it trains has a share in it."
    alone = reference.loader_images_per_second / found.loader_images_per_second
    said = f"The loader alone takes {alone:.2f} times as long for an image"
    changed = alone > AGREES_WITHIN or alone < 1 / AGREES_WITHIN
    if changed and (alone > 1) == (part.difference > 0):
        return f"{said}, which agrees."
    return f"{said}, so it is not the loader that changed but how much of it the other parts hide."


def _against_profiles(
    setting: Sequence[Result], baseline: Sequence[Result], verdict: str, profiles: Mapping[str, Profile]
) -> list[str]:
    """Whether the profiles' convolutions and matrix products differ as compute does; nothing where they can't tell."""
    said = []
    for kind in (f"convolution, heaviest layer, batch size {setting[0].cell.batch_size}", "matrix product"):
        here, there = (_measured(kind, results, profiles) for results in (setting, baseline))
        if here is None or there is None or here == there or not here.median or not there.median:
            continue
        of_what = "the baseline's" if here.name == there.name else f"'{there.name}'"
        rate = f"The profile measured '{here.name}' at {here.median / there.median:.2f} times the rate of {of_what}"
        if abs(here.median - there.median) <= max(here.spread or 0.0, there.spread or 0.0):
            said.append(f"{rate}, within the spread of both: it does not show where that comes from.")
        elif (here.median < there.median) == (verdict == "slower"):
            said.append(f"{rate}, in line with that.")
        else:
            said.append(f"{rate}, which does not explain it.")
    return said


def _measured(kind: str, results: Sequence[Result], profiles: Mapping[str, Profile]) -> Measurement | None:
    """Of the setting's image, at the precision that its algorithm computes in; None where it was not measured."""
    profile = profiles.get(results[0].cell.image)
    algorithm = next((each.train.algorithm for each in results if each.train and each.train.algorithm), None)
    if profile is None or algorithm is None:
        return None
    name = f"{kind}, {_number_format(algorithm)}"
    return next((each for each in profile.measurements if each.name == name and each.median), None)


def _number_format(algorithm: str) -> str:
    if "bfloat16" in algorithm:
        return "bf16"
    return "fp16" if "float16" in algorithm or algorithm.startswith("fp16") else "fp32"


def _listed(words: Iterable[str]) -> str:
    return "; ".join(words)
