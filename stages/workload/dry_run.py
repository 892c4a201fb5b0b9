"""A few steps of a cell, to see what memory it takes, before the first cell is trained.

The cells are tried in a process beside this one: where it is killed for its memory, that is what it tells.

Runs inside images: Python 3.7 syntax.
"""

import dataclasses
import gc
import threading
import time
from pathlib import Path
from typing import Dict, Iterable, Iterator, List, NamedTuple, Optional, Tuple

from stages.records import Cell, Recipe
from stages.workload.measure.process import MeasuringProcess

STEPS = 2  # of an epoch
VALID_PHOTOS = 2  # predicting them takes less memory than training
EPOCHS = 2  # the first makes the optimiser's memory and chooses algorithms; the second is timed
LIMIT_SECONDS = 180.0  # that a cell may take, fastai's import included
WATCH_SECONDS = 0.05  # between two looks at the memory
PROC = Path("/proc")

Setting = Tuple[str, int]  # precision and batch size


class DryRun(NamedTuple):
    """What a few steps of one cell took."""

    memory_bytes: Optional[int]  # of the process and its loader's, at the most that was seen; None: could not be seen
    gpu_memory_bytes: Optional[int]  # that torch took from the card, at most
    gpu_total_bytes: Optional[int]  # of the card or, where it is divided, of the instance: as torch tells
    step_seconds: Optional[float]  # the loader's part left out
    start_seconds: Optional[float]  # to import and prepare; next to nothing where an earlier run imported it all
    unsupported: Optional[str]  # why this image can't train at that precision
    failure: Optional[str]  # how it ended, where it did not end well


def try_settings(image: str, recipe: Recipe, settings: Iterable[Setting]) -> Dict[Setting, DryRun]:
    """Train each setting's cell for a few steps; small batches first, so that none inherits what a larger one left."""
    tried = {}
    with MeasuringProcess() as process:
        for precision, batch_size in sorted(settings, key=lambda setting: setting[1]):
            arguments = {
                "image": image,
                "recipe": dataclasses.asdict(recipe),
                "precision": precision,
                "batch_size": batch_size,
            }
            tried[precision, batch_size] = _try(process, arguments)
    return tried


def _try(process: MeasuringProcess, arguments: dict) -> DryRun:
    failure = process.load(__name__, LIMIT_SECONDS)
    if failure:
        return DryRun(*[None] * 6, failure)
    with MemoryWatch(process.pid) as watch:
        told = process.run(__name__, "few_steps", arguments, LIMIT_SECONDS, LIMIT_SECONDS)
    answer = told.samples[0] if told.samples else {}
    peak = watch.peak_bytes or None  # a process has some: 0 is that of a kernel that does not tell
    return DryRun(
        peak, *(answer.get(key) for key in ("gpu", "gpu_total", "step", "start", "unsupported")), told.failure
    )


def few_steps(image: str, recipe: dict, precision: str, batch_size: int, seconds: float) -> Iterator[dict]:
    """In the other process: the real job with few photos, and no weights, which take as much memory untrained."""
    began = time.perf_counter()
    import torch

    from stages import codec
    from stages.workload import learners
    from stages.workload.clocks import peak_gpu_memory_bytes
    from stages.workload.photos import job_of

    gc.collect()  # what an earlier setting left
    if torch.cuda.is_available():
        torch.cuda.empty_cache()
        torch.cuda.reset_max_memory_allocated()
    learner = learners.find()
    unsupported = learner.unsupported(precision)
    if unsupported:
        yield {"unsupported": unsupported}
        return
    whole = codec.decode(
        Recipe, dict(recipe, unfrozen_learning_rates=list(recipe["unfrozen_learning_rates"])), "recipe"
    )
    job, _ = job_of(Cell(image, precision, batch_size, 1), whole)
    train, valid = job.train[: STEPS * batch_size], job.valid[:VALID_PHOTOS]
    learner.import_fastai()
    learner.prepare(
        job._replace(
            recipe=dataclasses.replace(whole, frozen_epochs=0, unfrozen_epochs=EPOCHS),
            photos=[job.photos[index] for index in train + valid],
            valid=list(range(len(train), len(train) + len(valid))),
            weights=None,
        )
    )
    start = time.perf_counter() - began
    split = learner.run_phase("unfrozen")[-1].split
    step = (split.copy_seconds + split.compute_seconds + split.other_seconds) / split.steps
    total = torch.cuda.get_device_properties(0).total_memory if torch.cuda.is_available() else None
    yield {"gpu": peak_gpu_memory_bytes(), "gpu_total": total, "step": step, "start": start}


class MemoryWatch:
    """The most memory that a process and its descendants were seen to hold together; shared pages count once."""

    def __init__(self, pid: int) -> None:
        self.peak_bytes = 0
        self._pid = pid
        self._ended = threading.Event()
        self._thread = threading.Thread(target=self._watch, daemon=True)

    def __enter__(self) -> "MemoryWatch":
        self._thread.start()
        return self

    def __exit__(self, *error: object) -> None:
        self._ended.set()
        self._thread.join()

    def _watch(self) -> None:
        while not self._ended.wait(WATCH_SECONDS):
            self.peak_bytes = max(self.peak_bytes, sum(_memory_bytes(pid) for pid in _family(self._pid)))


def _family(pid: int) -> List[int]:
    """The process and its descendants."""
    found = [pid]
    for each in found:
        for task in (PROC / str(each) / "task").glob("*"):
            found.extend(int(child) for child in _text(task / "children").split())
    return found


def _memory_bytes(pid: int) -> int:
    """Its proportional share of the pages that it holds (proc(5), smaps_rollup, since Linux 4.14); 0 where it ended."""
    for line in _text(PROC / str(pid) / "smaps_rollup").splitlines():
        if line.startswith("Pss:"):
            return int(line.split()[1]) * 1024
    return 0


def _text(path: Path) -> str:
    try:
        return path.read_text()
    except OSError:
        return ""
