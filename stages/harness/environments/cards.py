"""The cards that jobs get: container.gpus of params.yaml and the shell's CUDA_VISIBLE_DEVICES, as UUIDs.

Both kinds of environment are told the same cards by the same names, so that every image trains on the card that was
meant.
"""

import os
from collections.abc import Mapping
from pathlib import Path

from stages import codec, records
from stages.errors import FaceoffError
from stages.harness.params.schema import Params
from stages.records import Gpu, Hardware, Machine
from stages.visible_cards import INSTANCE, ORDER, PCI_ORDER, VISIBLE, hides_all, named, visible

ALL, AUTO, NONE = "all", "auto", "none"
# There where an NVIDIA driver is loaded: on Linux, and on the Linux of Windows, whose /dev/dxg any GPU has.
DEVICES = (Path("/dev/nvidiactl"), Path("/usr/lib/wsl/lib/nvidia-smi"))
CAPABILITIES = {"NVIDIA_DRIVER_CAPABILITIES": "compute,utility"}
DO_WITHOUT = "set container.gpus: auto in params.yaml to run on the CPU"


def has_driver() -> bool:
    """Whether an NVIDIA driver is loaded, whether or not it answers."""
    return any(device.exists() for device in DEVICES)


def choose(choice: str, hardware: Hardware, environment: Mapping[str, str]) -> tuple[str, ...]:
    """Return UUIDs of the cards that jobs get, in their order; none, too, where a driver is loaded and tells of none.

    A card that params.yaml names is taken whatever the shell hides; `auto` and `all` are what the shell leaves visible.
    Raises FaceoffError where a card that is asked for is not there.
    """
    if choice == NONE:
        return ()
    if choice not in (AUTO, ALL):
        return (_named(choice, hardware),)
    if choice == ALL and not hardware.gpus and not has_driver():
        raise FaceoffError(
            f"container.gpus is 'all', but this machine has no GPU: {hardware.gpus_reason}: install the driver or mend "
            f"it, or {DO_WITHOUT}"
        )
    wanted, uuids = environment.get(VISIBLE), [gpu.uuid for gpu in hardware.gpus]
    if hides_all(wanted):
        if choice == ALL:
            raise FaceoffError(
                f"container.gpus is 'all', but {VISIBLE}={wanted} hides every card: unset it, or {DO_WITHOUT}"
            )
        return ()
    found = visible(wanted, uuids, _has_instances(hardware))
    if not found and wanted is not None and any(uuids):
        raise FaceoffError(
            f"{VISIBLE}={wanted} names no card of this machine, which has {_listed(hardware)}: correct it, or unset it"
        )
    return found


def check_still_there(before: Machine | None, now: Hardware) -> None:
    """Raise FaceoffError where cards that this machine had do not answer any more, so that nothing is measured without.

    A card that somebody has taken out or exchanged is another machine, and no error.
    """
    if before is None or not before.hardware.gpus:
        return
    silent = [gpu for gpu in now.gpus if gpu.uuid is None]
    uuids = [gpu.uuid for gpu in now.gpus]
    missing = [uuid for uuid in before.job_gpus if uuid not in uuids and not uuid.startswith(INSTANCE)]
    if now.gpus and not (silent and missing):
        return
    if now.gpus:
        what, why = f"card {missing[0]} has", silent[0].absent["uuid"]
    else:
        what, why = "the NVIDIA driver has", str(now.gpus_reason)
    raise FaceoffError(
        f"{what} stopped answering: {why}; see what nvidia-smi says and mend the driver, then run again: what is "
        f"measured stays as it is (for cards that are gone for good, delete {records.MACHINE_PATH}; to measure on the "
        "CPU, container.gpus: none in params.yaml)"
    )


def of_jobs(machine: Machine) -> tuple[Gpu, ...]:
    """Return the cards that jobs get; all where they tell no UUIDs, and all in parts (MIG) where jobs get a part."""
    gpus = machine.hardware.gpus
    if any(uuid.startswith(INSTANCE) for uuid in machine.job_gpus):
        return tuple(gpu for gpu in gpus if gpu.mig)
    if not any(gpu.uuid for gpu in gpus):
        return gpus
    return tuple(gpu for uuid in machine.job_gpus for gpu in gpus if gpu.uuid == uuid)


def handed(params: Params, root: Path) -> tuple[str, ...] | None:
    """Return UUIDs of the cards that an image gets, by the machine's record; None: none; empty: all, of unknown UUID.

    Where the machine was not looked at yet, what is known is whether a driver is loaded.
    """
    choice = params.container.gpus
    if choice == NONE:
        return None
    machine = codec.find(root / records.MACHINE_PATH, Machine)
    if choice not in (ALL, AUTO):
        if machine is None:
            raise FaceoffError(
                f"container.gpus is {choice!r}, and which card that is is not known yet: run `make preflight`"
            )
        return (_named(choice, machine.hardware),)
    if machine is not None and machine.job_gpus:
        return machine.job_gpus
    is_hidden = hides_all(os.environ.get(VISIBLE)) or (machine and any(gpu.uuid for gpu in machine.hardware.gpus))
    if has_driver() and not is_hidden:
        return ()
    if choice == ALL:
        raise FaceoffError(f"container.gpus is 'all', but no NVIDIA driver is loaded here: install it, or {DO_WITHOUT}")
    return None


def variables(gpus: tuple[str, ...] | None) -> dict[str, str]:
    """Return what tells CUDA, and a container runtime that hands out cards unasked, which cards a job gets."""
    if gpus is None:
        return {VISIBLE: "", ORDER: PCI_ORDER, "NVIDIA_VISIBLE_DEVICES": "void"}
    if gpus:
        listed = ",".join(gpus)
        return {VISIBLE: listed, ORDER: PCI_ORDER, "NVIDIA_VISIBLE_DEVICES": listed, **CAPABILITIES}
    shell = {VISIBLE: os.environ[VISIBLE]} if VISIBLE in os.environ else {}  # that much is meant, if not known
    return {**shell, ORDER: PCI_ORDER, **CAPABILITIES}


def _named(choice: str, hardware: Hardware) -> str:
    """Return the UUID of the card that params.yaml names by index or UUID."""
    uuid = named(choice, [gpu.uuid for gpu in hardware.gpus], _has_instances(hardware))
    if uuid is None:
        has = f"has {_listed(hardware)}" if hardware.gpus else f"shows none: {hardware.gpus_reason}"
        raise FaceoffError(
            f"container.gpus is {choice!r}, but this machine {has}: name one of its cards by index or UUID, as "
            "`nvidia-smi -L` lists them"
        )
    return uuid


def _has_instances(hardware: Hardware) -> bool:
    return any(gpu.mig for gpu in hardware.gpus)


def _listed(hardware: Hardware) -> str:
    """List the cards: '0 Tesla T4 (GPU-…), 1 …'."""
    return ", ".join(f"{at} {gpu.name or 'of unknown name'} ({gpu.uuid})" for at, gpu in enumerate(hardware.gpus))
