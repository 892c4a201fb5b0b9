"""The metrics of a cell, and of a setting over its repeats. Pure arithmetic: no files, no clocks.

Some are there by themselves (the total time, what of it steps take undisturbed, what is beyond them, each span's time,
samples/s, energy, memory); the others the job declares in job.yaml.
"""

import statistics
from collections.abc import Iterable, Mapping, Sequence
from datetime import datetime

from stages.contract import Span
from stages.harness.results import undisturbed
from stages.harness.results.read import CellResult, StepTimes
from stages.records import WALL, Cell, CurvePoint, Job, Metric, Result, Summary

TOTAL = "total_seconds"
UNDISTURBED = "undisturbed_seconds"  # what the total's training steps take while nothing disturbs them
BEYOND = "beyond_seconds"  # the total without it: first steps, waits now and then, pauses, validation; the tail
RATE = "samples_per_second"
ENERGY = "energy_joules"  # that the cards took in what the total time is made of
CPU_ENERGY = "cpu_joules"  # that the processor packages took while the training's command ran
PER_SAMPLE = "joules_per_sample"  # that the cards took in spans that say their samples
MEMORY = "peak_process_memory_bytes"  # of the largest process
TOGETHER = "peak_job_memory_bytes"  # of all processes, where there were several
SPAN_SUFFIX = "_seconds"
BLOCK_PAUSE = 600.0  # seconds
LEAST_BEYOND = 0.001  # of the total: what is less is rounding, of which a ratio says nothing


def declared(job: Job, results: Iterable[CellResult]) -> dict[str, Metric]:
    """Metrics of the face-off, in the order in which they are shown: the total, and what any of the cells has."""
    cells = list(results)
    seconds = Metric("seconds", "lower", timed=True)
    spans = dict.fromkeys(span.name for result in cells for stage in result.stages for span in stage.spans)
    known = {
        **dict.fromkeys((TOTAL, UNDISTURBED, BEYOND), seconds),
        **{span + SPAN_SUFFIX: seconds for span in spans},
        RATE: Metric("samples/s", "higher", timed=True),
        ENERGY: Metric("joules", "lower", timed=True),
        PER_SAMPLE: Metric("joules/sample", "lower", timed=True),
        CPU_ENERGY: Metric("joules", "lower", timed=True),
        **job.metrics,
        **dict.fromkeys((MEMORY, TOGETHER), Metric("bytes", "lower")),
    }
    there = {TOTAL}.union(*(values(result, job) for result in cells))
    return {name: metric for name, metric in known.items() if name in there}


def timed(metrics: Mapping[str, Metric]) -> dict[str, Metric]:
    """Pick those that are compared as ratios to the baseline's."""
    return {name: metric for name, metric in metrics.items() if metric.timed}


def values(result: CellResult, job: Job) -> dict[str, float]:
    """Return each metric's value in the cell; of one that is not evaluated yet, what its training alone tells."""
    train, evaluate = result.train, result.evaluate
    if train is None:
        return {}
    spans = [span for stage in result.stages for span in stage.spans]
    found = {
        **_of_total(result, train, job.total),
        RATE: samples_per_second(train.spans),
        ENERGY: _energy(train, evaluate, job.total),
        PER_SAMPLE: joules_per_sample(train),
        CPU_ENERGY: train.cpu_joules,
    }
    for name in dict.fromkeys(span.name for span in spans):
        found[name + SPAN_SUFFIX] = sum(span.seconds for span in spans if span.name == name)
    for name, metric in job.metrics.items():
        said = [stage.metrics[name] for stage in result.stages if name in stage.metrics]
        if said and (evaluate or metric.unit != "bytes"):
            found[name] = max(said) if metric.unit == "bytes" else said[-1]  # bytes are peaks
    if evaluate:
        found[MEMORY] = _most(stage.peak_process_memory_bytes for stage in result.stages)
        found[TOGETHER] = _most(stage.peak_job_memory_bytes for stage in result.stages)
    return {name: value for name, value in found.items() if value is not None}


