"""What the machine can do inside this image: the measured part of a profile, within its own time limit.

What torch reaches runs in a process of its own beside this one, which streams its samples; the job's own measurements
are a command of its job.yaml. What hangs, crashes or fails there costs its own numbers and no others, and nothing
outlasts the limit. Beginning with a GPU (its context, cuBLAS, cuDNN) is no measurement: it has a limit of its own.

Runs inside images: Python 3.7 syntax, standard library; torch in the process beside.
"""

import time
from typing import Dict, Iterator, List, NamedTuple, Optional, Sequence, Tuple

from stages.contract import JobMeasurement
from stages.records import Facts, ImageTask, Measurement, Scalar
from stages.workload.measure import of_job, peaks
from stages.workload.measure.process import MeasuringProcess, Outcome

# When a part counts as hanging. The last of its samples began within its share, and to start the process anew and
# import torch again would cost the others more than to wait some seconds, as long as there are some.
PATIENCE = 1.5  # shares
PATIENCE_SECONDS = 3.0  # but not more than half of what is left
START_SECONDS = 60.0  # at most, to begin with a GPU: beside the time for measurements, in either process
JOBS_SHARE = 0.5  # of the time, for the job's own measurements, and what the others leave
OUT_OF_TIME = "the time for all of it was up: raise profile.measure_seconds in params.yaml"
NUMBER_FORMATS = ("fp32", "tf32", "fp16", "bf16")
DEVICE = "stages.workload.measure.device"
JOBS = "measure of job.yaml"


class Part(NamedTuple):
    """One thing to measure."""

    name: str
    unit: str
    function: str  # of the module: a generator of samples, and of details in words
    arguments: dict  # of the function, beside the seconds that it may take
    peak: peaks.Peak
    module: str
    explains: Optional[str] = None
    applies: Dict[str, Scalar] = {}  # noqa: RUF012 - not changed


def measure(task: ImageTask, facts: Facts, process: Optional[MeasuringProcess] = None) -> Tuple[Measurement, ...]:
    """Measure within the task's seconds: all that it takes, importing torch included, but for the start of a GPU.

    `process`: one that has torch already; it is ended.
    """
    with process or MeasuringProcess() as measuring:
        not_possible = facts.absent.get("device") or _start(measuring, facts)
        deadline = time.monotonic() + task.measure_seconds
        own_seconds = task.measure_seconds * (1 - JOBS_SHARE if task.measure else 1)
        measured = run(list(plan(facts)), own_seconds, not_possible, measuring)
    if task.measure is None:
        return measured
    reported, failure = of_job.run(task, facts, max(0.0, deadline - time.monotonic()), _start_seconds(facts))
    measured += tuple(_of_job(each) for each in reported)
    if failure is None:
        return measured
    print(f"warning: {task.image}: {JOBS}: {failure}")
    return (*measured, _record(JOBS, "", (), "", None, failure))


def _start_seconds(facts: Facts) -> float:
    return 0.0 if facts.device in (None, "cpu") else START_SECONDS


def _start(process: MeasuringProcess, facts: Facts) -> Optional[str]:
    """Begin with the GPU, if there is one; return why it could not."""
    limit = _start_seconds(facts)
    if not limit:
        return None
    began = time.monotonic()
    failure = process.load(DEVICE, limit)
    if failure is None:
        left = max(0.0, limit - (time.monotonic() - began))
        failure = process.run(DEVICE, "start", {"device": "cuda"}, left, left).failure
    return None if failure is None else f"the start of the GPU: {failure}"


