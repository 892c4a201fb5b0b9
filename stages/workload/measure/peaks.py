"""What the hardware reaches in theory, where what is known of it is enough to say so.

Runs inside images: Python 3.7 syntax, standard library only.
"""

from typing import NamedTuple, Optional, Tuple

from stages.records import Facts, Gpu
from stages.workload.measure import cards

# Bytes per second of one lane in one direction, after the line code (8b/10b up to generation 2, 128b/130b up to 5).
PCIE_LANE_BYTES = {1: 250e6, 2: 500e6, 3: 984.6e6, 4: 1969.2e6, 5: 3938.5e6}


class Peak(NamedTuple):
    """What is reached in theory, or why that is not known."""

    value: Optional[float]
    reason: Optional[str]  # why there is no value
    source: str = "the number of cores and the clock that the driver tells"  # who says so, for people


# What tensor cores, or twice packed halves, do for each operation at fp32, by compute capability, where all cards of
# that have the same: P100, V100 and A100, dense, summed up in fp32 (the chips' white papers; P100 sums in fp16). Not of
# 9.0: with its tensor cores at work H100 has another clock than the highest.
FACTORS = {
    "6.0": {"fp16": 2},
    "7.0": {"fp16": 8},
    "8.0": {"tf32": 8, "fp16": 16, "bf16": 16},
}
NO_TORCH = Peak(None, "without torch it is not known what computes")


def arithmetic(facts: Facts, number_format: str) -> Peak:
    """Return operations per second. A multiply-add counts as two, and each CUDA core does one per clock."""
    if facts.device is None:
        return NO_TORCH
    if facts.device == "cpu":
        return Peak(None, "how many vector units a core has is not told by its name, clock and instruction sets")
    gpu, unknown = _gpu(facts)
    if gpu is None:
        return Peak(None, unknown)
    known = cards.find(gpu.name)
    if known is not None and number_format in known.tera:
        return Peak(known.tera[number_format] * 1e12, None, known.source + ", dense")
    factor = 1 if number_format == "fp32" else FACTORS.get(gpu.compute_capability or "", {}).get(number_format)
    if factor is None:
        capability = gpu.compute_capability or "of unknown compute capability"
        return Peak(None, f"what a card of {capability} does at {number_format} is not told by what the driver tells")
    if gpu.cores is None or gpu.max_sm_hertz is None:
        return Peak(None, gpu.absent.get("cores") or gpu.absent.get("max_sm_hertz"))
    return Peak(2.0 * factor * gpu.cores * gpu.max_sm_hertz, None)


def memory(facts: Facts) -> Peak:
    """Return bytes per second, read and written together: the bus's width at two transfers per clock."""
    if facts.device is None:
        return NO_TORCH
    if facts.device == "cpu":
        return Peak(None, "the kernel does not tell the number and the clock of the memory's channels")
    gpu, unknown = _gpu(facts)
    if gpu is None:
        return Peak(None, unknown)
    if gpu.memory_bus_bits is not None and gpu.max_memory_hertz is not None:
        source = "the bus's width and the clock that the driver tells"
        return Peak(2.0 * gpu.memory_bus_bits / 8 * gpu.max_memory_hertz, None, source)
    known = cards.find(gpu.name)
    if known is not None and known.gigabytes is not None:
        return Peak(known.gigabytes * 1e9, None, known.source)
    return Peak(None, gpu.absent.get("memory_bus_bits") or gpu.absent.get("max_memory_hertz"))


def link(facts: Facts) -> Peak:
    """Return bytes per second from the host to the card."""
    if facts.device is None:
        return NO_TORCH
    if facts.device == "cpu":
        return Peak(None, "without a GPU there is no way to it")
    gpu, unknown = _gpu(facts)
    if gpu is None:
        return Peak(None, unknown)
    if gpu.pcie_max_generation is None or gpu.pcie_max_width is None:
        return Peak(None, gpu.absent.get("pcie_max_generation") or gpu.absent.get("pcie_max_width"))
    if gpu.pcie_max_generation not in PCIE_LANE_BYTES:
        return Peak(None, f"not known for PCIe generation {gpu.pcie_max_generation}")
    source = "the PCIe generation and lanes that the driver tells"
    return Peak(PCIE_LANE_BYTES[gpu.pcie_max_generation] * gpu.pcie_max_width, None, source)


def _gpu(facts: Facts) -> Tuple[Optional[Gpu], Optional[str]]:
    """Return the card that the job trains on, of several with its name any; or why none can be named."""
    if facts.on_mig_instance:
        return None, "a MIG instance has a part of its card, and the driver does not tell how large a part"
    if not facts.cards:
        return None, "the driver does not list the card that torch uses"
    return facts.cards[0], None
