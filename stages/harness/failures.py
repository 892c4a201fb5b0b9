"""Why a job died, told from how it ended and what it said, in a line: what happened, the figures, what to change."""

import signal

from stages.harness.jobs import Outcome
from stages.harness.params import ContainerParams, LimitParams

SMALLER = "lower batch_sizes, recipe.size or recipe.workers in params.yaml"
SIGNALS = {
    signal.SIGBUS: "it died of a bus error, as one does whose /dev/shm is full (container.shm_size: {shm_size}): "
    f"raise that in params.yaml, or {SMALLER}",
    signal.SIGSEGV: "it died of a segmentation fault in native code; where is above: see that the driver fits the "
    "image's CUDA (make preflight), or choose another image",
    signal.SIGABRT: "it aborted in native code; its last words are above",
    signal.SIGILL: "it died of an instruction that this CPU does not have: choose an image that was built for it",
    signal.SIGFPE: "it died of an arithmetic error in native code; where is above",
    signal.SIGKILL: "it was killed (SIGKILL), and not by faceoff or for want of memory: see who did, and run again",
}


def reason(outcome: Outcome, last_words: str, limits: LimitParams, container: ContainerParams) -> str:
    """Of an outcome whose exit code is not 0; `last_words`: what the job itself said of it, if it could."""
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
        return out_of_memory(container)
    died_of = SIGNALS.get(signal.Signals(outcome.exit_code - 128)) if _is_signal(outcome.exit_code) else None
    if died_of is not None:
        return died_of.format(shm_size=container.shm_size)
    return last_words or f"it ended with exit code {outcome.exit_code}; its own words are above"


def out_of_memory(container: ContainerParams) -> str:
    has = f"the {container.memory} of container.memory" if container.memory else "this machine has"
    return f"it ran out of memory: it needs more than {has}: raise that, or {SMALLER}"


def _is_signal(exit_code: int) -> bool:
    return exit_code - 128 in set(signal.Signals)
