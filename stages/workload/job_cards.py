"""The cards that a job was given, and whether they are there: asked for and not there is a failure, never a silent CPU.

Runs inside images: Python 3.7 syntax, standard library only.
"""

import os
from typing import NamedTuple, Optional, Sequence, Tuple, Union

from stages import checks
from stages.codec import read
from stages.records import Conditions, Facts, Gpu, GpuState, Image, ImageTask, Task, facts_path, image_path
from stages.visible_cards import INSTANCE, VISIBLE, hides_all, visible
from stages.workload.probes import gpus

AUTO, NONE = "auto", "none"  # of container.gpus; all others ask for a card
ON_CPU = "set container.gpus: none in params.yaml to run on the CPU"
CDI = "use Docker with the NVIDIA Container Toolkit, or a Podman that hands out cards by CDI (4.3 does not), or "
Card = Union[Gpu, GpuState]


class Problem(NamedTuple):
    """What is wrong with a job's cards."""

    found: str
    advice: str
    is_fatal: bool  # the job shall not do without

    @property
    def line(self) -> str:
        """Both in a line."""
        return f"{self.found}; {self.advice}"


def in_container(image: str) -> bool:
    """Whether the image runs in a container, by its record; not, where there is none yet."""
    path = image_path(image)
    return path.exists() and read(path, Image).reference is not None


def seen(wanted: Optional[str], cards: Sequence[Card], given: Tuple[str, ...]) -> Tuple[str, ...]:
    """Return UUIDs of the cards that a command can see whose environment has this value of CUDA_VISIBLE_DEVICES.

    `cards`: that the driver shows of them. `given`: UUIDs that the image was given; they are taken to be there where
    the driver can't be asked in here and a card's device is.
    """
    if hides_all(wanted):
        return ()
    known = tuple(card.uuid for card in cards if card.uuid is not None)
    if wanted is not None and INSTANCE in wanted:
        return visible(wanted, known, has_instances=True) if cards or gpus.has_devices() else ()
    return known or (given if gpus.has_devices() else ())


def missing(
    choice: str,
    given: Tuple[str, ...],
    cards: Sequence[Card],
    reason: Optional[str],
    wanted: Optional[str],
    in_container: bool,
) -> Optional[Problem]:
    """Say that the cards are not there which the image was given; None where one is, or none was to be expected.

    `reason`: why the driver shows none. `wanted`: the value of CUDA_VISIBLE_DEVICES; who hides the cards in an `env` of
    image.yaml or a variant means it.
    """
    if choice == NONE or cards or hides_all(wanted) or (gpus.has_devices() and not gpus.was_asked(reason)):
        return None
    if choice == AUTO and not given:
        return None
    here, advice = "this container has none: the engine dropped the request", CDI + ON_CPU
    if not in_container:
        here, advice = f"there is none: {reason}", f"see what nvidia-smi says and mend the driver, or {ON_CPU}"
    which = ", ".join(given) or "a card"
    if choice != AUTO:
        return Problem(f"container.gpus asks for {which}: {here}", advice, is_fatal=True)
    # A driver of this machine that has answered before, for stage machine, has stopped: no image is to do without.
    return Problem(f"this machine has {which}, and {here}", advice, not in_container and gpus.was_asked(reason))


def unused(choice: str, given: Tuple[str, ...], facts: Facts, wanted: Optional[str]) -> Optional[Problem]:
    """Say that torch computes on the CPU though it was given a card, and why; None where it does not, or may.

    By `auto` it may where it was built for the CPU. Without torch it is the job that has to say so.
    """
    torch, cuda = facts.contents.torch, facts.contents.cuda
    is_fatal = choice != AUTO
    if choice == NONE or facts.device != "cpu" or hides_all(wanted) or not (is_fatal or (cuda and given)):
        return None
    asked = f"container.gpus is {choice!r}, and torch {torch} finds no CUDA"
    if cuda is None:
        advice = "choose an image whose torch has it, or set container.gpus: auto in params.yaml"
        return Problem(f"{asked}: it was built without it", advice, is_fatal)
    for gpu in facts.hardware.gpus[:1]:
        check = checks.driver(gpu, cuda)
        if check.status == "failed":
            found = f"{asked}: it was built for {cuda}, which needs {check.needed}, and this is {gpu.driver}"
            return Problem(found, "update the driver, or choose an image with an older CUDA", is_fatal)
    advice = f"see what nvidia-smi says and mend the driver, or {ON_CPU}"
    return Problem(f"{asked}, for which it was built ({cuda})", advice, is_fatal)


def of_image(task: ImageTask, facts: Facts) -> Optional[Problem]:
    """Return what is wrong with the cards of an image that was looked at."""
    hardware, wanted = facts.hardware, os.environ.get(VISIBLE)
    absent = missing(task.gpus, task.gpu_uuids, hardware.gpus, hardware.gpus_reason, wanted, task.in_container)
    return absent or unused(task.gpus, task.gpu_uuids, facts, wanted)


def stopped(before: Sequence[Card], after: Sequence[Card], reason: Optional[str]) -> Optional[str]:
    """Say that the driver, or a card, no longer answers which did before; None where all do, or are exchanged."""
    if before and not after:
        return f"the NVIDIA driver stopped answering: {reason}"
    uuids = {card.uuid for card in after}
    lost = [card.uuid for card in before if card.uuid is not None and card.uuid not in uuids]
    return f"card {lost[0]} stopped answering" if lost and len(after) < len(before) else None


def warnings(task: Task, wanted: Optional[str], before: Conditions, after: Conditions) -> Tuple[str, ...]:
    """Say that a command had no card though the machine has one, or that the driver went while it ran."""
    choice, given, path = task.belongs.container.gpus, task.gpu_uuids, facts_path(task.cell.image)
    problem = missing(choice, given, before.gpus, before.gpus_reason, wanted, in_container(task.cell.image))
    if problem is None and path.exists():
        problem = unused(choice, given, read(path, Facts), wanted)
    found = (None if problem is None else problem.line, stopped(before.gpus, after.gpus, after.gpus_reason))
    return tuple(each for each in found if each is not None)
