"""What was observed of a job, as the contract's spans: a "train" for each pass over the data, a "validation" likewise.

Runs inside images: Python 3.7 syntax, standard library only.
"""

import dataclasses
import statistics
from pathlib import Path
from typing import Dict, List, NamedTuple, Optional, Sequence, Set, Tuple

from stages.contract import SPLIT_SLACK, Span, Split
from stages.workload.observer.device import DeviceClock, device_clock, is_marked, on_device, split_on_device
from stages.workload.observer.lines import Process, read_processes
from stages.workload.observer.runs import Run, Step, runs_of
from stages.workload.observer.stragglers import stragglers

TRAIN, VALIDATION = "train", "validation"
OWN_SECONDS = 25e-6  # of the observer in a step, at most (measured: 10 to 26 microseconds)
MARKS_SECONDS = 75e-6  # of marks in a GPU's queue beside it: an estimate, no GPU was there to measure it on
OWN_SHARE = 0.01  # of a step, from which on it is said
WARM = 1.25  # times the steady step: what five steps must be under for the warm-up to be over
HICCUP = 3.0

NOT_SEEN = (
    "no PyTorch training was seen: the job uses another framework or none, starts Python with -I, -S or -E, "
    "or sets PYTHONPATH anew"
)


Times = Tuple[Tuple[float, float], ...]  # begin and end by the time of day of each part of a span, its pauses left out


@dataclasses.dataclass(frozen=True)
class Observation:
    """Everything that was seen of a training, of its first rank where there are several."""

    spans: Tuple[Span, ...] = ()
    times: Tuple[Times, ...] = ()  # of each span
    waits: Tuple[Optional[float], ...] = ()  # each span's seconds for the loader; None: unknown
    steps: Tuple[Step, ...] = ()  # of all "train" spans, in their order
    warm_up: int = 0  # so many of the first steps are not steady yet
    processes: int = 0  # that trained
    cuda: bool = False  # CUDA was started
    queued: bool = False  # ... and the host's clock told the steps, which says when their work was queued
    torch: Optional[str] = None
    notes: Tuple[str, ...] = ()  # what could not be seen and what else to know, in sentences

    @property
    def steady(self) -> Tuple[Step, ...]:
        """The steps after the warm-up in which nothing was compiled."""
        return tuple(step for step in self.steps[self.warm_up :] if not step.compiled)


def observed(prefix: Path) -> Observation:
    """Return what the files say whose names begin with the prefix."""
    processes = read_processes(prefix)
    trained = [process for process in processes if process.trained]
    if not trained:
        read = processes and NOT_TRAINED.format(sum(len(each.loaders) for each in processes))
        return Observation(torch=processes[0].torch if processes else None, notes=(read or NOT_SEEN,))
    first = min(process.rank for process in trained)
    ours, notes = _one_after_the_other([process for process in trained if process.rank == first])
    by_process = [(process, each) for process in ours for each in _passes(process)]
    passes = [each for _, each in by_process]
    runs = [each.run for each in passes]
    away = [process for process in trained if process.rank != first]
    others = [runs_of(process) for process in away]
    by_rank = {first: runs, **{process.rank: each for process, each in zip(away, others)}}
    of_runs = [run.steps() for run in runs]
    steps = tuple(step for each in of_runs for step in each)
    warm_up = _warm_up(steps)
    found = Observation(
        spans=_with_others([_span(each, steps) for each, steps in zip(passes, of_runs)], others, notes),
        times=tuple(_times(process, each.run) for process, each in by_process),
        waits=tuple(run.wait_seconds for run in runs),
        steps=steps,
        warm_up=warm_up,
        processes=len(trained),
        cuda=any(process.cuda for process in ours),
        queued=any(each.cuda and each.clock is None for each in passes if each.run.training),
        torch=ours[0].torch,
    )
    return dataclasses.replace(
        found,
        notes=tuple(
            notes + _notes(found, ours, {*by_rank}, runs) + stragglers(by_rank) + _notes_of_device(passes, ours)
        ),
    )


