"""Why a job died, told from how it ended and what it said, in a line: what happened, the figures, what to change."""

import shutil
import signal

from stages import needs
from stages.checks import shared_memory
from stages.harness.environments.launch import Outcome, wants_gpus
from stages.harness.params.schema import ContainerParams, LimitParams, Params, size_bytes
from stages.records import Cell, Machine
from stages.units import amount

SHM = "/dev/shm"  # noqa: S108 - looked at, not written to
SMALLER = "lower batch_sizes, recipe.size or recipe.workers in params.yaml"
SIGNALS = {
    signal.SIGSEGV: "it died of a segmentation fault in native code; where is above: see that the driver fits the "
    "image's CUDA (make preflight), or choose another image",
    signal.SIGABRT: "it aborted in native code; its last words are above",
    signal.SIGILL: "it died of an instruction that this CPU does not have: choose an image that was built for it",
    signal.SIGFPE: "it died of an arithmetic error in native code; where is above",
    signal.SIGKILL: "it was killed (SIGKILL), and not by faceoff or for want of memory: see who did, and run again",
}


def reason(outcome: Outcome, last_words: str, cell: Cell, params: Params, machine: Machine) -> str:
    """Of an outcome whose exit code is not 0; `last_words`: what the job itself said of it, if it could."""
    limits = params.limits
    if outcome.overdue == "stall_minutes":
        return (
            f"no step for {limits.stall_minutes:g} minutes (limits.stall_minutes): a loader that hangs, most often; "
            "where is above: try recipe.workers: 0, or raise the limit in params.yaml"
        )
    if outcome.overdue == "cell_minutes":
        return (
            f"not done after {limits.cell_minutes:g} minutes (limits.cell_minutes): raise that in params.yaml, or take "
            "fewer photos or epochs"
        )
    if outcome.out_of_memory:
        return out_of_memory(outcome, params.container, machine)
    if outcome.exit_code == 128 + signal.SIGBUS:
        return _bus_error(outcome, cell, params)
    died_of = SIGNALS.get(signal.Signals(outcome.exit_code - 128)) if _is_signal(outcome.exit_code) else None
    return died_of or last_words or f"it ended with exit code {outcome.exit_code}; its own words are above"


def overdue_stage(limits: LimitParams) -> str:
    """Of a stage that is no cell's."""
    return (
        f"not done after {limits.cell_minutes:g} minutes (limits.stall_minutes for each setting, and once more): a "
        "driver or a disk that hangs, most often: see that nvidia-smi answers, or raise the limit in params.yaml"
    )


def out_of_memory(outcome: Outcome, container: ContainerParams, machine: Machine | None) -> str:
    if container.memory and not outcome.on_host:
        has, advice = f"the {container.memory} of container.memory", "raise that"
    else:
        seen = (machine.hardware.memory_bytes, machine.hardware.limits.memory_bytes) if machine else ()
        known = [each for each in seen if each is not None]
        has = "this machine has" + (f" ({amount(min(known))})" if known else "")
        advice = "end what else runs here"
    return f"it ran out of memory: it needs more than {has}: {advice}, or {SMALLER}"


def _bus_error(outcome: Outcome, cell: Cell, params: Params) -> str:
    """Of a full /dev/shm only where the batches may not find room in it; which learner has died is not known."""
    container = None if outcome.on_host else size_bytes(params.container.shm_size)
    # A host's is shared, and whatever else is in it may still be there; a container's was its own.
    total, free = (container, None) if container else (shutil.disk_usage(SHM).total, shutil.disk_usage(SHM).free)
    on_gpu = wants_gpus(params.container.gpus)
    for learner in needs.LEARNERS:
        check = shared_memory(learner, on_gpu, cell.batch_size, params.recipe, total, free, container is not None)
        if check.status == "failed":
            return (
                "it died of a bus error, as one does whose /dev/shm is full: batches may need "
                f"{check.needed}; found: {check.found}; {check.advice}"
            )
    return f"it died of a bus error in native code, and not for want of /dev/shm ({check.found}); where is above"


def _is_signal(exit_code: int) -> bool:
    return exit_code - 128 in set(signal.Signals)
