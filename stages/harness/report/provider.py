"""What the machine has, what of it may be used, and what its provider states: side by side."""

import dataclasses
import re

from stages.harness.params.schema import Params, amount_bytes
from stages.records import Facts, Gpu
from stages.units import amount

# The kernel and the firmware keep up to some percent of the memory for themselves; GB taken for GiB is 7 percent off.
TOLERANCE = 0.05
BRANDS = {"nvidia", "tesla", "geforce", "gpu"}  # left out by some who name a card


@dataclasses.dataclass(frozen=True)
class Row:
    """One thing that a machine has. Empty: not known, no limit, not stated."""

    what: str
    machine: str
    limit: str  # what the job may use of it, where that is less
    claim: str  # in the provider's words
    verdict: str  # 'agrees', 'differs: …', 'not found: …'; empty where nothing is claimed


def rows(params: Params, facts: Facts) -> list[Row]:
    """Say what is known of the machine from inside the image, and beside it what `provider` and `session` claim."""
    claims, hardware = params.provider, facts.hardware
    cpu, limits, disk = hardware.cpu, hardware.limits, hardware.disk
    total = None if cpu.logical_cpus is None else float(cpu.logical_cpus)
    memory = _least(hardware.memory_bytes, limits.memory_bytes)
    hours = params.session.max_hours
    cards = float(len(hardware.gpus)) or None  # none that answers is no sign that there is none
    return [
        Row("CPU", cpu.model or "", "", "", ""),
        _counted("CPUs", total, limits.usable_cpus, claims.cpus, cpu.absent.get("logical_cpus", "")),
        _sized("memory", hardware.memory_bytes, memory, claims.memory, hardware.absent.get("memory_bytes", "")),
        Row("/dev/shm", "", amount(limits.shm_bytes) if limits.shm_bytes else "", "", ""),  # noqa: S108
        _sized("disk of the data", disk.total_bytes, disk.total_bytes, claims.disk, disk.absent.get("total_bytes", "")),
        _named_gpu(hardware.gpus, claims.gpu, hardware.gpus_reason or ""),
        *([_counted("GPUs", cards, cards, claims.gpus, hardware.gpus_reason or "")] if cards or claims.gpus else []),
        *_gpu_memory(hardware.gpus, claims.gpu_memory, hardware.gpus_reason or ""),
        Row(
            "session",
            "",
            "",
            f"at most {hours:g} h" if hours else "",
            "cannot be seen from the machine" if hours else "",
        ),
    ]


def _counted(what: str, there: float | None, usable: float | None, claim: float | None, why: str) -> Row:
    verdict = ""
    if claim is not None:
        differs = f"not found: {why}" if usable is None else f"differs: {usable:g} found"
        verdict = "agrees" if usable == claim else differs
    limit = f"{usable:g}" if usable is not None and usable != there else ""
    return Row(
        what, f"{there:g}" if there is not None else why, limit, f"{claim:g}" if claim is not None else "", verdict
    )


def _sized(what: str, there: int | None, usable: int | None, claim: str | None, why: str) -> Row:
    limit = amount(usable) if usable is not None and usable != there else ""
    return Row(what, why if there is None else amount(there), limit, claim or "", _agreement(usable, claim, why))


def _agreement(found: int | None, claim: str | None, why: str) -> str:
    """Whether an amount is what is claimed; if it is when GB is read as GiB or the other way round, that is said."""
    if claim is None:
        return ""
    if found is None:
        return f"not found: {why}"
    stated = amount_bytes(claim)
    if stated is None:
        raise ValueError(claim)  # params are checked
    if _close(found, stated):
        return "agrees"
    other = claim.replace("iB", "B") if "iB" in claim else claim.replace("B", "iB")
    share = found / stated - 1
    hint = f"; as {other} it would agree" if _close(found, amount_bytes(other) or 0) else ""
    return f"differs: {abs(share):.0%} {'more' if share > 0 else 'less'} found{hint}"


def _close(found: int, stated: int) -> bool:
    return abs(found - stated) <= TOLERANCE * stated


def _named_gpu(gpus: tuple[Gpu, ...], claim: str | None, why: str) -> Row:
    names = list(dict.fromkeys(gpu.title for gpu in gpus))
    verdict = ""
    if claim is not None:
        same = all(_words(claim) <= _words(name) for name in names)
        verdict = f"not found: {why}" if not names else "agrees" if same else "differs: another card found"
    return Row("GPU", ", ".join(names) or why, "", claim or "", verdict)


def _words(name: str) -> set[str]:
    return set(re.findall(r"[a-z0-9]+", name.lower())) - BRANDS


def _gpu_memory(gpus: tuple[Gpu, ...], claim: str | None, why: str) -> list[Row]:
    if not gpus:
        return [Row("GPU memory", "", "", claim, f"not found: {why}")] if claim else []
    return [
        _sized(
            "GPU memory" if len(gpus) == 1 else f"GPU {index} memory",
            gpu.memory_bytes,
            gpu.memory_bytes,
            claim,
            gpu.absent.get("memory_bytes", ""),
        )
        for index, gpu in enumerate(gpus)
    ]


def _least(*amounts: int | None) -> int | None:
    return min((each for each in amounts if each is not None), default=None)
