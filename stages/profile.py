"""The environment as the job sees it, inside an image: metrics/<image>/profile.json.

    python -m stages.inside cuda-10.0 -- python -m stages.profile --image cuda-10.0

Runs inside images: Python 3.7 syntax; standard library and torch, and pynvml where it is installed.
"""

import argparse
import os
import platform
import shutil
from pathlib import Path
from typing import Any, Optional

import torch

from stages import records
from stages.errors import run_entry
from stages.workload import contents, learners, probes

SHM = Path("/dev/shm")  # noqa: S108 - where the loader's processes hand over batches, not a temporary file of ours


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--image", required=True, help="name of the image this runs in")
    image = parser.parse_args().image
    path = records.profile_path(image)
    if path.exists():
        path.unlink()
    profile = look(image)
    records.write(path, profile)
    print("{}: {}, {:g} usable CPUs".format(image, describe_device(profile), profile.usable_cpus))
    return 0


def look(image: str) -> records.Profile:
    gpus, gpus_reason = probes.gpus(_nvml())
    disk = shutil.disk_usage("data" if Path("data").is_dir() else ".")
    return records.Profile(
        image=image,
        contents=contents.read(),
        gpus=gpus,
        gpus_reason=gpus_reason,
        device=learners.device_name(),
        cpu=probes.cpu_name(probes.ROOT),
        usable_cpus=probes.usable_cpus(probes.ROOT, affinity=len(os.sched_getaffinity(0))),
        memory_bytes=probes.memory_bytes(probes.ROOT),
        memory_limit_bytes=probes.memory_limit_bytes(probes.ROOT),
        shm_bytes=_size_bytes(SHM),
        disk_total_bytes=disk.total,
        disk_free_bytes=disk.free,
        os=probes.os_name(probes.ROOT) or platform.platform(),
        kernel=platform.release(),
        torch_threads=torch.get_num_threads(),
    )


def describe_device(profile: records.Profile) -> str:
    if profile.device != "cpu":
        return "GPU {}".format(profile.device)
    return "CPU {}, since {}".format(profile.cpu or "of unknown name", profile.gpus_reason or "torch finds no CUDA")


def _size_bytes(folder: Path) -> Optional[int]:
    return shutil.disk_usage(str(folder)).total if folder.is_dir() else None


def _nvml() -> Any:
    try:
        import pynvml
    except ImportError:
        return None
    return pynvml


if __name__ == "__main__":
    run_entry(main)
