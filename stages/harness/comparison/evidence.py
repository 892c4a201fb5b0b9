"""What the profiles measured of the parts of a step: whether it differs as they do, and what the hardware lacks."""

import dataclasses
from collections.abc import Mapping, Sequence

from stages.harness.results.read import CellResult
from stages.records import Measurement, Profile, Scalar

NUMBER_FORMAT = "number_format"  # the fact by which a job says in what it computes
FP32, LOWER = "fp32", ("bf16", "fp16")
TENSOR_CORES_SINCE = (7, 0)  # compute capability
BF16_UNITS = {"avx512_bf16", "amx_bf16", "bf16"}  # instruction sets that multiply in it; without one it is emulated


@dataclasses.dataclass(frozen=True)
class Speedup:
    """The speedup of a lower precision over fp32, as the profile measured it."""

    times: float
    words: str


def of_profiles(
    part: str,
    takes_longer: bool,
    setting: Sequence[CellResult],
    baseline: Sequence[CellResult],
    profiles: Mapping[str, Profile],
) -> list[str]:
    """Say what the measurements that explain `part`, of contract.EXPLAINS, tell of it.

    A sentence on the first of them that differs as the part does, else on the first that was made of both sides; none
    where both have the same one.
    """
    said = []
    there_too = _measured(part, baseline, profiles)
    for kind, here in _measured(part, setting, profiles).items():
        there = there_too.get(kind)
        if there is None or here == there or not here.median or not there.median:
            continue
        where = "" if setting[0].cell.image == baseline[0].cell.image else " in the baseline's image"
        what = f"the rate{where}" if here.name == there.name else f"the rate of {there.name!r}{where}"
        rate = f"In the profile {here.name!r} reaches {here.median / there.median:.2f} times {what}"
        if abs(here.median - there.median) <= max(here.spread or 0.0, there.spread or 0.0):
            said.append(f"{rate}, within the spread of both: it does not show where the difference comes from.")
        elif (here.median < there.median) == takes_longer:
            return [f"{rate}, which fits."]
        else:
            said.append(f"{rate}, which does not explain it.")
    return said[:1]


def speedup_of_lower(fp32: Sequence[CellResult], profiles: Mapping[str, Profile]) -> Speedup | None:
    """Tell what a lower precision gains where it computes, as measured in the image of a setting in fp32."""
    profile = profiles.get(fp32[0].cell.image)
    if profile is None:
        return None
    for kind, measured in _measured("compute", fp32, profiles).items():
        if NUMBER_FORMAT not in measured.applies:
            continue
        for lower in LOWER if profile.facts.device == "cpu" else reversed(LOWER):
            there = _matching("compute", {**_circumstances(fp32), NUMBER_FORMAT: lower}, profile).get(kind)
            if there is not None and there.median and measured.median:
                times = there.median / measured.median
                return Speedup(times, f"{kind} in {lower} at {times:.2f} times its rate in fp32")
    return None


def no_unit_for_lower(
    setting: Sequence[CellResult], baseline: Sequence[CellResult], profiles: Mapping[str, Profile]
) -> list[str]:
    """Say why a lower precision, which is not faster here, can't well be: the hardware has no units for it."""
    here, there = number_format(setting), number_format(baseline)
    profile = profiles.get(setting[0].cell.image)
    if here not in LOWER or there != FP32 or profile is None:
        return []
    hardware = profile.facts.hardware
    likely = f"the likely reason why {here} is not faster"
    if profile.facts.device == "cpu":
        if here != "bf16" or BF16_UNITS & {*hardware.cpu.isa}:
            return []
        return [f"This CPU has no instructions for bf16 (avx512_bf16, amx_bf16), so torch emulates it: {likely}."]
    cards = profile.facts.cards
    capability = cards[0].compute_capability if cards else None
    if capability is None or tuple(map(int, capability.split("."))) >= TENSOR_CORES_SINCE:
        return []
    return [f"This GPU, of compute capability {capability}, has no tensor cores, which came with 7.0: {likely}."]


def number_format(results: Sequence[CellResult]) -> str | None:
    """Return what the setting computes in, as far as its job says that."""
    return next(
        (each.train.facts[NUMBER_FORMAT] for each in results if each.train and NUMBER_FORMAT in each.train.facts), None
    )


def _measured(part: str, results: Sequence[CellResult], profiles: Mapping[str, Profile]) -> dict[str, Measurement]:
    profile = profiles.get(results[0].cell.image)
    return _matching(part, _circumstances(results), profile) if profile else {}


def _circumstances(results: Sequence[CellResult]) -> dict[str, Scalar]:
    """Return the setting's parameters and facts, by which measurements say what they apply to."""
    train = next((each.train for each in results if each.train), None)
    return {**train.facts, **train.belongs.variant.parameters} if train else {}


def _matching(part: str, circumstances: Mapping[str, Scalar], profile: Profile) -> dict[str, Measurement]:
    """Find the measurements of this part that apply, by kind, those that say most exactly to what they do first."""
    found = [
        each
        for each in profile.measurements
        if each.explains == part
        and each.median
        and all(str(circumstances.get(name)) == str(value) for name, value in each.applies.items())
    ]
    return {_kind(each): each for each in sorted(found, key=lambda each: -len(each.applies))}


def _kind(measurement: Measurement) -> str:
    """Return its name without what it applies to: 'matrix product' of 'matrix product, bf16'."""
    values = {str(value) for value in measurement.applies.values()}
    words = measurement.name.split(", ")
    return ", ".join(word for word in words if word.rsplit(" ", 1)[-1] not in values) or measurement.name