def _most(peaks: Iterable[int | None]) -> float | None:
    return max((float(peak) for peak in peaks if peak is not None), default=None)


def _of_total(result: CellResult, train: Result, total: tuple[str, ...]) -> dict[str, float | None]:
    """Return the total time and its two parts, where they are known."""
    whole = _total(train, result.evaluate, total)
    counted = steps(result, total)
    if not counted:
        return {TOTAL: whole}
    stepping = undisturbed.seconds(counted)
    return {TOTAL: whole, UNDISTURBED: stepping, BEYOND: None if whole is None else max(0.0, whole - stepping)}


def steps(result: CellResult, total: tuple[str, ...]) -> list[StepTimes]:
    """Return the step times of those spans of the training that the total is made of."""
    return [each for each in result.steps or () if total == WALL or each.span in total]


def confirmable(group: Iterable[CellResult], job: Job) -> frozenset[str]:
    """Name the metrics that the undisturbed steps tell of: beside them the total, the rate, and those spans' times."""
    spans = {each.span for result in group for each in steps(result, job.total)}
    return frozenset((TOTAL, UNDISTURBED, RATE, *(span + SPAN_SUFFIX for span in spans)))


def _total(train: Result, evaluate: Result | None, total: tuple[str, ...]) -> float | None:
    """Return the total time; None where it is made of spans and the cell is not evaluated yet."""
    if total == WALL:
        return train.command_seconds
    if evaluate is None:
        return None
    return sum(span.seconds for span in (*train.spans, *evaluate.spans) if span.name in total)


def samples_per_second(spans: Iterable[Span]) -> float | None:
    """Return the rate of the steps of those spans that say how many samples they took; None where it is not known."""
    counted = [(span.samples, span.stepping_seconds) for span in spans if span.samples is not None]
    seconds = sum(each for _, each in counted)
    return sum(samples for samples, _ in counted) / seconds if seconds > 0 else None


def _energy(train: Result, evaluate: Result | None, total: tuple[str, ...]) -> float | None:
    """Return what the cards took in what the total is made of; None where that is not known of all of it."""
    if total == WALL:
        return train.energy.joules if train.energy else None
    if evaluate is None:
        return None
    found: list[float | None] = []
    for stage in (train, evaluate):
        spans = stage.energy.spans_joules if stage.energy else {}
        found += [spans.get(name) for name in dict.fromkeys(span.name for span in stage.spans) if name in total]
    known = [each for each in found if each is not None]
    return sum(known) if known and len(known) == len(found) else None


def joules_per_sample(train: Result) -> float | None:
    """Return what the cards took a sample, in spans of names that all say their samples and whose energy is known."""
    spans = train.energy.spans_joules if train.energy else {}
    counts = {name: [span.samples for span in train.spans if span.name == name] for name in spans}
    counted = {name: sum(each or 0 for each in found) for name, found in counts.items() if None not in found}
    samples = sum(counted.values())
    return sum(spans[name] for name in counted) / samples if samples else None


def samples(group: Iterable[CellResult], metric: str, job: Job) -> dict[Cell, float]:
    """Return the metric of each cell that has it."""
    found = {result.cell: values(result, job).get(metric) for result in group}
    return {cell: value for cell, value in found.items() if value is not None}


def compared_samples(group: Iterable[CellResult], metric: str, job: Job) -> dict[Cell, float]:
    """Return the metric of each cell that has it, but for one that a ratio would say nothing of."""
    cells = list(group)
    found = samples(cells, metric, job)
    if metric != BEYOND:
        return found
    totals = samples(cells, TOTAL, job)
    return {cell: value for cell, value in found.items() if value >= LEAST_BEYOND * totals[cell]}


def moments(results: Iterable[CellResult], metric: str) -> dict[Cell, float]:
    """Return when each trained cell began the stage that the metric comes from: hours since the first."""
    began = {each.cell: _seconds(_source(each, metric).started_at) for each in results if each.train}
    first = min(began.values(), default=0.0)
    return {cell: (seconds - first) / 3600 for cell, seconds in began.items()}


