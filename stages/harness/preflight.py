"""What could keep a face-off from running, told from the host before the first image is built: facts in, checks out.

What only an image's own torch can tell is looked at inside it, by stages/preflight_inside.py.
"""

import dataclasses
from collections.abc import Iterable, Iterator, Mapping, Sequence
from pathlib import Path

from stages import checks, needs
from stages.checks import amount
from stages.harness.images import Definition
from stages.harness.params import ContainerParams, DatasetParams, Params, amount_bytes, size_bytes
from stages.records import Check, Gpu, Image, Machine

RESERVE_BYTES = 500 * 10**6  # that a disk should have left: logs, results, what else is written meanwhile
# The archive of the real photos and of others of the set. fastai's is kept beside what comes out of it; Kaggle's is in
# kagglehub's cache, in the home folder, and not counted.
REAL_PHOTOS_BYTES = 839_285_364
DRAWN_PHOTO_BYTES = 22_000  # mean of 60
# A trained model's file, as torch.save writes the parameters of body and head.
MODEL_BYTES = {
    "resnet18": 46_911_543,
    "resnet34": 87_403_639,
    "resnet50": 102_813_355,
    "resnet101": 179_085_703,
    "resnet152": 241_939_491,
    "tf_efficientnet_lite0": 19_044_187,
}
# What a cell under way keeps: the weights and Adam's two moments of each; twice, while one file replaces the other.
CHECKPOINT_MODELS = 6


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
class Situation:
    """What is found on the host."""

    machine: Machine
    has_driver: bool  # an NVIDIA driver is loaded, whether or not it answers
    images: tuple[ImageState, ...]
    engine: str | None  # why no Docker engine answers; None where one does, or none is needed
    engine_disk: Disk | None  # None without an engine
    checkout_disk: Disk
    has_photos: bool  # the download stage is through
    models: int  # that are there already
    doubts: tuple[str, ...]  # what of the machine's present state would spoil a timing
    setting_seconds: Mapping[str, float]  # what a cell of the setting took when it was last measured


def look_over(params: Params, found: Situation) -> tuple[Check, ...]:
    """Every check, in the order in which a reader can act on them."""
    return (
        *engine(found),
        *gpus(params.container.gpus, found),
        *shared_memory(params, found),
        *container_limits(params.container, found),
        *disks(params, found),
        *checks.idle(found.doubts),
        *session(params, found.setting_seconds),
    )


def engine(found: Situation) -> Iterator[Check]:
    contained = [image.name for image in found.images if not image.definition.on_host]
    if not contained:
        return
    needed = f"one, for {', '.join(contained)}"
    if found.engine is None:
        yield checks.passed("Docker engine", needed, "it answers")
    else:
        yield Check("Docker engine", "failed", needed, "none", found.engine)


def gpus(choice: str, found: Situation) -> Iterator[Check]:
    """Whether the cards that params ask for are there, and whether each image can drive them."""
    hardware = found.machine.hardware
    if choice == "all" and not hardware.gpus:
        advice = "install the driver or mend it, or set container.gpus: auto in params.yaml to run on the CPU"
        why = hardware.gpus_reason or "none"
        yield Check("GPUs", "failed", "at least one: container.gpus is 'all'", why, advice)
    if choice == "auto" and found.has_driver and not hardware.gpus:
        advice = "see what nvidia-smi says and mend the driver, or set container.gpus: none in params.yaml"
        yield Check("GPUs", "warning", "an answer of the driver that is loaded", hardware.gpus_reason or "none", advice)
    if choice != "none":
        for image in found.images:
            yield from named(image.name, _least_bad(capability(image, hardware.gpus)))
            yield from named(image.name, driver(image, hardware.gpus))


def capability(image: ImageState, cards: Iterable[Gpu]) -> list[Check]:
    """By what torch says it was compiled for, once the image is made; before, by what its image.yaml states."""
    if image.made is not None and image.made.contents.cuda_architectures:
        return [checks.capability(gpu, image.made.contents.cuda_architectures) for gpu in cards]
    stated = image.definition.compute_capabilities
    return [checks.capability_in_range(gpu, *stated) for gpu in cards] if stated else []


