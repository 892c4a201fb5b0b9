"""The environment as the job sees it, as far as it stays the same from run to run.

torch, where there is one, is imported and asked in a child: a library that crashes or a driver that hangs is told in
one line.

Runs inside images: Python 3.7 syntax; torch in the child, and pynvml where it is installed.
"""

import os
import time
from typing import NamedTuple, Optional, Tuple

from stages.errors import FaceoffError
from stages.records import DATA_DIR, Contents, Facts
from stages.units import amount
from stages.workload import contents
from stages.workload.probes import files, hardware, variables
from stages.workload.probes.guard import guarded

SOFTWARE_SECONDS = 300.0  # to import it from a slow disk, and to look at it
DEVICE_SECONDS = 30.0  # for CUDA, which wakes every card first


class Software(NamedTuple):
    """What only Python and torch can tell."""

    contents: Contents
    device: Optional[str]
    torch_threads: Optional[int]
    import_seconds: float


def look(image: str) -> Tuple[Facts, float]:
    """Return the facts, and what of the time went to imports.

    Raises FaceoffError where torch is broken or CUDA hangs: as would the job.
    """
    seen = hardware.look(DATA_DIR)
    answer, reason = guarded("the look at torch", _software, SOFTWARE_SECONDS)
    software, problem = answer or (None, reason)
    if software is None:
        raise FaceoffError(f"image {image}: {problem}")
    facts = Facts(
        image=image,
        variables=variables.look(os.environ),
        hardware=seen,
        contents=software.contents,
        **files.known(
            {
                "device": (software.device, contents.NOT_INSTALLED),
                "gpu_uuid": (None, "torch computes on no GPU"),
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
    elif facts.device == "cpu":
        why = facts.hardware.gpus_reason or "torch finds no CUDA"
        device = "CPU {}, since {}".format(facts.hardware.cpu.model or "of unknown name", why)
    return "{}; {:g} of {} CPUs, {}, /dev/shm {}".format(
        device,
        limits.usable_cpus,
        facts.hardware.cpu.logical_cpus or "?",
        "no memory limit" if limits.memory_bytes is None else f"{amount(limits.memory_bytes)} of memory",
        "of unknown size" if limits.shm_bytes is None else amount(limits.shm_bytes),
    )


def _software() -> Tuple[Optional[Software], Optional[str]]:
    """Return what Python and torch tell, or why nothing is told; runs in a guard's child."""
    began = time.perf_counter()
    try:
        torch = contents.find_torch()
        import_seconds = time.perf_counter() - began
        if torch is None:
            return Software(contents.read(), None, None, import_seconds), None
        device, problem = guarded("CUDA", _device_name, DEVICE_SECONDS)
        if device is None:
            advice = "see what nvidia-smi says and mend the driver, or set container.gpus: none in params.yaml"
            return None, f"{problem}; {advice}"
        return Software(contents.read(), device, torch.get_num_threads(), import_seconds), None
    except FaceoffError as error:
        return None, str(error)


def _device_name() -> str:
    """Return what torch computes on: 'cpu', or the name of its first GPU."""
    torch = contents.find_torch()
    return torch.cuda.get_device_name(0) if torch.cuda.is_available() else "cpu"


def _glibc() -> Optional[str]:
    try:
        return (os.confstr("CS_GNU_LIBC_VERSION") or "").replace("glibc ", "") or None
    except (ValueError, OSError):  # another C library
        return None