OWN = "steps take {:.1f} ms: the observer's own {}{:.0f} microseconds are {:.0%} of them"
ENDED = "the GPU's clock was not read to the end of the training: {}"
NOT_TRAINED = "PyTorch read its loaders {} times, and no training was seen: no backward pass and no optimiser step"


class _Pass(NamedTuple):
    """One pass of a loader, its times by the GPU's clock where that is known."""

    run: Run
    cuda: bool
    clock: Optional[DeviceClock]  # None: the host's tells, or CUDA is not used
    split: Optional[Split] = None
    copies: bool = True  # are told


def _times(process: Process, run: Run) -> Times:
    """Return when it was at work, by the time of day: validations within a training are spans of their own."""
    edges = [run.began, *(each for pause in sorted(run.pauses) for each in pause), run.ended]
    return tuple((began + process.offset, ended + process.offset) for began, ended in zip(edges[::2], edges[1::2]))


def _passes(process: Process) -> List[_Pass]:
    """Return what a process trained and validated, with the split of its trainings."""
    clock = device_clock(process)
    runs = runs_of(process if clock is None else on_device(process, clock))
    found = []
    for run in runs:
        marked = clock if clock is not None and run.training and is_marked(run, clock) else None
        each = _Pass(run, process.cuda, marked)
        if run.training and run.wait_seconds is not None and marked is not None:
            split, copies = split_on_device(run, marked)
            each = each._replace(split=split, copies=copies)
        elif run.training and not process.cuda:
            each = each._replace(split=_split(run))
        if run.training or run.validation:
            found.append(each)
    return found


def _one_after_the_other(processes: List[Process]) -> Tuple[List[Process], List[str]]:
    """Return those that trained in turns; of such that trained at the same time, under one rank, the busiest."""
    ordered = sorted(processes, key=lambda process: _when(process)[0])
    for before, after in zip(ordered, ordered[1:]):
        if _when(after)[0] < _when(before)[1]:
            busiest = max(ordered, key=lambda process: sum(row.steps + row.backwards for row in process.rows))
            text = "{} processes trained at the same time without a rank of their own: the spans are of one of them"
            return [busiest], [text.format(len(ordered))]
    return ordered, []


def _when(process: Process) -> Tuple[float, float]:
    """Return the first and the last work, by the time of day."""
    worked = [row.worked_at + process.offset for row in process.rows if row.worked_at is not None]
    return worked[0], worked[-1]


def _span(found: _Pass, steps: Sequence[Step]) -> Span:
    run = found.run
    return Span(
        name=TRAIN if run.training else VALIDATION,
        seconds=run.seconds,
        samples=run.samples,
        steps=len(steps) if run.training else len(run.batches),
        split=found.split,
        step_seconds=_step_seconds(run, steps),
    )


def _step_seconds(run: Run, steps: Sequence[Step]) -> Tuple[float, ...]:
    """Return what each step took whose begin is known; nothing where that cannot be."""
    seconds = tuple(step.seconds for step in (steps if run.begin_is_known else steps[1:]))
    return seconds if all(each >= 0 for each in seconds) and sum(seconds) <= run.seconds * SPLIT_SLACK else ()


def _split(run: Run) -> Optional[Split]:
    """Return where the time went. On a CPU alone, where nothing is queued and no batch is copied to a device."""
    wait = run.wait_seconds
    if wait is None:
        return None
    rest = max(0.0, run.seconds - wait)
    compute = min(run.work_seconds, rest) if run.by_steps else rest
    return Split(wait_seconds=wait, copy_seconds=0.0, compute_seconds=compute, other_seconds=rest - compute)


