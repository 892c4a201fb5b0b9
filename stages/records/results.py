"""What came out of a stage of a cell: one record for training and evaluation.

Runs inside images: Python 3.7 syntax, standard library only.
"""

import dataclasses
from typing import Dict, Optional, Tuple

from stages.codec import check, check_absent
from stages.contract import Ceilings, Span
from stages.records.cells import STAGES, Cell
from stages.records.environment import CardSummary, Conditions, Energy, Load
from stages.records.job import Belongs

IN_VAIN = "disturbed, and measured once more in vain: "  # begin of a warning, which says why
BEGAN_ANEW = "it began anew after "  # begin of a note; it is a whole training all the same
STATUSES = ("ok", "failed", "unsupported")


@dataclasses.dataclass(frozen=True)
class Attempt:
    """One process's part of a stage."""

    after_spans: int  # that earlier attempts had done when it began, and that count
    seconds: float  # wall clock of its command, up to the last span that counts where it was cut off
    load: Load  # from the command's begin to its end, or to its last span that counts
    began_at: Optional[float] = None  # seconds since 1970, when its command began; None: of an earlier attempt

    def __post_init__(self) -> None:
        check("after_spans", self.after_spans, self.after_spans >= 0, "0 or more")


@dataclasses.dataclass(frozen=True)
class Steps:
    """The file of a training's step times, Cell.steps_path."""

    sha256: str
    count: int  # of steps, in all spans that tell theirs
    queued: bool  # the host's clock told them, and work was queued on a GPU: one step alone means little

    def __post_init__(self) -> None:
        check("count", self.count, self.count >= 0, "0 or more")


@dataclasses.dataclass(frozen=True)
class Discarded:
    """What a stage of a cell took that was disturbed and was measured once more: the less disturbed one counts."""

    started_at: str  # UTC, ISO 8601
    command_seconds: float
    spans: Tuple[Span, ...]
    load: Load
    disturbed_by: Tuple[str, ...]  # the warnings for which it was measured once more

    def __post_init__(self) -> None:
        check("disturbed_by", self.disturbed_by, bool(self.disturbed_by), "at least one warning")


@dataclasses.dataclass(frozen=True)
class Result:
    """metrics/<image>/<variant>/<stage>-<repeat>.json: what a stage of a cell took and gave."""

    cell: Cell
    stage: str  # of STAGES
    status: str  # of STATUSES
    reason: Optional[str]  # why the status is not 'ok'
    belongs: Belongs
    spans: Tuple[Span, ...]  # in the order in which they ended, all attempts together
    metrics: Dict[str, float]  # of those that job.yaml declares, the ones that the job said
    facts: Dict[str, str]  # that the job said of itself, e.g. number_format: bf16
    gpu_uuids: Tuple[str, ...]  # of the cards that its command could see; empty: none
    ceilings: Optional[Ceilings]
    command_seconds: Optional[float]  # wall clock of the command, the pauses between attempts left out
    peak_process_memory_bytes: Optional[int]  # resident, of the largest process of the job
    energy: Optional[Energy]  # that the cards took while the command ran, all attempts together
    cpu_joules: Optional[float]  # that the machine's processor packages took meanwhile, read by the host
    cards: Tuple[CardSummary, ...]  # what they did meanwhile; empty: no card, or none that tells
    output_sha256: Optional[str]  # of all that the training left, by name and content; of an evaluation, the same
    predictions_sha256: Optional[str]  # of the file of predictions; of an evaluation alone
    steps: Optional[Steps]  # of a training alone; its spans have no step_seconds
    attempts: Tuple[Attempt, ...]  # one where nothing interrupted it; empty where it did not end 'ok'
    conditions: Tuple[Conditions, ...]  # before each attempt, and after the last
    discarded: Tuple[Discarded, ...]  # what was disturbed and measured once more
    warnings: Tuple[str, ...]  # what casts doubt on the times: a busy CPU, a throttled card, more than one attempt
    started_at: str  # UTC, ISO 8601; of the first attempt, and of a cell that failed, of the one that did
    wall_seconds: float  # of the supervisor, all attempts together, without the runs that are discarded
    notes: Tuple[str, ...]  # what could not be seen from outside of the training, and that it began anew
    absent: Dict[str, str]  # null field: why the job or the machine does not give it
    # Of all its processes together, sampled, but no less than the largest one's; None: it was one, or is not known.
    peak_job_memory_bytes: Optional[int] = None

    def __post_init__(self) -> None:
        check("stage", self.stage, self.stage in STAGES, "one of " + ", ".join(STAGES))
        check("status", self.status, self.status in STATUSES, "one of " + ", ".join(STATUSES))
        holds = (self.status == "ok") == (self.reason is None)
        check("reason", self.reason, holds, "a reason, exactly where the status is not 'ok'")
        check_absent(self, "reason", "peak_job_memory_bytes")


def without_times(
    cell: Cell,
    stage: str,
    status: str,
    reason: Optional[str],
    belongs: Belongs,
    started_at: str,
    wall_seconds: float,
    why: str,
    predictions_sha256: Optional[str] = None,
    output_sha256: Optional[str] = None,
    facts: Optional[Dict[str, str]] = None,
) -> Result:
    """Return the result of a stage that did not run, or not to its end. `why`: it has no times."""
    nulls = ["ceilings", "command_seconds", "peak_process_memory_bytes", "energy", "cpu_joules", "steps"]
    digests = {"output_sha256": output_sha256, "predictions_sha256": predictions_sha256}
    nulls += [name for name, digest in digests.items() if digest is None]
    return Result(
        cell=cell,
        stage=stage,
        status=status,
        reason=reason,
        belongs=belongs,
        spans=(),
        metrics={},
        facts=facts or {},
        gpu_uuids=(),
        ceilings=None,
        command_seconds=None,
        peak_process_memory_bytes=None,
        energy=None,
        cpu_joules=None,
        cards=(),
        output_sha256=output_sha256,
        predictions_sha256=predictions_sha256,
        steps=None,
        attempts=(),
        conditions=(),
        discarded=(),
        warnings=(),
        started_at=started_at,
        wall_seconds=wall_seconds,
        notes=(),
        absent=dict.fromkeys(nulls, why),
    )
