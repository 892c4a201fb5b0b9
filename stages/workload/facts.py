"""The environment as the job sees it, as far as it stays the same from run to run.

torch, where there is one, is imported and asked in another process: a library that crashes or a driver that hangs is
told in one line. Of a profile, it is the one that measures next, and has torch then.

Runs inside images: Python 3.7 syntax; torch in the child, and pynvml where it is installed.
"""

import dataclasses
import os
import time
from typing import Any, Iterator, NamedTuple, Optional, Sequence, Tuple

from stages import codec, variables
from stages.errors import FaceoffError
from stages.records import DATA_DIR, Contents, Facts
from stages.units import amount
from stages.visible_cards import CARD, INSTANCE, VISIBLE
from stages.workload import contents
from stages.workload.measure.process import MeasuringProcess
from stages.workload.probes import files, hardware
from stages.workload.probes.guard import guarded

SOFTWARE_SECONDS = 300.0  # to import it from a slow disk, and to look at it
CPU = "cpu"
DEVICE_SECONDS = 30.0  # for CUDA, which wakes every card first


class Device(NamedTuple):
    """What torch computes on."""

    name: str  # 'cpu', or the GPU's
    uuid: Optional[str]  # of the GPU, where this torch tells it


class Software(NamedTuple):
    """What only Python and torch can tell."""

    contents: Contents
    device: Optional[Device]
    torch_threads: Optional[int]
    import_seconds: float


def look(image: str, process: Optional[MeasuringProcess] = None) -> Tuple[Facts, float]:
    """Return the facts, and what of the time went to imports.

    `process`: that is to import torch; None: one of its own. Raises FaceoffError where torch is broken or CUDA hangs:
    as would the job.
    """
    seen = hardware.look(DATA_DIR, visible=os.environ.get(VISIBLE))
    if process is None:
        answer, reason = guarded("the look at torch", lambda: _software(DEVICE_SECONDS), SOFTWARE_SECONDS)
        software, problem = answer or (None, reason)
    else:
        software, problem = _asked(process)
    if software is None:
        raise FaceoffError(f"image {image}: {problem}")
    device = software.device
    facts = Facts(
        image=image,
        variables=variables.look(os.environ),
        hardware=seen,
        contents=software.contents,
        **files.known(
            {
                "device": (device and device.name, contents.NOT_INSTALLED),
                "gpu_uuid": gpu_uuid(device, [gpu.uuid for gpu in seen.gpus], os.environ.get(VISIBLE)),
                "os": (hardware.os_name(), "/etc/os-release gives no PRETTY_NAME"),
                "glibc": (_glibc(), "not glibc"),
                "torch_threads": (software.torch_threads, contents.NOT_INSTALLED),
            }
        ),
    )
    return facts, software.import_seconds


def describe(facts: Facts) -> str:
    """Return 'CPU AMD EPYC; 2 of 2 CPUs, no memory limit, /dev/shm 1 GiB'."""
    limits = facts.hardware.limits
    device = f"GPU {facts.device}"
    if facts.device is None:
        device = "device not known: {}".format(facts.absent["device"])
    elif facts.device == CPU:
        why = facts.hardware.gpus_reason or "torch finds no CUDA"
        device = "CPU {}, since {}".format(facts.hardware.cpu.model or "of unknown name", why)
    return "{}; {:g} of {} CPUs, {}, /dev/shm {}".format(
        device,
        limits.usable_cpus,
        facts.hardware.cpu.logical_cpus or "?",
        "no memory limit" if limits.memory_bytes is None else f"{amount(limits.memory_bytes)} of memory",
        "of unknown size" if limits.shm_bytes is None else amount(limits.shm_bytes),
    )


def _asked(process: MeasuringProcess) -> Tuple[Optional[Software], Optional[str]]:
    """Return what `answers` tells in the process that measures, or why nothing is told."""
    outcome = process.run(__name__, "answers", {}, DEVICE_SECONDS, SOFTWARE_SECONDS)
    if not outcome.samples:
        return None, f"the look at torch: {outcome.failure}"
    document, problem = outcome.samples[0]
    if document is None:
        return None, problem
    found, device, torch_threads, import_seconds = document
    known = codec.decode(Contents, found, "contents")  # type: Contents
    return Software(known, None if device is None else Device(*device), torch_threads, import_seconds), None


def answers(seconds: float) -> Iterator[Any]:
    """Yield what `_software` returns, in JSON's types. `seconds`: for CUDA."""
    software, problem = _software(seconds)
    yield software and [dataclasses.asdict(software.contents), *software[1:]], problem


def _software(device_seconds: float) -> Tuple[Optional[Software], Optional[str]]:
    """Return what Python and torch tell, or why nothing is told; runs in another process."""
    began = time.perf_counter()
    try:
        torch = contents.find_torch()
        import_seconds = time.perf_counter() - began
        if torch is None:
            return Software(contents.read(), None, None, import_seconds), None
        device, problem = guarded("CUDA", _device, device_seconds)
        if device is None:
            advice = "see what nvidia-smi says and mend the driver, or set container.gpus: none in params.yaml"
            return None, f"{problem}; {advice}"
        return Software(contents.read(), device, torch.get_num_threads(), import_seconds), None
    except FaceoffError as error:
        return None, str(error)


def gpu_uuid(
    device: Optional[Device], uuids: Sequence[Optional[str]], wanted: Optional[str]
) -> Tuple[Optional[str], str]:
    """Return the UUID of the GPU that torch computes on, and why it is not known where it is not.

    `uuids`: of the cards that the driver shows. `wanted`: the value of CUDA_VISIBLE_DEVICES.
    """
    if device is None:
        return None, contents.NOT_INSTALLED
    if device.name == CPU:
        return None, "torch computes on no GPU"
    first = (wanted or "").split(",")[0].strip()
    if device.uuid is not None:
        # torch tells it without its begin, which says whether it is a card or a part of one (MIG).
        return first if first == INSTANCE + device.uuid else CARD + device.uuid, ""
    known = first in uuids
    return (first if known else None), "this torch does not tell it, and CUDA_VISIBLE_DEVICES names no card by its UUID"


def _device() -> Device:
    torch = contents.find_torch()
    if not torch.cuda.is_available():
        return Device(CPU, None)
    uuid = getattr(torch.cuda.get_device_properties(0), "uuid", None)
    return Device(torch.cuda.get_device_name(0), None if uuid is None else str(uuid))


def _glibc() -> Optional[str]:
    try:
        return (os.confstr("CS_GNU_LIBC_VERSION") or "").replace("glibc ", "") or None
    except (ValueError, OSError):  # another C library
        return None