def driver(image: ImageState, cards: Sequence[Gpu]) -> list[Check]:
    """The driver is the same for all cards."""
    built_with = cuda(image)
    return [] if built_with is None else [checks.driver(gpu, built_with) for gpu in cards[:1]]


def cuda(image: ImageState) -> str | None:
    """The CUDA that the image's torch was built with; None without one, or where that is not known yet."""
    stated = image.made.contents.cuda if image.made else image.definition.expects.cuda
    return None if stated == "none" else stated


def _least_bad(found: list[Check]) -> list[Check]:
    """A card that will not run is no obstacle as long as another one does, but the job must not get it."""
    if all(each.status == "failed" for each in found):
        return found
    advice = "torch may pick this card: for image host, CUDA_VISIBLE_DEVICES can hide it; else take it out"
    return [
        dataclasses.replace(each, status="warning", advice=advice) if each.status == "failed" else each
        for each in found
    ]


def named(image: str, found: Iterable[Check]) -> Iterator[Check]:
    return (dataclasses.replace(each, name=f"{image}: {each.name}") for each in found)


def shared_memory(params: Params, found: Situation) -> Iterator[Check]:
    """The size of /dev/shm in each image against each batch size."""
    gpus_wanted = bool(found.machine.hardware.gpus) and params.container.gpus != "none"
    for image in found.images:
        on_host = image.definition.on_host
        limits = found.machine.hardware.limits
        there = limits.shm_bytes if on_host else size_bytes(params.container.shm_size)
        for batch_size in params.batch_sizes:
            if image.fastai is None:
                name = f"{image.name}: shared memory, batch size {batch_size}"
                yield checks.not_checked(name, "depends on its fastai", "not known before the image is made")
                continue
            kind = needs.learner_kind(image.fastai)
            on_gpu = gpus_wanted and cuda(image) is not None
            check = checks.shared_memory(kind, on_gpu, batch_size, params.recipe, there, not on_host)
            yield from named(image.name, [check])


def container_limits(container: ContainerParams, found: Situation) -> Iterator[Check]:
    """container.cpus and container.memory against the machine."""
    if all(image.definition.on_host for image in found.images):
        return
    cpus, memory = found.machine.hardware.cpu.logical_cpus, found.machine.hardware.memory_bytes
    if container.cpus is not None and cpus is not None:
        name, needed = "container's CPUs", f"{container.cpus:g}: container.cpus"
        if container.cpus <= cpus:
            yield checks.passed(name, needed, str(cpus))
        else:
            yield Check(name, "failed", needed, str(cpus), f"container.cpus: {cpus} in params.yaml, or null: no limit")
    if container.memory is not None and memory is not None:
        wanted = size_bytes(container.memory)
        name, needed = "container's memory", f"{amount(wanted)}: container.memory"
        if wanted <= memory:
            yield checks.passed(name, needed, amount(memory))
        else:
            advice = "this limits nothing: lower container.memory in params.yaml, or set it to null"
            yield Check(name, "warning", needed, amount(memory), advice)


def disks(params: Params, found: Situation) -> Iterator[Check]:
    """Room for the photos and models in the checkout, and for the images where Docker keeps them."""
    photos = 0 if found.has_photos else data_bytes(params.dataset)
    cells = max(0, len(params.cells()) - found.models)
    models = cells * MODEL_BYTES[params.recipe.arch]
    checkpoint = CHECKPOINT_MODELS * MODEL_BYTES[params.recipe.arch] if cells else 0
    needed = f"{amount(photos)} for photos, {amount(models)} for {cells} models, {amount(checkpoint)} for a checkpoint"
    yield _room("disk of the checkout", needed, photos + models + checkpoint, found.checkout_disk)
    missing = [image for image in found.images if not image.here and not image.definition.on_host]
    if missing and found.engine_disk is not None:
        shared = found.engine_disk.device is not None and found.engine_disk.device == found.checkout_disk.device
        yield _room_for_images(missing, found.engine_disk, photos + models + checkpoint if shared else 0)


