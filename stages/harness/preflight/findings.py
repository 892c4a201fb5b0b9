"""What preflight finds on the host before it judges: images, engine, disks, results. Facts; no opinion of them."""

import dataclasses
import json
import shutil
from collections.abc import Callable, Mapping
from pathlib import Path

from stages import codec, records
from stages.codec import RecordError
from stages.contract import Estimate
from stages.errors import FaceoffError
from stages.harness.environments import cards, definition, venvs
from stages.harness.environments.definition import Definition
from stages.harness.environments.docker_engine import DockerEngine
from stages.harness.params import jobs
from stages.harness.params.schema import Params
from stages.harness.results import metrics, read
from stages.records import Cell, Check, Image, Machine

PATIENCE_SECONDS = 5  # with an engine that does not answer

Estimator = Callable[[str, str], Estimate]  # image, variant: what the job says that they need
GpuMemoryChecker = Callable[[Mapping[str, int]], tuple[Check, ...]]  # setting: bytes that it needs of its card


def no_cards(needs: Mapping[str, int]) -> tuple[Check, ...]:
    """Check none."""
    return ()


@dataclasses.dataclass(frozen=True)
class ImageState:
    """An image of params.yaml."""

    name: str
    definition: Definition
    made: Image | None  # what the image stage made of it; None where it has not run
    here: bool  # whether it can be run as it is


@dataclasses.dataclass(frozen=True)
class Disk:
    """A file system that something will be written to."""

    path: str
    free_bytes: int | None  # to this user
    device: int | None  # the same for folders on the same file system
    reason: str | None  # why that is not known


@dataclasses.dataclass(frozen=True)
class Moment:
    """What moves, and is seen as inside an image: by stages/workload/probes."""

    warnings: tuple[str, ...]  # what of the machine's present state would spoil a timing
    shm_free_bytes: int | None  # of the machine's own /dev/shm
    variables: Mapping[str, str]  # of this shell, those that would steer speed and reach no job
    cpu_warnings: tuple[tuple[str, str], ...] = ()  # what of the processors makes timings unsteady, and what to do
    check_gpu_memory: GpuMemoryChecker = no_cards


@dataclasses.dataclass(frozen=True)
class JobState:
    """The job, and what it says that its cells need."""

    definition: jobs.Definition
    estimates: Mapping[str, Estimate]  # setting: of those that have cells left to measure
    no_estimate: str | None  # why the job does not say
    has_data: bool  # the download is through, for this job and this section of params.yaml
    elsewhere: Mapping[str, Disk]  # folder that an estimate names: the disk that it lies on


@dataclasses.dataclass(frozen=True)
class Measured:
    """What cells took, by the results that are there and still count."""

    cells: frozenset[Cell]
    setting_seconds: Mapping[str, float]  # mean of a setting's cells, training and evaluation
    span_seconds: Mapping[str, float]  # the longest span of a setting; 0 where the job reports none
    block_until: float = 0.0  # seconds since 1970: what begins later makes no pair with these cells


@dataclasses.dataclass(frozen=True)
class Situation:
    """What is found on the host."""

    machine: Machine
    moment: Moment
    has_driver: bool  # an NVIDIA driver is loaded, whether or not it answers
    images: tuple[ImageState, ...]
    engine: str | None  # why no Docker engine answers; None where one does, or none is needed
    engine_disk: Disk | None  # None without an engine
    checkout_disk: Disk
    job: JobState
    measured: Measured
    unenforced: tuple[str, ...] = ()  # of `container` in params.yaml, what the engine can't hold a container to


def look(wanted: Params, look_at_moment: Callable[[], Moment], estimator: Estimator, root: Path) -> Situation:
    """Look at this machine, of which stages.machine has written the record."""
    definitions = {name: definition.load(name, root).with_env(wanted.env) for name in wanted.images}
    engine, problem = look_at_engine(root, is_needed=any(each.needs_engine for each in definitions.values()))
    measured = look_at_results(wanted, root)
    return Situation(
        machine=codec.read(records.MACHINE_PATH, Machine),
        moment=look_at_moment(),
        has_driver=cards.has_driver(),
        images=tuple(_image(name, each, engine, root) for name, each in definitions.items()),
        engine=problem,
        engine_disk=_engine_disk(engine) if engine else None,
        checkout_disk=disk(root),
        job=look_at_job(wanted, measured, estimator, root),
        measured=measured,
        unenforced=engine.about().unenforced if engine else (),
    )


