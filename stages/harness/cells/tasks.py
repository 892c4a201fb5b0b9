"""What supervisors inside images are told: a Task for a stage of a cell, an ImageTask for an image's profile."""

import dataclasses
import datetime
import os
from collections.abc import Mapping
from pathlib import Path

from stages import codec, records
from stages.harness.environments import cards, commands, definition
from stages.harness.environments.interpreter import LIBRARIES
from stages.harness.params import jobs
from stages.harness.params.schema import Params
from stages.harness.results import read
from stages.records import Cell, ImageTask, Result, Session, Task

TO_BE_MEASURED = ("missing", "refused", "trained")  # of a cell


def task(cell: Cell, stage: str, params: Params) -> Task:
    """Return what the supervisor is told of the cell's stage. Raises RecordError where a record is missing."""
    job, variant = codec.read(records.JOB_PATH, records.Job), params.variants[cell.variant]
    template, root = (job.train if stage == "train" else job.evaluate), Path.cwd()
    values = {
        jobs.GPUS: str(variant.gpus),
        "repeat": str(cell.repeat),
        "seed": str(job.seed + cell.repeat),
        "output": str(root / cell.output_dir),
        "state": str(root / cell.state_dir),
    }
    return Task(
        cell=cell,
        stage=stage,
        command=jobs.command(template, variant.parameters, values) if template else (),
        job=job,
        belongs=read.belongs(params, job)[cell.image, cell.variant],
        gpu_uuids=cards.handed(params, root) or (),
        session_ends_at=_session_ends_at(params),
        ceilings=not _has_ceilings(cell, params),
        remeasure=params.compare.remeasure,
        libraries=_libraries(cell.image, {**params.env, **variant.env}),
        ranks=variant.gpus if stage == "train" and not jobs.launches_itself(job.train) else 1,
    )


def image_task(image: str, params: Params, in_container: bool) -> ImageTask:
    """Return what profile and preflight inside the image are told; runs the job's `estimate` for each variant."""
    job = codec.read(records.JOB_PATH, records.Job)
    measure = jobs.load(params.job, Path()).measure
    needs = {name: commands.estimate(params, image, name, Path()).shm_bytes for name in params.variants}
    cells = [Cell(image, variant, params.repeats[0]) for variant in params.variants]
    return ImageTask(
        image=image,
        job=job,
        cells=tuple(task(cell, "train", params) for cell in cells),
        shm_bytes={name: need for name, need in needs.items() if need is not None},
        gpus=params.container.gpus,
        gpu_uuids=cards.handed(params, Path()) or (),
        measure=jobs.command(measure, {}, {}) if measure else None,
        measure_seconds=params.profile.measure_seconds,
        session_max_hours=params.session.max_hours,
        cells_left=_cells_left(params),
        in_container=in_container,
        libraries=_libraries(image, params.env),
    )


def _libraries(image: str, also: Mapping[str, str]) -> str | None:
    """Return the shell's LD_LIBRARY_PATH where an interpreter is without: its driver's libraries may lie there."""
    found = definition.load(image, Path())
    is_lost = not found.needs_engine and LIBRARIES not in {**found.env, **also}
    return os.environ.get(LIBRARIES) or None if is_lost else None


def _has_ceilings(cell: Cell, params: Params) -> bool:
    """Whether another repeat of the setting has measured them: once is enough to explain by, and takes time."""
    others = (dataclasses.replace(cell, repeat=each) for each in params.repeats if each != cell.repeat)
    found = (codec.find(each.result_path("train"), Result) for each in others)
    return any(each is not None and each.ceilings is not None for each in found)


def _cells_left(params: Params) -> dict[str, int]:
    """Return for each variant how many cells, of all images, have no result that counts."""
    left = dict.fromkeys(params.variants, 0)
    for each in read.read_all(params):
        left[each.cell.variant] += each.status in TO_BE_MEASURED
    return left


def _session_ends_at(params: Params) -> float | None:
    if params.session.max_hours is None:
        return None
    began_at = codec.read(records.SESSION_PATH, Session).began_at
    return datetime.datetime.fromisoformat(began_at).timestamp() + params.session.max_hours * 3600