def _source(result: CellResult, metric: str) -> Result:
    """Return the training, unless the evaluation alone tells the metric."""
    sources = [stage for stage in result.stages if metric in stage.metrics or _has_span(stage, metric)]
    return (sources or result.stages)[0]


def _has_span(stage: Result, metric: str) -> bool:
    return any(span.name + SPAN_SUFFIX == metric for span in stage.spans)


def blocks(results: Sequence[CellResult]) -> dict[Cell, int]:
    """Return in which block each cell that was trained is, by number.

    A block is a stretch of repeats without a pause: it ends where nothing runs for longer than a whole repeat takes
    undisturbed, and for BLOCK_PAUSE at least. What a machine did before it may do otherwise after it.
    """
    runs = [
        (_seconds(run.started_at), run.wall_seconds, result.cell, run is result.train)
        for result in results
        for run in result.stages
    ]
    runs += [
        (_seconds(run.started_at), run.command_seconds, result.cell, False)
        for result in results
        for stage in result.stages
        for run in stage.discarded
    ]
    runs.sort(key=lambda run: run[0])
    pause, number, found = _block_pause(results), 0, {}
    ended = runs[0][0] if runs else 0.0
    for began, seconds, cell, is_training in runs:
        number += began - ended > pause
        ended = max(ended, began + seconds)
        if is_training:
            found[cell] = number
    return found


def block_until(results: Sequence[CellResult]) -> float:
    """Return until when (seconds since 1970) a cell can begin that is of the last block."""
    ends = (_seconds(run.started_at) + run.wall_seconds for result in results for run in result.stages)
    return max(ends, default=0.0) + _block_pause(results)


def _block_pause(results: Sequence[CellResult]) -> float:
    return max(BLOCK_PAUSE, repeat_seconds(results, discarded=False))


def repeat_seconds(results: Sequence[CellResult], discarded: bool = True) -> float:
    """Return what one repeat of all settings takes in the mean, from the command's begin to the last result.

    `discarded`: with the runs that were disturbed and made once more, as the next repeat may have them too.
    """
    whole = [each.stages for each in results if each.train and each.evaluate]
    walls = [sum(stage.wall_seconds for stage in stages) for stages in whole]
    if discarded:
        walls += [run.command_seconds for stages in whole for stage in stages for run in stage.discarded]
    settings = len({each.cell.setting for each in results if each.train})
    return settings * sum(walls) / len(whole) if whole else 0.0


def _seconds(started_at: str) -> float:
    return datetime.fromisoformat(started_at).timestamp()


def summaries(group: Sequence[CellResult], job: Job, metrics: Iterable[str]) -> dict[str, Summary]:
    """Return the samples of each metric, one per repeat that has it. A metric that no repeat has is left out."""
    found = {name: samples(group, name, job) for name in metrics}
    return {
        name: summary({str(cell.repeat): value for cell, value in each.items()}) for name, each in found.items() if each
    }


def summary(samples: dict[str, float]) -> Summary:
    """Mean and sample standard deviation; one sample has no spread."""
    values = list(samples.values())
    return Summary(samples, statistics.fmean(values), statistics.stdev(values) if len(values) > 1 else None)


def curve(group: Sequence[CellResult]) -> tuple[CurvePoint, ...]:
    """Return the training's spans that say values, in means over the repeats that say them."""
    runs = [[span for span in result.train.spans if span.values] for result in group if result.train]
    found = []
    for number in range(max(map(len, runs), default=0)):
        spans = [run[number] for run in runs if number < len(run)]
        names = dict.fromkeys(name for span in spans for name in span.values)
        means = {name: statistics.fmean(span.values[name] for span in spans if name in span.values) for name in names}
        found.append(CurvePoint(number + 1, spans[0].name, means))
    return tuple(found)
