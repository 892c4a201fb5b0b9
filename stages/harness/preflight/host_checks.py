"""What could keep a face-off from running, told from the host before the first image is built: facts in, checks out.

What only an image's own packages can tell is looked at inside it, by stages/preflight_inside.py.
"""

import dataclasses
from collections.abc import Iterable, Iterator, Sequence
from typing import Any

from stages import checks
from stages.contract import Estimate
from stages.harness.environments import cards
from stages.harness.environments.contents import NONE
from stages.harness.params.schema import ContainerParams, Params, amount_bytes, size_bytes
from stages.harness.preflight.findings import Disk, ImageState, Situation
from stages.records import Check, Gpu
from stages.units import amount, listed, listing
from stages.visible_cards import VISIBLE

RESERVE_BYTES = 500 * 10**6  # that a disk should have left: logs, results, what else is written meanwhile
DOWNLOADED = 0.5  # of a virtual environment's size: what pip downloads for it, and deletes once all is installed
PIP_CACHE = "pip's cache keeps as much, unless PIP_NO_CACHE_DIR=1"
SHM_NEEDED = "what the job puts into /dev/shm"
Besides = Sequence[tuple[Disk, int, str]]  # a disk, the bytes that will be written to it, and what they are


def look_over(params: Params, found: Situation) -> tuple[Check, ...]:
    """Make every check, in the order in which a reader can act on them."""
    return (
        *engine(found),
        *shell(params, found),
        *gpus(params.container.gpus, found),
        *several_gpus(params, found),
        *shared_memory(params, found),
        *container_limits(params.container, found),
        *without_walls(params.container, found),
        *cpus_to_run_on(params.container, found),
        *disks(params, found),
        *gpu_memory(found),
        *checks.idle(found.moment.warnings),
        *checks.steady(found.moment.cpu_warnings),
        *session(params, found),
    )


def engine(found: Situation) -> Iterator[Check]:
    """Check that a Docker engine answers, where an image needs one."""
    contained = [image.name for image in found.images if image.definition.needs_engine]
    if not contained:
        return
    needed = f"one, for {', '.join(contained)}"
    if found.engine is None:
        yield checks.passed("Docker engine", needed, "it answers")
    else:
        yield Check("Docker engine", "failed", needed, "none that can be used", found.engine)


def shell(params: Params, found: Situation) -> Iterator[Check]:
    """Name the variables of this shell that would steer speed: they reach no job, and may have been meant to."""
    set_otherwise = {name for each in params.variants.values() for name in each.env}
    set_otherwise |= {name for image in found.images for name in image.definition.env}
    names = [name for name in found.moment.variables if name not in set_otherwise]
    if names:
        needed = "environment variables where each job gets them: `env` of a variant or of an image.yaml"
        said = (
            ", ".join(f"{name}={found.moment.variables[name]}" for name in names) + " in this shell, which reach no job"
        )
        yield Check("variables", "warning", needed, said, "put into `env` what the jobs should have")


def gpus(choice: str, found: Situation) -> Iterator[Check]:
    """Check that the driver answers where one is loaded, and that each image can drive the cards that jobs get."""
    hardware = found.machine.hardware
    if choice == cards.NONE:
        return
    if found.has_driver and not hardware.gpus:
        advice = "see what nvidia-smi says and mend the driver, or set container.gpus: none in params.yaml"
        yield Check("GPUs", "warning", "an answer of the driver that is loaded", hardware.gpus_reason or "none", advice)
    given = cards.of_jobs(found.machine)
    for image in found.images:
        yield from named(image.name, _least_bad(capability(image, given)))
        yield from named(image.name, driver(image, given))


def gpu_memory(found: Situation) -> tuple[Check, ...]:
    """Check that others leave enough of the jobs' cards, by what the job says that it needs."""
    needs = {setting: estimate.gpu_memory_bytes for setting, estimate in found.job.estimates.items()}
    return found.moment.check_gpu_memory({name: need for name, need in needs.items() if need is not None})


