"""The cards that a job was given, and whether they are there: asked for and not there is a failure, never a silent CPU.

Runs inside images: Python 3.7 syntax, standard library only.
"""

import os
from typing import Dict, NamedTuple, Optional, Sequence, Tuple, Union

from stages import checks
from stages.codec import read
from stages.records import Conditions, Facts, Gpu, GpuState, Image, ImageTask, Task, Variant, facts_path, image_path
from stages.visible_cards import INSTANCE, VISIBLE, hides_all, visible
from stages.workload.probes import gpus

AUTO, NONE = "auto", "none"  # of container.gpus; all others ask for a card
ON_CPU = "set container.gpus: none in params.yaml to run on the CPU"
MEND = f"see what nvidia-smi says and mend the driver, or {ON_CPU}"
CDI = "use Docker with the NVIDIA Container Toolkit, or a Podman that hands out cards by CDI (4.3 does not), or "
Card = Union[Gpu, GpuState]


class Given(NamedTuple):
    """The cards that an image was given, and how it runs."""

    image: str
    choice: str  # container.gpus
    uuids: Tuple[str, ...]  # empty: none, or of unknown UUID
    in_container: bool
    libraries: Optional[str]  # as in Task

    @classmethod
    def to(cls, task: Task) -> "Given":
        """Return what the cell's image was given."""
        image, choice = task.cell.image, task.belongs.container.gpus
        return cls(image, choice, task.gpu_uuids, in_container(image), task.libraries)

    @property
    def mend(self) -> str:
        """What to do where a card that the machine has can't be used in here."""
        if self.libraries is None:
            return MEND
        return (
            f"LD_LIBRARY_PATH={self.libraries} of this shell reaches no job, and the driver's libraries may lie there: "
            f"put it under `env` in docker/{self.image}/image.yaml; else {MEND}"
        )


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
    if known or not gpus.has_devices():
        return known
    named = tuple(each for each in given if each in (wanted or "").split(","))
    return named or given


def too_few(task: Task, cards: Sequence[Card]) -> Optional[Problem]:
    """Say that the variant asks for more cards than its command may see; none at all leave it to the CPU."""
    variant = task.belongs.variant
    wanted = variant.env.get(VISIBLE, os.environ.get(VISIBLE))
    found = seen(wanted, cards, task.gpu_uuids)
    count = min(len(found), 1) if any(each.startswith(INSTANCE) for each in found) else len(found)
    if not 0 < count < variant.gpus:
        return None
    check = checks.several_gpus(task.cell.variant, variant.gpus, count)
    said = f"gpus of variant {task.cell.variant} is {variant.gpus}, and {count} found: {', '.join(found)}"
    return Problem(said, str(check.advice), is_fatal=True)


def on_cpu(task: Task, uuids: Tuple[str, ...]) -> Tuple[str, ...]:
    """Say that a training's several processes had no card; `uuids`: of those that they could see."""
    count = task.belongs.variant.gpus
    if task.stage != "train" or count == 1 or uuids or (gpus.has_devices() and not hides_all(os.environ.get(VISIBLE))):
        return ()
    return (f"gpus is {count}, and there is no card: {count} processes on the CPU",)


def narrowed(environment: Dict[str, str], variant: Variant) -> Dict[str, str]:
    """Return the variables of a command that sees as many cards as its variant says, of those that it was given.

    A variant that chooses among the cards by itself, in its `env`, has what it says.
    """
    wanted, count = environment.get(VISIBLE), variant.gpus
    if VISIBLE in variant.env or hides_all(wanted) or (wanted is None and not gpus.has_devices()):
        return environment
    entries = map(str, range(count)) if wanted is None else wanted.split(",")[:count]
    return {**environment, VISIBLE: ",".join(entries)}


def missing(given: Given, cards: Sequence[Card], reason: Optional[str], wanted: Optional[str]) -> Optional[Problem]:
    """Say that the cards are not there which the image was given; None where one is, or none was to be expected.

    `reason`: why the driver shows none. `wanted`: the value of CUDA_VISIBLE_DEVICES; who hides the cards in a variant's
    `env` means it.
    """
    choice = given.choice
    if choice == NONE or cards or hides_all(wanted) or (gpus.has_devices() and not gpus.was_asked(reason)):
        return None
    if choice == AUTO and not given.uuids:
        return None
    here, advice = "this container has none: the engine dropped the request", CDI + ON_CPU
    if not given.in_container:
        here, advice = f"there is none: {reason}", given.mend
    which = ", ".join(given.uuids) or "a card"
    if choice != AUTO:
        return Problem(f"container.gpus asks for {which}: {here}", advice, is_fatal=True)
    # A driver of this machine that has answered before, for stage machine, has stopped: no image is to do without.
    return Problem(f"this machine has {which}, and {here}", advice, not given.in_container and gpus.was_asked(reason))


def unused(given: Given, facts: Facts, wanted: Optional[str]) -> Optional[Problem]:
    """Say that torch computes on the CPU though it was given a card, and why; None where it does not, or may.

    By `auto` it may where it was built for the CPU. Without torch it is the job that has to say so.
    """
    torch, cuda = facts.contents.torch, facts.contents.cuda
    choice = given.choice
    is_fatal = choice != AUTO
    if choice == NONE or facts.device != "cpu" or hides_all(wanted) or not (is_fatal or (cuda and given.uuids)):
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
    return Problem(f"{asked}, for which it was built ({cuda})", given.mend, is_fatal)


def of_image(task: ImageTask, facts: Facts) -> Optional[Problem]:
    """Return what is wrong with the cards of an image that was looked at."""
    hardware, wanted = facts.hardware, os.environ.get(VISIBLE)
    given = Given(task.image, task.gpus, task.gpu_uuids, task.in_container, task.libraries)
    return missing(given, hardware.gpus, hardware.gpus_reason, wanted) or unused(given, facts, wanted)


def stopped(before: Sequence[Card], after: Sequence[Card], reason: Optional[str]) -> Optional[str]:
    """Say that the driver, or a card, no longer answers which did before; None where all do, or are exchanged."""
    if before and not after:
        return f"the NVIDIA driver stopped answering: {reason}"
    uuids = {card.uuid for card in after}
    lost = [card.uuid for card in before if card.uuid is not None and card.uuid not in uuids]
    return f"card {lost[0]} stopped answering" if lost and len(after) < len(before) else None


def warnings(task: Task, wanted: Optional[str], before: Conditions, after: Conditions) -> Tuple[str, ...]:
    """Say that a command had no card though the machine has one, or that the driver went while it ran."""
    given, path = Given.to(task), facts_path(task.cell.image)
    problem = missing(given, before.gpus, before.gpus_reason, wanted)
    if problem is None and path.exists():
        problem = unused(given, read(path, Facts), wanted)
    found = (None if problem is None else problem.line, stopped(before.gpus, after.gpus, after.gpus_reason))
    return tuple(each for each in found if each is not None)
