"""The environment as the job sees it, inside an image: metrics/<image>/facts.json, what stays the same from run to run,
and metrics/<image>/profile.json, the same with what moves.

    python -m stages.inside cuda-10.0 -- python -m stages.profile --image cuda-10.0

Runs inside images: Python 3.7 syntax; standard library and torch, and pynvml where it is installed.
"""

import argparse
import os
import time
from typing import Optional, Tuple

import torch

from stages import codec, records
from stages.checks import amount
from stages.errors import run_entry
from stages.workload import contents, inputs, learners
from stages.workload.measure import measure
from stages.workload.probes import conditions, files, hardware


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--image", required=True, help="name of the image this runs in")
    image = parser.parse_args().image
    for path in (records.facts_path(image), records.profile_path(image)):
        if path.exists():
            path.unlink()
    contents.read()  # imports what it reads of, so that no import is in the time below
    began = time.perf_counter()
    facts = look(image)
    moment = conditions.look(records.DATA_DIR)
    looked_seconds = time.perf_counter() - began
    profile = records.Profile(facts, moment, measurements(facts), looked_seconds)
    codec.write(records.facts_path(image), facts)
    codec.write(records.profile_path(image), profile)
    print("{}: {}".format(image, describe(facts)))
    return 0


def measurements(facts: records.Facts) -> Tuple[records.Measurement, ...]:
    """What the machine can do with the recipe and the photos of this face-off."""
    params = inputs.read_params()
    seconds = params["profile"]["measure_seconds"]
    if seconds == 0:
        return ()
    manifest = codec.read(records.MANIFEST_PATH, records.Manifest)
    photos = [records.PHOTOS_DIR / photo.path for photo in manifest.photos]
    measured: Tuple[records.Measurement, ...] = measure(
        seconds, facts, inputs.read_recipe(), params["batch_sizes"], photos
    )
    return measured


def look(image: str) -> records.Facts:
    seen = hardware.look(records.DATA_DIR)  # first: it forks, and a CUDA context does not outlive that
    return records.Facts(
        image=image,
        device=learners.device_name(),
        torch_threads=torch.get_num_threads(),
        hardware=seen,
        contents=contents.read(),
        **files.known(
            {
                "os": (hardware.os_name(), "/etc/os-release gives no PRETTY_NAME"),
                "glibc": (_glibc(), "not glibc"),
            }
        ),
    )


def describe(facts: records.Facts) -> str:
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


def _glibc() -> Optional[str]:
    try:
        return (os.confstr("CS_GNU_LIBC_VERSION") or "").replace("glibc ", "") or None
    except (ValueError, OSError):  # another C library
        return None


if __name__ == "__main__":
    run_entry(main)