def look_at_engine(root: Path, is_needed: bool) -> tuple[DockerEngine | None, str | None]:
    """Return the engine where one is needed and can be used, and else why not.

    What a killed run with other images has left in it is in the way too.
    """
    try:
        engine = DockerEngine(PATIENCE_SECONDS)
        engine.remove_left_over(root)  # before the machine is looked at, whether it is idle
        if is_needed:
            engine.check_sees(root)
            return engine, None
    except FaceoffError as error:
        return None, str(error) if is_needed else None
    return None, None


def look_at_job(wanted: Params, measured: Measured, estimator: Estimator, root: Path) -> JobState:
    """Ask the job about each setting that has cells left to measure, if it can tell."""
    definition = jobs.load(wanted.job, root)
    estimates: dict[str, Estimate] = {}
    reason = None if definition.estimate else f"jobs/{wanted.job}/{jobs.DEFINITION} has no `estimate`"
    for cell in wanted.cells():
        if reason is None and cell not in measured.cells and cell.setting not in estimates:
            try:
                estimates[cell.setting] = estimator(cell.image, cell.variant)
            except FaceoffError as error:
                reason = str(error)
    folders = {folder for each in estimates.values() for folder in each.elsewhere_bytes}
    return JobState(
        definition=definition,
        estimates=estimates,
        no_estimate=reason,
        has_data=_has_data(wanted, root),
        elsewhere={folder: disk(_nearest(Path(folder).expanduser())) for folder in sorted(folders)},
    )


def look_at_results(wanted: Params, root: Path) -> Measured:
    """Read what the cells took that are measured already, by the job as it is now."""
    try:
        job, present = read.belongs_now(wanted, root)
    except RecordError:  # another version's
        return Measured(frozenset(), {}, {})
    noted = [(cell, present.get((cell.image, cell.variant))) for cell in wanted.cells()]
    results = [read.read(cell, each, job, root) for cell, each in noted if each]
    whole = [each for each in results if each.status == "ok"]
    taken: dict[str, list[float]] = {}
    longest: dict[str, float] = {}
    for each in whole:
        setting = each.cell.setting
        taken.setdefault(setting, []).append(sum(stage.wall_seconds for stage in each.stages))
        spans = [span.seconds for stage in each.stages for span in stage.spans]
        longest[setting] = max([*spans, longest.get(setting, 0.0)])
    means = {setting: sum(each) / len(each) for setting, each in taken.items()}
    return Measured(frozenset(each.cell for each in whole), means, longest, metrics.block_until(whole))


def _has_data(wanted: Params, root: Path) -> bool:
    """Whether the download stage has run for the job as it is now."""
    manifest = codec.find(root / records.MANIFEST_PATH, records.Manifest)
    job = codec.find(root / records.JOB_PATH, records.Job)
    if manifest is None or job is None:
        return False
    same = job.section_json == json.dumps(wanted.section, sort_keys=True)
    return same and manifest.job == job.name == wanted.job


def _image(name: str, definition: Definition, engine: DockerEngine | None, root: Path) -> ImageState:
    made = codec.find(records.image_path(name), Image)
    if definition.venv is not None:
        return ImageState(name, definition, made, venvs.made(definition.venv, root) is not None)
    if not definition.needs_engine:
        return ImageState(name, definition, made, definition.setup is None or made is not None)
    here = bool(made and made.reference and engine and engine.find(made.reference))
    return ImageState(name, definition, made, here)


def _engine_disk(engine: DockerEngine) -> Disk:
    if engine.socket is None:  # a folder of the same name here would be another one
        return Disk("Docker's images", None, None, "on the machine of the engine")
    return disk(engine.folder())


def disk(folder: Path) -> Disk:
    """Return the file system that the folder lies on."""
    try:
        return Disk(str(folder), shutil.disk_usage(folder).free, folder.stat().st_dev, None)
    except OSError as error:
        return Disk(str(folder), None, None, f"not to be seen from here ({error.strerror})")


def _nearest(folder: Path) -> Path:
    """Return the folder, or the nearest above it that is there."""
    return next(each for each in (folder.absolute(), *folder.absolute().parents) if each.exists())
