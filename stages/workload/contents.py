"""What this environment holds: Python, torch with CUDA, cuDNN and NCCL if there is one, every installed distribution.

    python -m stages.workload.contents --output contents.json

Runs inside images: Python 3.7 syntax, standard library, and torch where it is installed.
"""

import argparse
import gc
import hashlib
import importlib
import os
import platform
import re
import sys
from pathlib import Path
from typing import Any, Dict, Optional, Tuple

from stages import codec, records
from stages.errors import FaceoffError, run_entry
from stages.workload import fat_binaries
from stages.workload.probes import files
from stages.workload.probes.guard import guarded

NOT_INSTALLED = "torch is not installed"
CUDA_SECONDS = 30.0  # newer torch asks the driver for its cards before it tells cuDNN's version


def main() -> int:
    parser = argparse.ArgumentParser()
    parser.add_argument("--output", type=Path, required=True)
    codec.write(parser.parse_args().output, read())
    sys.stdout.flush()
    os._exit(0)  # at once: torch takes seconds to end, and what was read is on the disk


def read() -> records.Contents:
    """Return what is installed for the Python that runs this. Raises FaceoffError where torch is broken."""
    torch = find_torch()
    cudnn, no_cudnn = guarded("cuDNN", torch.backends.cudnn.version, CUDA_SECONDS) if torch else (None, None)
    installed = packages()
    built_without = "torch was built without {}" if torch else NOT_INSTALLED
    return records.Contents(
        python=platform.python_version(),
        cuda_architectures=_cuda_architectures(torch),
        packages=installed,
        packages_sha256=fingerprint(installed),
        **files.known(
            {
                "torch": (str(torch.__version__) if torch else None, NOT_INSTALLED),
                "cuda": (torch.version.cuda if torch else None, built_without.format("CUDA")),
                "cudnn": (cudnn, no_cudnn or built_without.format("cuDNN")),
                "nccl": (_nccl(torch) if torch else None, built_without.format("NCCL")),
            }
        ),
    )


def find_torch() -> Optional[Any]:
    """Return the module, which takes seconds to import; None where it is not installed."""
    gc.disable()  # it would look through all that an import makes, and find nothing
    try:
        return importlib.import_module("torch")
    except ImportError as error:
        if isinstance(error, ModuleNotFoundError) and error.name == "torch":
            return None
        raise FaceoffError(f"torch is installed but does not import: {error}") from None
    finally:
        gc.enable()


def packages() -> Dict[str, str]:
    """Return the version of each distribution by its normalised name; the first on the path is what is imported."""
    found = {}  # type: Dict[str, str]
    for folder in map(Path, sys.path):
        try:
            entries = sorted([*folder.glob("*.dist-info"), *folder.glob("*.egg-info")])
        except OSError:  # a folder that root alone may look into: Python finds nothing there either
            continue
        for entry in entries:
            name, version = _distribution(entry)
            found.setdefault(re.sub("[-_.]+", "-", name).lower(), version)
    return dict(sorted(found.items()))


def fingerprint(installed: Dict[str, str]) -> str:
    """Return the sha256 of all names and versions."""
    lines = "".join(f"{name}=={version}\n" for name, version in sorted(installed.items()))
    return hashlib.sha256(lines.encode()).hexdigest()


def _cuda_architectures(torch: Any) -> Tuple[str, ...]:
    """Return what torch says that it was compiled for, with or without a card; before 1.3 its files say it."""
    if torch is None or torch.version.cuda is None:
        return ()
    if hasattr(torch._C, "_cuda_getArchFlags"):
        return tuple((torch._C._cuda_getArchFlags() or "").split())
    return fat_binaries.architectures(Path(torch.__file__).parent / "lib")


def _nccl(torch: Any) -> Optional[str]:
    """Return '2.30.7'. Before torch 1.10 it is a number: 2408 is 2.4.8 (nccl.h, NCCL_VERSION before 2.9)."""
    try:
        found = torch.cuda.nccl.version()
    except (AttributeError, RuntimeError):
        return None
    return ".".join(map(str, found if isinstance(found, tuple) else (found // 1000, found // 100 % 10, found % 100)))


def _distribution(entry: Path) -> Tuple[str, str]:
    """Return name and version of 'six-1.0.dist-info' or, as setuptools installed, of 'six-1.0-py3.7.egg-info'.

    Installed in place (`pip install -e`) it is 'six.egg-info', and the version stands inside.
    """
    name, _, version = entry.stem.partition("-")
    version = re.sub(r"-py\d[\d.]*(-.*)?$", "", version)
    if not version:
        metadata = dict(files.fields(entry / "PKG-INFO" if entry.is_dir() else entry))
        name, version = metadata.get("Name", name), metadata.get("Version", "unknown")
    return name, version


if __name__ == "__main__":
    run_entry(main)
