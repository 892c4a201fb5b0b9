"""What the profiles measured of the parts of a step: whether it differs as they do, and what the hardware lacks."""

import dataclasses
from collections.abc import Iterable, Mapping, Sequence

from stages.harness.results.read import Result
from stages.records import Measurement, Profile

CONVOLUTION, MATRIX_PRODUCT = "convolution, heaviest layer", "matrix product"
WORDS = {  # of measurements
    CONVOLUTION: "the network's heaviest convolution",
    MATRIX_PRODUCT: "a matrix product",
    "JPEG decode, all usable cores": "JPEG decoding on all usable cores",
    "read of photos, cold": "reading photos from the disk",
    "host to device, pinned": "copying to the GPU from pinned memory",
    "host to device, pageable": "copying to the GPU from pageable memory",
}
TENSOR_CORES_SINCE = (7, 0)  # compute capability
BF16_UNITS = {"avx512_bf16", "amx_bf16", "bf16"}  # instruction sets that multiply in it; without one it is emulated


@dataclasses.dataclass(frozen=True)
class Speedup:
    """Of a lower precision over fp32, as the profile measured it."""

    times: float
    words: str


def of_profiles(
    kinds: Iterable[str],
    takes_longer: bool,
    setting: Sequence[Result],
    baseline: Sequence[Result],
    profiles: Mapping[str, Profile],
) -> list[str]:
    """A sentence on the first of the measurements that differs as the part does, else on the first that was made of
    both sides; none where both have the same one.
    """
    said = []
    for kind in kinds:
        here, there = (_measured(kind, results, _number_format(results), profiles) for results in (setting, baseline))
        if here is None or there is None or here == there or not here.median or not there.median:
            continue
        formats = _number_format(setting), _number_format(baseline)
        of_what = "its rate" if setting[0].cell.image == baseline[0].cell.image else "the rate in the baseline's image"
        computes = kind in (CONVOLUTION, MATRIX_PRODUCT)
        rate = (
            f"In the profile {WORDS[kind]}{f' in {formats[0]}' if computes else ''} reaches "
            f"{here.median / there.median:.2f} times {of_what}{f' in {formats[1]}' if computes else ''}"
        )
        if abs(here.median - there.median) <= max(here.spread or 0.0, there.spread or 0.0):
            said.append(f"{rate}, within the spread of both: it does not show where the difference comes from.")
        elif (here.median < there.median) == takes_longer:
            return [f"{rate}, which fits."]
        else:
            said.append(f"{rate}, which does not explain it.")
    return said[:1]


def mixed_speedup(fp32: Sequence[Result], profiles: Mapping[str, Profile]) -> Speedup | None:
    """What mixed precision gains where it computes, as measured in the image of a setting in fp32."""
    profile = profiles.get(fp32[0].cell.image)
    if profile is None:
        return None
    lower = "bf16" if profile.facts.device == "cpu" else "fp16"
    for kind in (CONVOLUTION, MATRIX_PRODUCT):
        here, there = (_measured(kind, fp32, name, profiles) for name in (lower, "fp32"))
        if here is not None and there is not None and here.median and there.median:
            times = here.median / there.median
            return Speedup(times, f"{WORDS[kind]} in {lower} at {times:.2f} times its rate in fp32")
    return None


def no_unit_for_mixed(
    setting: Sequence[Result], baseline: Sequence[Result], profiles: Mapping[str, Profile]
) -> list[str]:
    """Why mixed precision, which is not faster here, can't well be: the hardware has no units for it."""
    here, there = setting[0].cell, baseline[0].cell
    profile = profiles.get(here.image)
    if (here.precision, there.precision) != ("mixed", "fp32") or profile is None:
        return []
    hardware = profile.facts.hardware
    likely = "the likely reason why mixed precision is not faster"
    if profile.facts.device == "cpu":
        if _number_format(setting) != "bf16" or BF16_UNITS & {*hardware.cpu.isa}:
            return []
        return [f"This CPU has no instructions for bf16 (avx512_bf16, amx_bf16), so torch emulates it: {likely}."]
    capability = hardware.gpus[0].compute_capability if hardware.gpus else None
    if capability is None or tuple(map(int, capability.split("."))) >= TENSOR_CORES_SINCE:
        return []
    return [f"This GPU, of compute capability {capability}, has no tensor cores, which came with 7.0: {likely}."]


def _measured(
    kind: str, results: Sequence[Result], number_format: str | None, profiles: Mapping[str, Profile]
) -> Measurement | None:
    """In the setting's image, of what computes in this format; None where it was not measured."""
    profile = profiles.get(results[0].cell.image)
    if profile is None or number_format is None:
        return None
    name = {
        CONVOLUTION: f"{kind}, batch size {results[0].cell.batch_size}, {number_format}",
        MATRIX_PRODUCT: f"{kind}, {number_format}",
    }.get(kind, kind)
    return next((each for each in profile.measurements if each.name == name and each.median), None)


def _number_format(results: Sequence[Result]) -> str | None:
    """That the setting's algorithm computes in."""
    algorithm = next((each.train.algorithm for each in results if each.train and each.train.algorithm), None)
    if algorithm is None:
        return None
    if "bfloat16" in algorithm:
        return "bf16"
    return "fp16" if "float16" in algorithm or algorithm.startswith("fp16") else "fp32"
