"""Why a job died, told from how it ended and what it said, in a line: what happened, the numbers, what to change."""

import os
import shutil
import signal
from collections.abc import Sequence
from pathlib import Path

from stages import codec, holders, records
from stages.errors import KILLED_FOR_MEMORY, NOT_FOR_MEMORY, FaceoffError
from stages.harness.environments import commands
from stages.harness.environments.launch import Outcome
from stages.harness.params.schema import ContainerParams, LimitParams, Params, size_bytes
from stages.records import Cell
from stages.units import amount

SHM = "/dev/shm"  # noqa: S108 - looked at, not written to
LITTLE_BYTES = 2**30  # of /dev/shm: what batches may fill, where the job does not say what it needs
SMALLER = "lower the variant's memory need (batch size, workers)"
SIGNALS = {
    signal.SIGSEGV: "it died of a segmentation fault in native code; where is above: see that the driver fits the "
    "image's CUDA (make preflight), or choose another image",
    signal.SIGABRT: "it aborted in native code; its last words are above",
    signal.SIGILL: "it died of an instruction that this CPU does not have: choose an image that was built for it",
    signal.SIGFPE: "it died of an arithmetic error in native code; where is above",
    signal.SIGKILL: "it was killed (SIGKILL), and not by faceoff or for want of memory: see who did, and run again",
}
PERHAPS = (
    "it was killed (SIGKILL), and not by faceoff; perhaps for want of memory, as the kernel killed some process of "
    "this machine meanwhile (dmesg says which). If so,"
)
READ_ONLY = "it wrote into a folder that is read-only; write below {output} (FACEOFF_OUTPUT), {state} or /tmp"


def record_image(image: str, reason: str, outputs: Sequence[Path]) -> None:
    """Write in the place of the stage's outputs why the image failed, so that the others go on."""
    for path in outputs:
        codec.write(path, records.Failed(image, reason))


def reason(outcome: Outcome, last_words: str, cell: Cell, params: Params) -> str:
    """Tell the cause of an exit code that is not 0; `last_words`: what the job itself said of it, if it could."""
    limits = params.limits
    if outcome.overdue == "stall_minutes":
        return (
            f"no event for {limits.stall_minutes:g} minutes (limits.stall_minutes): a loader that hangs, most often; "
            "where is above, if the job told: load without worker processes, or raise the limit in params.yaml"
        )
    if outcome.overdue == "cell_minutes":
        return (
            f"not done after {limits.cell_minutes:g} minutes (limits.cell_minutes): raise that in params.yaml, or have "
            "the job do less"
        )
    of_memory = out_of_memory(outcome, last_words, params.container)
    if of_memory:
        return of_memory
    if outcome.exit_code == 128 + signal.SIGBUS:
        return _bus_error(outcome, cell, params, seen_full=SHM in last_words)
    died_of = SIGNALS.get(signal.Signals(outcome.exit_code - 128)) if _is_signal(outcome.exit_code) else None
    words = died_of or last_words or f"it ended with exit code {outcome.exit_code}; its own words are above"
    return f"{words}: {READ_ONLY}" if outcome.met_read_only and not died_of else words


def overdue_stage(limits: LimitParams) -> str:
    """Say that a stage which is no cell's took too long."""
    return (
        f"not done after {limits.cell_minutes:g} minutes (limits.stall_minutes for each variant, and once more): a "
        "driver or a disk that hangs, most often: see that nvidia-smi answers, or raise the limit in params.yaml"
    )


def out_of_memory(outcome: Outcome, last_words: str, container: ContainerParams) -> str | None:
    """Say that it ran out of memory, or that it may have, how much there is, and what to do; None: it did not."""
    if outcome.out_of_memory or last_words.startswith(KILLED_FOR_MEMORY):
        return f"it ran out of memory: {_needs_more(outcome, container)}"
    if outcome.some_killed and NOT_FOR_MEMORY not in last_words:
        return f"{PERHAPS} {_needs_more(outcome, container)}; else run again"
    return None


def _needs_more(outcome: Outcome, container: ContainerParams) -> str:
    if container.memory and outcome.isolated:
        has, advice = f"the {container.memory} of container.memory", "raise that"
    else:
        has, advice = "this machine has" + _memory(), "end what else runs here" + _others()
    return f"it needs more than {has}: {advice}, or {SMALLER}"


def _memory() -> str:
    found = codec.find(records.MACHINE_PATH, records.Machine)
    amounts = (found.hardware.memory_bytes, found.hardware.limits.memory_bytes) if found else ()
    known = [each for each in amounts if each is not None]
    return f" ({amount(min(known))})" if known else ""


def _others() -> str:
    """Say who holds much of the machine's memory, now that the job has ended."""
    who = holders.of_memory(os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES"))
    return f" ({who})" if who else ""


def _bus_error(outcome: Outcome, cell: Cell, params: Params, seen_full: bool) -> str:
    """Name /dev/shm where it was seen full, or where the job says that it needs more than there is."""
    container = size_bytes(params.container.shm_size) if outcome.isolated else None
    # A host's is shared, and whatever else is in it may still be there; a container's was its own.
    total, free = (container, container) if container else (shutil.disk_usage(SHM).total, shutil.disk_usage(SHM).free)
    where = f"/dev/shm has {amount(total)}" + ("" if container else f", {amount(free)} of it free")  # noqa: S108
    need = _shm_bytes(cell, params)
    enough = not seen_full and free >= (LITTLE_BYTES if need is None else need)
    advice = "raise container.shm_size" if container else "enlarge it (mount -o remount,size=... /dev/shm)"
    if enough:
        return f"it died of a bus error in native code, and not for want of /dev/shm ({where}); where is above"
    needs = "" if need is None else f", and its batches may need {amount(need)}"
    return f"it died of a bus error, as one does whose /dev/shm is full: {where}{needs}: {advice}, or {SMALLER}"


def _shm_bytes(cell: Cell, params: Params) -> int | None:
    try:
        return commands.estimate(params, cell.image, cell.variant, Path()).shm_bytes
    except FaceoffError:
        return None


def _is_signal(exit_code: int) -> bool:
    return exit_code - 128 in set(signal.Signals)
