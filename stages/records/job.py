"""What is run: the job of a folder of jobs/, its metrics, and what a supervisor is told of one cell.

Runs inside images: Python 3.7 syntax, standard library only.
"""

import dataclasses
import json
from pathlib import Path
from typing import Any, Dict, Optional, Tuple

from stages.codec import check
from stages.records.cells import STAGES, Cell, Variant

JOB_PATH = Path("metrics/job.json")
SOURCE_PATH = Path("data/source.json")
MANIFEST_PATH = Path("data/manifest.json")
DATASET_PATH = Path("metrics/dataset.json")
WALL = ("wall",)  # the total is the wall clock of the training's command
BETTER = ("higher", "lower")


def data_dir(job: str) -> Path:
    """Folder that the job's download fills, and that its training reads."""
    return Path("data") / job


@dataclasses.dataclass(frozen=True)
class Metric:
    """A number with a unit and a better direction; a timed one is compared as a ratio, with a verdict."""

    unit: str  # 'share', 'seconds', 'bytes', 'samples/s' and 'points' are shown with their own format
    better: str  # of BETTER
    timed: bool = False

    def __post_init__(self) -> None:
        check("better", self.better, self.better in BETTER, "one of " + ", ".join(BETTER))
        check("unit", self.unit, bool(self.unit.strip()), "a unit in words, for example seconds, share or tokens/s")


@dataclasses.dataclass(frozen=True)
class Job:
    """metrics/job.json: what jobs/<name>/job.yaml says, with digests of all that it names."""

    name: str
    train: str  # the command as it is written, with its placeholders
    evaluate: Optional[str]  # likewise; None: the job has none
    files: Dict[str, str]  # path below the job's folder: sha256
    total: Tuple[str, ...]  # WALL, or names of spans
    metrics: Dict[str, Metric]  # the job's own, beside those that are there by themselves
    resumes: bool
    dry_run: bool
    observe: bool  # whether PyTorch is looked at from outside, where the training says no spans itself
    section_json: str  # the job's own section of params.yaml, as JSON with sorted keys
    seed: int  # repeat 1 has seed + 1, and so on

    @property
    def directory(self) -> Path:
        """The folder in which the job's commands run."""
        return Path("jobs") / self.name


@dataclasses.dataclass(frozen=True)
class Manifest:
    """data/manifest.json: the data that the job trains on, instead of a dependency on each of its files."""

    job: str
    sha256: str  # of the listing: names, sizes and, below data/<job>, contents
    files: int
    size_bytes: int


@dataclasses.dataclass(frozen=True)
class Container:
    """What params.yaml lets the cell's container have."""

    gpus: str
    shm_size: str
    memory: Optional[str]
    cpus: Optional[float]
    cpuset: Optional[str]


@dataclasses.dataclass(frozen=True)
class Belongs:
    """All that a result is of, and in metrics/<image>/<variant>/setting.json what it has to be of to count."""

    job_sha256: str  # fingerprint of the Job
    data_sha256: str  # of the Manifest
    machine_sha256: str  # fingerprint of the Machine
    image_sha256: Optional[str]  # likewise of the Image; None where there was no image.json
    facts_sha256: Optional[str]  # likewise of the image's Facts; None where there was no profile
    code_sha256: Optional[str]  # of what measures, stages/workload; None where stage `setting` has not run
    variant: Variant
    container: Container


@dataclasses.dataclass(frozen=True)
class Task:
    """models/<setting>/<repeat>.<stage>.task.json: all that the supervisor is told of a stage of a cell."""

    cell: Cell
    stage: str  # of STAGES
    command: Tuple[str, ...]  # with its placeholders filled in
    job: Job
    belongs: Belongs
    gpu_uuids: Tuple[str, ...]  # of the cards that the image was given
    session_ends_at: Optional[float]  # seconds since 1970; None: it does not end
    ceilings: bool  # whether the job is to measure what its loader and its compute reach alone
    remeasure: int  # how often it may be measured once more because it was disturbed
    libraries: Optional[str]  # LD_LIBRARY_PATH of the shell, where no job of the image gets it
    ranks: int  # processes that the command is started as, by torch's launcher; 1: it is started as it is

    def __post_init__(self) -> None:
        check("stage", self.stage, self.stage in STAGES, "one of " + ", ".join(STAGES))


@dataclasses.dataclass(frozen=True)
class ImageTask:
    """models/<image>.task.json: what profile and preflight inside an image are told."""

    image: str
    job: Job
    cells: Tuple[Task, ...]  # repeat 1 of each variant's training, for the dry-run
    shm_bytes: Dict[str, int]  # variant: what its batches need of /dev/shm, where the job says so
    gpus: str  # container.gpus
    gpu_uuids: Tuple[str, ...]  # of the cards that the image was given
    measure: Optional[Tuple[str, ...]]  # the job's own measurements; None: it has none
    measure_seconds: float
    session_max_hours: Optional[float]
    cells_left: Dict[str, int]  # variant: cells of all images that are still to be measured
    in_container: bool
    libraries: Optional[str]  # LD_LIBRARY_PATH of the shell, where no job of the image gets it


def image_task_path(image: str) -> Path:
    """Where the host leaves the ImageTask."""
    return Path("models") / "{}.task.json".format(image)


def cell_document(task: Task) -> Dict[str, Any]:
    """Return the content of FACEOFF_CELL: what a job may know of the cell that it is run for."""
    return {
        "job": task.job.name,
        "stage": task.stage,
        "image": task.cell.image,
        "variant": task.cell.variant,
        "repeat": task.cell.repeat,
        "seed": task.job.seed + task.cell.repeat,
        "parameters": task.belongs.variant.parameters,
        "gpus": task.belongs.variant.gpus,
        "section": json.loads(task.job.section_json),
        "session_ends_at": task.session_ends_at,
        "ceilings": task.ceilings,
    }
