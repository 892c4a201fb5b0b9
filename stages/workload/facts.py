"""The environment as the job sees it, as far as it stays the same from run to run.

torch and fastai are imported and asked in a child: a library that crashes or a driver that hangs is told in one line.

Runs inside images: Python 3.7 syntax; torch in the child, and pynvml where it is installed.
"""

import os
import time
from typing import NamedTuple, Optional, Tuple

from stages.errors import FaceoffError
from stages.records import DATA_DIR, Contents, Facts
from stages.units import amount
from stages.workload import contents
from stages.workload.probes import files, hardware
from stages.workload.probes.guard import guarded

SOFTWARE_SECONDS = 300.0  # to import it from a slow disk, and to look at it
DEVICE_SECONDS = 30.0  # for CUDA, which wakes every card first


class Software(NamedTuple):
    """What only torch and fastai can tell."""

    contents: Contents
    device: str
    torch_threads: int
    import_seconds: float


def look(image: str) -> Tuple[Facts, float]:
    """The facts, and what of the time went to imports.

    Raises FaceoffError where torch or fastai is broken or CUDA hangs: as would the job.
    """
    seen = hardware.look(DATA_DIR)
    told, reason = guarded("the look at torch and fastai", _software, SOFTWARE_SECONDS)
    software, problem = told or (None, reason)
    if software is None:
        raise FaceoffError("image {}: {}".format(image, problem))
    facts = Facts(
        image=image,
        device=software.device,
        torch_threads=software.torch_threads,
        hardware=seen,
        contents=software.contents,
        **files.known(
            {
                "os": (hardware.os_name(), "/etc/os-release gives no PRETTY_NAME"),
                "glibc": (_glibc(), "not glibc"),
            }
        ),
    )
    return facts, software.import_seconds


def describe(facts: Facts) -> str:
    """'CPU AMD EPYC; 2 of 2 CPUs, no memory limit, /dev/shm 1 GiB'"""
    limits = facts.hardware.limits
    device = "GPU {}".format(facts.device)
    if facts.device == "cpu":
        why = facts.hardware.gpus_reason or "torch finds no CUDA"
        device = "CPU {}, since {}".format(facts.hardware.cpu.model or "of unknown name", why)
    return "{}; {:g} of {} CPUs, {}, /dev/shm {}".format(
        device,
        limits.usable_cpus,
        facts.hardware.cpu.logical_cpus or "?",
        "no memory limit" if limits.memory_bytes is None else "{} of memory".format(amount(limits.memory_bytes)),
        "of unknown size" if limits.shm_bytes is None else amount(limits.shm_bytes),
    )


def _software() -> Tuple[Optional[Software], Optional[str]]:
    """In the child. Or why there is none."""
    began = time.perf_counter()
    try:
        contents.import_modules()
        import torch

        from stages.workload import learners

        import_seconds = time.perf_counter() - began
        device, problem = guarded("CUDA", learners.device_name, DEVICE_SECONDS)
        if device is None:
            advice = "see what nvidia-smi says and mend the driver, or set container.gpus: none in params.yaml"
            return None, "{}; {}".format(problem, advice)
        return Software(contents.read(), device, torch.get_num_threads(), import_seconds), None
    except FaceoffError as error:
        return None, str(error)
    except ImportError as error:
        return None, "torch does not import: {}".format(error)


def _glibc() -> Optional[str]:
    try:
        return (os.confstr("CS_GNU_LIBC_VERSION") or "").replace("glibc ", "") or None
    except (ValueError, OSError):  # another C library
        return None