def several_gpus(params: Params, found: Situation) -> Iterator[Check]:
    """Check that variants which say `gpus` get as many cards. CUDA shows a process one part of a card (MIG) alone."""
    given = () if params.container.gpus == cards.NONE else cards.of_jobs(found.machine)
    count = min(len(given), 1) if any(gpu.mig for gpu in given) else len(given)
    for name, variant in params.variants.items():
        if variant.gpus > 1:
            yield checks.several_gpus(name, variant.gpus, count)
    most = max(variant.gpus for variant in params.variants.values())
    if count > most and not any(VISIBLE in variant.env for variant in params.variants.values()):
        left = f"{count}, of which jobs see the first{'' if most == 1 else f' {most}'} alone"
        advice = "write gpus beside what shall use more, or name the one to use in container.gpus"
        yield Check("GPUs left unused", "warning", f"{most} (gpus of the variants)", left, advice)


def capability(image: ImageState, given: Iterable[Gpu]) -> list[Check]:
    """Check each card by what torch says it was compiled for; before the image is made, by what image.yaml states."""
    if cuda(image) == NONE:
        return []
    if image.made is not None and image.made.contents.cuda_architectures:
        return [checks.capability(gpu, image.made.contents.cuda_architectures) for gpu in given]
    stated = image.definition.compute_capabilities
    if stated:
        return [checks.capability_in_range(gpu, *stated) for gpu in given]
    return [_not_before(f"compute capability of {gpu.title}", "compute_capabilities") for gpu in given]


def driver(image: ImageState, given: Sequence[Gpu]) -> list[Check]:
    """Check the driver, which is the same for all cards."""
    built_with = cuda(image)
    if built_with == NONE:
        return []
    if built_with is None:
        return [_not_before(f"driver of {gpu.title}", "expects.cuda") for gpu in given[:1]]
    return [checks.driver(gpu, built_with) for gpu in given[:1]]


def _not_before(name: str, key: str) -> Check:
    return checks.not_checked(
        name, "what its torch was built for", f"not known before it is made: no {key} in image.yaml"
    )


def cuda(image: ImageState) -> str | None:
    """Return the CUDA that the image's torch was built with, NONE without one; None where that is not known yet."""
    if image.made:
        return image.made.contents.cuda or NONE
    expected = image.definition.expects.get("cuda")
    return None if expected is None else str(expected)


def _least_bad(found: list[Check]) -> list[Check]:
    """Turn failures into warnings but for the first card, which a job takes that needs one."""
    advice = "a job that takes all its cards will fail: name one that runs as container.gpus in params.yaml"
    return [
        dataclasses.replace(each, status="warning", advice=advice) if index and each.status == "failed" else each
        for index, each in enumerate(found)
    ]


def named(image: str, found: Iterable[Check]) -> Iterator[Check]:
    """Put the image's name before that of each check."""
    return (dataclasses.replace(each, name=f"{image}: {each.name}") for each in found)


def shared_memory(params: Params, found: Situation) -> Iterator[Check]:
    """Check the size of /dev/shm in each image against what the job says that each variant needs of it."""
    for image in found.images:
        walled = image.definition.needs_engine
        there = size_bytes(params.container.shm_size) if walled else found.machine.hardware.limits.shm_bytes
        free = None if walled else found.moment.shm_free_bytes
        estimates = {each: found.job.estimates.get(f"{image.name}/{each}") for each in params.variants}
        sizes = {variant: each.shm_bytes for variant, each in estimates.items() if each is not None}
        for variant, size in sizes.items():
            if size is not None:
                yield from named(image.name, [checks.shared_memory(variant, size, there, free, walled)])
        unknown = [variant for variant, size in sizes.items() if size is None]
        if unknown:
            reason = f"the job's estimate of {', '.join(unknown)} does not say"
            yield from named(image.name, [checks.not_checked("shared memory", SHM_NEEDED, reason)])
    if found.job.no_estimate:
        yield checks.not_checked("shared memory", SHM_NEEDED, found.job.no_estimate)