def _with_others(spans: List[Span], others: List[List[Run]], notes: List[str]) -> Tuple[Span, ...]:
    """Return the spans with the samples of all ranks."""
    for name, kind in ((TRAIN, "training"), (VALIDATION, "validation")):
        at = [index for index, span in enumerate(spans) if span.name == name]
        ranks = [[run.samples for run in runs if getattr(run, kind)] for runs in others]
        if any(len(each) != len(at) for each in ranks):
            if name == TRAIN:
                notes.append("the ranks show different numbers of training passes: samples are the first one's alone")
            continue
        for order, index in enumerate(at):
            counts = [spans[index].samples, *[each[order] for each in ranks]]
            known = [count for count in counts if count is not None]
            total = sum(known) if len(known) == len(counts) else None
            spans[index] = dataclasses.replace(spans[index], samples=total)
    return tuple(spans)


def _warm_up(steps: Sequence[Step]) -> int:
    """Return how many of the first steps are not steady yet.

    Until five steps' median is near that of the later half; and past those for which torch.compile made a graph.
    """
    if len(steps) < 10:
        return min(1, len(steps))
    usual = statistics.median(step.seconds for step in steps[len(steps) // 2 :])
    for index in range(len(steps) - 4):
        if statistics.median(step.seconds for step in steps[index : index + 5]) > WARM * usual:
            continue
        while index < len(steps) and steps[index].seconds > HICCUP * usual:
            index += 1
        compiled = [at + 1 for at, step in enumerate(steps) if step.compiled and at < index + 5]
        return max([index, *compiled])
    return len(steps) // 2


def _notes(found: Observation, processes: List[Process], ranks: Set[int], runs: List[Run]) -> List[str]:
    """Return what could not be seen, in sentences."""
    training = [run for run in runs if run.training]
    steady = found.steady
    usual = statistics.median(step.seconds for step in steady) if steady else 0.0
    has_marks = any(each.marks for each in processes)
    own = OWN_SECONDS + (MARKS_SECONDS if has_marks else 0.0)
    said: Dict[str, bool] = {
        "no optimiser's step was seen: a step is a backward pass, so accumulation does not show": not all(
            run.by_steps for run in training
        ),
        "the script reads its loader in a thread of its own: waiting for it is unknown": any(
            run.threaded for run in training
        ),
        "no DataLoader of torch is read in training: waiting and samples are unknown, and the first step's begin": any(
            run.loader is None and not run.threaded for run in training
        ),
        "several loaders are read side by side: samples are those of one of them": any(
            run.companions for run in training
        ),
        "{} of {} ranks were seen: samples are theirs alone".format(len(ranks), processes[0].world): len(ranks)
        < processes[0].world,
        "CUDA is used: what steps wait for is not known from the host, whose times hold for whole spans": found.queued,
        "the observer's file reached its limit: later steps are missing": any(each.full for each in processes),
        "torch.compile was at work after the warm-up too: steps {}".format(
            sum(step.compiled for step in found.steps[found.warm_up :])
        ): any(step.compiled for step in found.steps[found.warm_up :]),
        OWN.format(usual * 1e3, "some " if has_marks else "", own * 1e6, own / usual if usual else 0.0): 0.0
        < usual
        < own / OWN_SHARE,
    }
    return [sentence for sentence, applies in said.items() if applies]


def _notes_of_device(passes: Sequence[_Pass], processes: Sequence[Process]) -> List[str]:
    """Return what marks in the GPU's queue could not tell, in sentences."""
    training = [each for each in passes if each.run.training and each.clock is not None]
    notes = [ENDED.format(each.marks_ended) for each in processes if each.marks_ended][:1]
    if not all(each.copies for each in training):
        notes.append("copies to the GPU are not told apart: they are in compute")
    if any(each.run.rows[0].worked_at is None for each in training):
        notes.append("batches are fetched ahead: their copies to the GPU may be in the rest of the loop")
    if any(each.split is not None and each.split.launch_seconds is None for each in training):
        notes.append("whether the GPU waits for launches is not certain: the host shows too few moments of a step")
    return notes
