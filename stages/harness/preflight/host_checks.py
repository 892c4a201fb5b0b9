"""What could keep a face-off from running, told from the host before the first image is built: facts in, checks out.

What only an image's own torch can tell is looked at inside it, by stages/preflight_inside.py.
"""

import dataclasses
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path

from stages import checks, needs
from stages.harness.params.schema import ContainerParams, DatasetParams, Params, amount_bytes, size_bytes
from stages.harness.preflight.findings import Disk, ImageState, Situation
from stages.harness.sources import layout
from stages.records import Check, Gpu
from stages.units import amount

RESERVE_BYTES = 500 * 10**6  # that a disk should have left: logs, results, what else is written meanwhile
# The archive of the real photos and of others of the set. fastai's is kept beside what comes out of it.
REAL_PHOTOS_BYTES = 839_285_364
KAGGLE_COPIES = 4  # of those in kagglehub's cache: the set holds each photo twice, and its archive lies beside at first
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
NO_CUDA = "none"  # as image.yaml says it


Besides = Sequence[tuple[Disk, int, str]]  # a disk, the bytes that will be written to it, and what they are


def look_over(params: Params, found: Situation) -> tuple[Check, ...]:
    """Every check, in the order in which a reader can act on them."""
    return (
        *engine(found),
        *gpus(params.container.gpus, found),
        *shared_memory(params, found),
        *container_limits(params.container, found),
        *disks(params, found),
        *checks.idle(found.moment.doubts),
        *session(params, found),
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
    if cuda(image) == NO_CUDA:
        return []
    if image.made is not None and image.made.contents.cuda_architectures:
        return [checks.capability(gpu, image.made.contents.cuda_architectures) for gpu in cards]
    stated = image.definition.compute_capabilities
    if stated:
        return [checks.capability_in_range(gpu, *stated) for gpu in cards]
    return [_not_before(f"compute capability of {gpu.title}", "compute_capabilities") for gpu in cards]


def driver(image: ImageState, cards: Sequence[Gpu]) -> list[Check]:
    """The driver is the same for all cards."""
    built_with = cuda(image)
    if built_with == NO_CUDA:
        return []
    if built_with is None:
        return [_not_before(f"driver of {gpu.title}", "expects.cuda") for gpu in cards[:1]]
    return [checks.driver(gpu, built_with) for gpu in cards[:1]]


def _not_before(name: str, key: str) -> Check:
    return checks.not_checked(
        name, "what its torch was built for", f"not known before it is made: no {key} in image.yaml"
    )


def cuda(image: ImageState) -> str | None:
    """The CUDA that the image's torch was built with, NO_CUDA without one; None where that is not known yet."""
    return image.made.contents.cuda or NO_CUDA if image.made else image.definition.expects.cuda


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
            on_gpu = gpus_wanted and cuda(image) not in (None, NO_CUDA)
            free = found.moment.shm_free_bytes if on_host else None
            check = checks.shared_memory(kind, on_gpu, batch_size, params.recipe, there, free, not on_host)
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
    """Room for the photos and models in the checkout, for Kaggle's download, and for images where Docker keeps them."""
    arch = MODEL_BYTES[params.recipe.arch]
    cells = max(0, len(params.cells()) - found.models)
    parts = {
        "photos": 0 if found.has_photos else data_bytes(params.dataset),
        "pretrained weights": 0 if found.has_weights else arch,
        f"{cells} models": cells * arch,
        "a checkpoint": CHECKPOINT_MODELS * arch if cells else 0,
    }
    # By file system, in the order in which it is written: what goes to the same one adds up.
    checkout = sum(parts.values())
    needed = ", ".join(f"{amount(size)} for {what}" for what, size in parts.items())
    yield _room("disk of the checkout", needed, checkout, found.checkout_disk)
    besides = [(found.checkout_disk, checkout, "the checkout")]
    if found.cache_disk is not None:
        cache = KAGGLE_COPIES * REAL_PHOTOS_BYTES
        needed = f"{amount(cache)} for Kaggle's archive and what comes out of it"
        yield _room_besides("disk of kagglehub's cache", needed, cache, found.cache_disk, besides)
        besides.append((found.cache_disk, cache, "kagglehub's cache"))
    missing = [image for image in found.images if not image.here and not image.definition.on_host]
    if missing and found.engine_disk is not None:
        yield _room_for_images(missing, found.engine_disk, besides)


def data_bytes(dataset: DatasetParams) -> int:
    """What the photos take, at most, with what is kept of their download; a user's own folder is copied."""
    if dataset.source == "synthetic":
        return (dataset.train_photos + dataset.valid_photos) * DRAWN_PHOTO_BYTES
    if dataset.source == "folder":
        return sum(each.stat().st_size for each in layout.files(Path(dataset.folder or "").expanduser()))
    return REAL_PHOTOS_BYTES * (2 if dataset.source == "fastai" else 1)


def _room_for_images(missing: list[ImageState], disk: Disk, besides: Besides) -> Check:
    sizes = [image_bytes(image) for image in missing]
    total = sum(size or 0 for size in sizes)
    unknown = [image.name for image, size in zip(missing, sizes, strict=True) if size is None]
    needed = f"{amount(total)} for images" + (f", without {', '.join(unknown)}, of unknown size" if unknown else "")
    found = _room_besides("disk of Docker's images", needed, total, disk, besides)
    if unknown and found.status == "passed":
        return checks.not_checked(found.name, found.needed, found.found)
    return found


def image_bytes(image: ImageState) -> int | None:
    """What the image takes on Docker's disk: as it did when it was made last, or as its image.yaml states."""
    if image.made is not None:
        return image.made.size_bytes
    return None if image.definition.size is None else amount_bytes(image.definition.size)


def _room_besides(name: str, needed: str, wanted_bytes: int, disk: Disk, besides: Besides) -> Check:
    """Likewise, with what else will be written to the same disk."""
    same = [(size, what) for other, size, what in besides if size and other.device == disk.device is not None]
    needed += "".join(f", besides {amount(size)} for {what} on the same disk" for size, what in same)
    return _room(name, needed, wanted_bytes + sum(size for size, _ in same), disk)


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


def session(params: Params, found: Situation) -> Iterator[Check]:
    """The session's limit against what is left of the run, as far as cells like these were measured before."""
    if params.session.max_hours is None:
        return
    cells = params.cells()
    known = [found.setting_seconds[cell.setting] for cell in cells if cell.setting in found.setting_seconds]
    if not known:
        needed = "the length of the run, told by cells that were measured before"
        limit = f"{params.session.max_hours:g} h: session.max_hours"
        yield checks.not_checked("session", needed, f"none was measured on this machine yet; {limit}")
        return
    left, longest = len(cells) - found.measured, max(known)
    whole = sum(known) / len(known) * left
    needed = (
        f"{whole / 3600:.1f} h for {left} cells, {longest / 3600:.1f} h for the longest, by what {found.measured} took"
    )
    epochs = params.recipe.frozen_epochs + params.recipe.unfrozen_epochs
    yield checks.session(params.session.max_hours, whole, longest / epochs, needed)