def container_limits(container: ContainerParams, found: Situation) -> Iterator[Check]:
    """Check container.cpus and container.memory against the machine, and all limits against the engine."""
    if not any(image.definition.needs_engine for image in found.images):
        return
    dropped: dict[str, Any] = {key: None for key in ("cpus", "memory", "cpuset") if key in found.unenforced}
    for key in dropped:
        value = getattr(container, key)
        if value is not None:
            advice = (
                f"containers run without it: set container.{key} to null in params.yaml, or choose an engine that can "
                "(one that root runs; a rootless one needs cgroup 2 with its controllers delegated)"
            )
            unable = "an engine that can't limit it"
            yield Check(f"container's {key}", "warning", f"{value}: container.{key}", unable, advice)
    container = dataclasses.replace(container, **dropped)
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


def without_walls(container: ContainerParams, found: Situation) -> Iterator[Check]:
    """Say what of container.* no interpreter is held to; cpuset and gpus are the two that hold there too."""
    names = [image.name for image in found.images if not image.definition.needs_engine]
    if not names:
        return
    wanted = [f"container.{key} {getattr(container, key)}" for key in ("memory", "cpus") if getattr(container, key)]
    name, not_held = f"limits of {', '.join(names)}", "container.shm_size, a closed network, read-only folders"
    if not wanted:
        needed = "none but container.cpuset and container.gpus"
        yield checks.passed(name, needed, f"no container, and so none of {not_held}")
        return
    advice = "use container.cpuset, which holds without a container, set the others to null, or build or pull an image"
    said = f"no container, and so none of these; nor {not_held}"
    yield Check(name, "warning", " and ".join(wanted), said, advice)


def cpus_to_run_on(container: ContainerParams, found: Situation) -> Iterator[Check]:
    """Check that interpreters may run on each CPU of container.cpuset; of a container the engine says it."""
    names = [image.name for image in found.images if not image.definition.needs_engine]
    if container.cpuset is None or not names:
        return
    name, there = f"CPUs of {', '.join(names)}", found.machine.hardware.limits.cpuset
    wanted, needed = listed(container.cpuset), f"{container.cpuset}: container.cpuset"
    rest = listing({*wanted} & {*listed(there)})
    if listing({*wanted}) == rest:
        yield checks.passed(name, needed, there)
    else:
        advice = "set container.cpuset in params.yaml to null, " + (
            f'or to "{rest}"' if rest else "or to some of these"
        )
        yield Check(name, "failed", needed, f"{there}, which may be used here", advice)


def disks(params: Params, found: Situation) -> Iterator[Check]:
    """Check for room in the checkout, where the job says that it writes besides, and where Docker keeps images."""
    parts = _checkout_parts(params, found)
    # By file system, in the order in which it is written: what goes to the same one adds up.
    checkout = sum(size or 0 for size in parts.values())
    if parts:
        yield _room_for_checkout(parts, checkout, found)
    besides = [(found.checkout_disk, checkout, "the checkout")]
    for folder, disk in found.job.elsewhere.items():
        size = max(each.elsewhere_bytes.get(folder, 0) for each in found.job.estimates.values())
        needed = f"{amount(size)} for what the job writes to {folder}"
        yield _room_besides(f"disk of {folder}", needed, size, disk, besides)
        besides.append((disk, size, folder))
    missing = [image for image in found.images if not image.here]
    in_engine = [image for image in missing if image.definition.needs_engine]
    if in_engine and found.engine_disk is not None:
        yield _room_for_images("disk of Docker's images", in_engine, found.engine_disk, besides)
        besides.append((found.engine_disk, sum(image_bytes(each) or 0 for each in in_engine), "Docker's images"))
    on_disk = [image for image in missing if not image.definition.needs_engine]
    if on_disk:
        yield _room_for_venvs(on_disk, found.checkout_disk, besides)