def data_bytes(dataset: DatasetParams) -> int:
    """What the photos take, at most, with what is kept of their download; a user's own folder is linked or copied."""
    if dataset.source == "synthetic":
        return (dataset.train_photos + dataset.valid_photos) * DRAWN_PHOTO_BYTES
    if dataset.source == "folder":
        files = Path(dataset.folder or "").expanduser().glob("**/*")
        return sum(each.stat().st_size for each in files if each.is_file())
    return REAL_PHOTOS_BYTES * (2 if dataset.source == "fastai" else 1)


def _room_for_images(missing: list[ImageState], disk: Disk, besides_bytes: int) -> Check:
    """`besides_bytes`: what else will be written to the same disk."""
    sizes = [image_bytes(image) for image in missing]
    total = sum(size or 0 for size in sizes)
    unknown = [image.name for image, size in zip(missing, sizes, strict=True) if size is None]
    needed = f"{amount(total)} for images" + (f", without {', '.join(unknown)}, of unknown size" if unknown else "")
    needed += f", besides {amount(besides_bytes)} for the checkout on the same disk" if besides_bytes else ""
    found = _room("disk of Docker's images", needed, total + besides_bytes, disk)
    if unknown and found.status == "passed":
        return checks.not_checked(found.name, needed, found.found)
    return found


def image_bytes(image: ImageState) -> int | None:
    """What the image takes on Docker's disk: as it did when it was made last, or as its image.yaml states."""
    if image.made is not None:
        return image.made.size_bytes
    return None if image.definition.size is None else amount_bytes(image.definition.size)


def _room(name: str, needed: str, wanted_bytes: int, disk: Disk) -> Check:
    if disk.free_bytes is None:
        return checks.not_checked(name, needed, _free(disk))
    if disk.free_bytes >= wanted_bytes + (RESERVE_BYTES if wanted_bytes else 0):
        return checks.passed(name, needed, _free(disk))
    short = wanted_bytes + RESERVE_BYTES - disk.free_bytes
    return Check(name, "failed", needed, _free(disk), f"make room for {amount(short)} more, or move it to another disk")


def _free(disk: Disk) -> str:
    if disk.free_bytes is None:
        return f"{disk.path}: {disk.reason}"
    return f"{amount(disk.free_bytes)} free at {disk.path}"


def session(params: Params, setting_seconds: Mapping[str, float]) -> Iterator[Check]:
    """The session's limit against the length of the run, as far as cells like these were measured before."""
    if params.session.max_hours is None:
        return
    cells = params.cells()
    known = [setting_seconds[cell.setting] for cell in cells if cell.setting in setting_seconds]
    name, limit = "session", f"{params.session.max_hours:g} h: session.max_hours"
    if not known:
        needed = "the length of the run, told by cells that were measured before"
        yield checks.not_checked(name, needed, f"none was measured on this machine yet; {limit}")
        return
    hours, longest = sum(known) / len(known) * len(cells) / 3600, max(known) / 3600
    needed = f"{hours:.1f} h for {len(cells)} cells, {longest:.1f} h for the longest, by what {len(known)} took before"
    if longest / (params.recipe.frozen_epochs + params.recipe.unfrozen_epochs) > params.session.max_hours:
        advice = "not one epoch would end in time: lower recipe.size or take a machine without such a limit"
        yield Check(name, "failed", needed, limit, advice)
    elif hours > checks.SESSION_SHARE * params.session.max_hours:
        advice = "keep metrics/, models/ and dvc.lock, and run `make repro` again in the next session: it goes on"
        yield Check(name, "warning", needed, limit, advice)
    else:
        yield checks.passed(name, needed, limit)