def plan(facts: Facts) -> Iterator[Part]:
    """Yield the parts in their order."""
    device = "cpu" if facts.device == "cpu" else "cuda"
    for number_format in NUMBER_FORMATS:
        arguments = {"device": device, "number_format": number_format}
        peak = peaks.arithmetic(facts, number_format)
        applies = {"number_format": number_format}  # type: Dict[str, Scalar]
        name = "matrix product, " + number_format
        yield Part(name, "flop/s", "matrix_product", arguments, peak, DEVICE, "compute", applies)
    yield Part("memory copy", "bytes/s", "memory_copy", {"device": device}, peaks.memory(facts), DEVICE)
    for kind in ("pinned", "pageable"):
        arguments = {"device": device, "pinned": kind == "pinned"}
        yield Part("host to device, " + kind, "bytes/s", "host_to_device", arguments, peaks.link(facts), DEVICE, "copy")


def run(
    parts: Sequence[Part],
    seconds: float,
    not_possible: Optional[str] = None,
    process: Optional[MeasuringProcess] = None,
) -> Tuple[Measurement, ...]:
    """Run each part in turn, in an equal share of the time that is left. `not_possible`: why none can be."""
    deadline = time.monotonic() + seconds
    measured = []
    with process or MeasuringProcess() as measuring:
        for index, part in enumerate(parts):
            outcome = Outcome([], [], not_possible)
            if not not_possible:
                outcome = _run_part(measuring, part, deadline, len(parts) - index)
            measured.append(_measurement(part, outcome))
    return tuple(measured)


def _run_part(process: MeasuringProcess, part: Part, deadline: float, parts_left: int) -> Outcome:
    failure = process.load(part.module, max(0.0, deadline - time.monotonic()))
    left = deadline - time.monotonic()
    if left <= 0:
        return Outcome([], [], OUT_OF_TIME)
    if failure:
        return Outcome([], [], failure)
    share = left / parts_left
    patience = max(share * PATIENCE, min(PATIENCE_SECONDS, left / 2))
    return process.run(part.module, part.function, part.arguments, share, min(patience, left))


def _measurement(part: Part, outcome: Outcome) -> Measurement:
    reason = outcome.failure or "not one was done in its share of the time"
    words = [*outcome.details, *([outcome.failure] if outcome.failure and outcome.samples else [])]
    if outcome.samples and part.peak.value is not None:
        words.append("peak by " + part.peak.source)
    detail = "; ".join(words)
    samples = tuple(float(each) for each in outcome.samples)
    return _record(part.name, part.unit, samples, detail, part.peak, reason, part.explains, part.applies)


def _of_job(each: JobMeasurement) -> Measurement:
    peak = peaks.Peak(each.peak, "the job does not tell it")
    reason = each.detail or "the job gives no samples, and not why"
    return _record(each.name, each.unit, each.samples, each.detail, peak, reason, each.explains, each.applies)


def _record(
    name: str,
    unit: str,
    samples: Tuple[float, ...],
    detail: str,
    peak: Optional[peaks.Peak],
    reason: str,
    explains: Optional[str] = None,
    applies: Dict[str, Scalar] = {},  # noqa: B006 - not changed
) -> Measurement:
    """Return the record. `reason`: why there are no samples, where there are none."""
    absent = {}
    if not samples:
        absent["median"] = reason
    if len(samples) < 2:
        absent["spread"] = "one sample has none" if samples else reason
    if peak is None or peak.value is None:
        absent["peak"] = (peak.reason if peak else None) or reason
    ordered = sorted(samples)
    return Measurement(
        name=name,
        detail=detail,
        unit=unit,
        samples=samples,
        median=quantile(ordered, 0.5) if samples else None,
        spread=quantile(ordered, 0.75) - quantile(ordered, 0.25) if len(samples) > 1 else None,
        peak=peak.value if peak else None,
        explains=explains,
        applies=applies,
        absent=absent,
    )


def quantile(ordered: List[float], share: float) -> float:
    """Return the quantile of sorted samples, between two of them in proportion."""
    place = share * (len(ordered) - 1)
    below = int(place)
    above = min(below + 1, len(ordered) - 1)
    return ordered[below] + (place - below) * (ordered[above] - ordered[below])