def _checkout_parts(params: Params, found: Situation) -> dict[str, int | None]:
    """Return what will be written to the checkout, with its bytes, or None: not known. Empty where no cell is left."""
    definition, estimates = found.job.definition, found.job.estimates
    left = [cell for cell in params.cells() if cell not in found.measured.cells]
    if not left:
        return {}
    outputs = [estimates.get(cell.setting, Estimate()).output_bytes for cell in left]
    parts: dict[str, int | None] = {}
    if definition.download:
        parts["the job's data"] = 0 if found.job.has_data else _most(each.data_bytes for each in estimates.values())
    parts[f"outputs of {len(left)} cells"] = None if None in outputs else sum(each or 0 for each in outputs)
    if params.compare.remeasure and None not in outputs:
        parts["one more while a cell is measured once more"] = _most(outputs)
    if definition.resumes:
        parts["a checkpoint"] = _most(each.state_bytes for each in estimates.values())
    return parts


def _most(sizes: Iterable[int | None]) -> int | None:
    return max((each for each in sizes if each is not None), default=None)


def _room_for_checkout(parts: dict[str, int | None], wanted_bytes: int, found: Situation) -> Check:
    name, disk = "disk of the checkout", found.checkout_disk
    needed = ", ".join(f"{amount(size)} for {what}" for what, size in parts.items() if size is not None)
    unknown = [what for what, size in parts.items() if size is None]
    if not unknown:
        return _room(name, needed, wanted_bytes, disk)
    reason = found.job.no_estimate or "its estimate does not say"
    needed = f"{needed or amount(RESERVE_BYTES)}, without {' and '.join(unknown)}, of unknown size ({reason})"
    check = _room(name, needed, max(wanted_bytes, 1), disk)
    return checks.not_checked(name, needed, check.found) if check.status == "passed" else check


def _room_for_venvs(missing: list[ImageState], disk: Disk, besides: Besides) -> Check:
    """Check for room for all of them, and for what pip downloads of one: it is deleted before the next is made."""
    downloads = round(DOWNLOADED * max(image_bytes(image) or 0 for image in missing))
    text = f", {amount(downloads)} for downloads meanwhile ({PIP_CACHE})" if downloads else ""
    return _room_for_images("disk of virtual environments", missing, disk, besides, (downloads, text))


def _room_for_images(
    name: str, missing: list[ImageState], disk: Disk, besides: Besides, more: tuple[int, str] = (0, "")
) -> Check:
    sizes = [image_bytes(image) for image in missing]
    total = sum(size or 0 for size in sizes)
    unknown = [image.name for image, size in zip(missing, sizes, strict=True) if size is None]
    needed = f"{amount(total)} for images" + (f", without {', '.join(unknown)}, of unknown size" if unknown else "")
    found = _room_besides(name, needed + more[1], total + more[0], disk, besides)
    if unknown and found.status == "passed":
        return checks.not_checked(found.name, found.needed, found.found)
    return found


def image_bytes(image: ImageState) -> int | None:
    """Return what the image takes on Docker's disk: as when it was made last, or as its image.yaml states."""
    if image.made is not None:
        return image.made.size_bytes
    return None if image.definition.size is None else amount_bytes(image.definition.size)


def _room_besides(name: str, needed: str, wanted_bytes: int, disk: Disk, besides: Besides) -> Check:
    """Check for room, with what else will be written to the same disk."""
    known = disk.device is not None
    same = [(size, what) for other, size, what in besides if size and known and other.device == disk.device]
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
    """Check the session's limit against what is left of the run, as far as cells like these were measured before."""
    hours, measured = params.session.max_hours, found.measured
    if hours is None:
        return
    cells = params.cells()
    known = [measured.setting_seconds[cell.setting] for cell in cells if cell.setting in measured.setting_seconds]
    if not known:
        needed = "the length of the run, told by cells that were measured before"
        why = f"none was measured on this machine yet; {hours:g} h: session.max_hours"
        yield checks.not_checked("session", needed, why)
        return
    left, longest = len(cells) - len(measured.cells), max(known)
    whole = sum(known) / len(known) * left
    needed = (
        f"{whole / 3600:.1f} h for {left} cells, {longest / 3600:.1f} h for the longest, "
        f"by what {len(measured.cells)} took"
    )
    part, seconds = "cell", longest
    longest_span = max(measured.span_seconds.values(), default=0.0)
    if found.job.definition.resumes and longest_span:
        part, seconds = "span", longest_span
    yield checks.session(hours, whole, seconds, part, needed)
