"""What preflight finds on the host before it judges: images, engine, disks, results. Facts; no opinion of them."""

import dataclasses
import importlib.metadata
import os
import shutil
from collections.abc import Callable, Mapping
from pathlib import Path

from stages import codec, records
from stages.codec import RecordError
from stages.errors import FaceoffError
from stages.harness import sources
from stages.harness.environments import images, launch
from stages.harness.environments.docker_engine import DockerEngine
from stages.harness.environments.images import Definition
from stages.harness.params.schema import Params
from stages.harness.results.read import read_all
from stages.harness.sources import photos
from stages.records import Image, Machine

PATIENCE_SECONDS = 5  # with an engine that does not answer


@dataclasses.dataclass(frozen=True)
class ImageState:
    """An image of params.yaml."""

    name: str
    definition: Definition
    made: Image | None  # what the image stage made of it; None where it has not run
    here: bool  # whether it can be run as it is
    fastai: str | None  # that it holds, or is expected to


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

    doubts: tuple[str, ...]  # what of the machine's present state would spoil a timing
    shm_free_bytes: int | None  # of the machine's own /dev/shm


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
    cache_disk: Disk | None  # of kagglehub's cache; None where nothing will be written to it
    has_photos: bool  # the download stage is through
    has_weights: bool  # likewise, or none are needed
    models: int  # that are there already
    measured: int  # cells whose results are there and count
    setting_seconds: Mapping[str, float]  # what a cell of the setting took when it was last measured


def look(wanted: Params, look_at_moment: Callable[[], Moment], root: Path) -> Situation:
    """What is found on this machine, of which stages.machine has written the record."""
    definitions = {name: images.load(name, root) for name in wanted.images}
    engine, problem = None, None
    try:
        engine = DockerEngine(PATIENCE_SECONDS)
        engine.remove_left_over(root)  # before the machine is looked at, whether it is idle
    except FaceoffError as error:
        problem = str(error)
    if all(each.on_host for each in definitions.values()):  # what is left of a run with other images is in the way too
        engine, problem = None, None
    has_photos = photos.written(sources.pick(wanted.dataset, records.DATA_DIR), records.PHOTOS_DIR)
    taken = _cell_seconds(wanted)
    weights = records.WEIGHTS_DIR / f"{wanted.recipe.arch}.pth"
    return Situation(
        machine=codec.read(records.MACHINE_PATH, Machine),
        moment=look_at_moment(),
        has_driver=launch.wants_gpus("auto"),
        images=tuple(_image(name, each, engine) for name, each in definitions.items()),
        engine=problem,
        engine_disk=_engine_disk(engine) if engine else None,
        checkout_disk=_disk(root),
        cache_disk=None if has_photos or wanted.dataset.source != "kaggle" else _disk(_nearest(_kaggle_cache())),
        has_photos=has_photos,
        has_weights=weights.exists() or not wanted.recipe.pretrained,
        models=sum(any(cell.model_dir.glob("*")) for cell in wanted.cells()),
        measured=sum(map(len, taken.values())),
        setting_seconds={setting: sum(each) / len(each) for setting, each in taken.items()},
    )


def _image(name: str, definition: Definition, engine: DockerEngine | None) -> ImageState:
    try:
        made = codec.read(records.image_path(name), Image)
    except RecordError:  # not made yet, or by another version of faceoff
        made = None
    if definition.on_host:
        return ImageState(name, definition, made, True, importlib.metadata.version("fastai"))
    here = bool(made and made.reference and engine and engine.find(made.reference))
    return ImageState(name, definition, made, here, made.contents.fastai if made else definition.expects.fastai)


def _engine_disk(engine: DockerEngine) -> Disk:
    if not engine.is_local():  # a folder of the same name here would be another one
        return Disk("Docker's images", None, None, "on the machine that DOCKER_HOST names")
    return _disk(engine.folder())


def _disk(folder: Path) -> Disk:
    try:
        return Disk(str(folder), shutil.disk_usage(folder).free, folder.stat().st_dev, None)
    except OSError as error:
        return Disk(str(folder), None, None, f"not to be seen from here ({error.strerror})")


def _kaggle_cache() -> Path:
    return Path(os.environ.get("KAGGLEHUB_CACHE") or Path.home() / ".cache/kagglehub")


def _nearest(folder: Path) -> Path:
    """The folder, or the nearest above it that is there."""
    return next(each for each in (folder.absolute(), *folder.absolute().parents) if each.exists())


def _cell_seconds(wanted: Params) -> dict[str, list[float]]:
    """What the cells of each setting took, by the results that are there and still count."""
    try:
        results = read_all(wanted)
    except RecordError:  # no data set yet, or another version's
        return {}
    taken: dict[str, list[float]] = {}
    for result in results:
        if result.train is not None and result.evaluate is not None:
            seconds = result.train.wall_seconds + result.evaluate.wall_seconds
            taken.setdefault(result.cell.setting, []).append(seconds)
    return taken
