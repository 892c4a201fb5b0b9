"""What this environment holds: Python, torch, CUDA, cuDNN, fastai and every other distribution.

    python -m stages.workload.contents --output contents.json

Runs inside images: Python 3.7 syntax, standard library and torch.
"""

import argparse
import hashlib
import importlib
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

NOT_INSTALLED = "not installed"
CUDA_SECONDS = 30.0  # newer torch asks the driver for its cards before it tells cuDNN's version


def main() -> int:
    parser = argparse.ArgumentParser()
    parser.add_argument("--output", type=Path, required=True)
    codec.write(parser.parse_args().output, read())
    return 0


def import_modules() -> None:
    """All that `read` asks, which takes seconds. Raises FaceoffError where one of them is broken."""
    for name in ("torch", "PIL", "torchvision", "fastai"):
        _module(name)


def read() -> records.Contents:
    """What is installed for the Python that runs this. Raises FaceoffError where torch or fastai is broken."""
    torch, pillow = _module("torch"), _module("PIL")
    cudnn, no_cudnn = guarded("cuDNN", torch.backends.cudnn.version, CUDA_SECONDS) if torch else (None, None)
    packages = _packages()
    built_without = "torch was built without {}" if torch else "torch is not installed"
    lines = "".join("{}=={}\n".format(name, version) for name, version in sorted(packages.items()))
    return records.Contents(
        python=platform.python_version(),
        cuda_architectures=_cuda_architectures(torch),
        packages=packages,
        packages_sha256=hashlib.sha256(lines.encode()).hexdigest(),
        **files.known(
            {
                "torch": (_version(torch), NOT_INSTALLED),
                "torchvision": (_version(_module("torchvision")), NOT_INSTALLED),
                "fastai": (_version(_module("fastai")), NOT_INSTALLED),
                "cuda": (torch.version.cuda if torch else None, built_without.format("CUDA")),
                "cudnn": (cudnn, no_cudnn or built_without.format("cuDNN")),
                "nccl": (_nccl(torch), built_without.format("NCCL")),
                "pillow": (_version(pillow), NOT_INSTALLED),
                # It has the version of the Pillow that it was made from and '.post1'; Pillow never had such a version.
                "pillow_simd": (".post" in pillow.__version__ if pillow else None, "Pillow is not installed"),
            }
        ),
    )


def _cuda_architectures(torch: Any) -> Tuple[str, ...]:
    """What torch says that it was compiled for, with or without a card; before 1.3 it does not, but its files do."""
    if torch is None or torch.version.cuda is None:
        return ()
    if hasattr(torch._C, "_cuda_getArchFlags"):
        return tuple((torch._C._cuda_getArchFlags() or "").split())
    return fat_binaries.architectures(Path(torch.__file__).parent / "lib")


def _nccl(torch: Any) -> Optional[str]:
    """'2.30.7'. Before torch 1.10 a number: 2408 is 2.4.8 (nccl.h, NCCL_VERSION before 2.9)."""
    try:
        found = torch.cuda.nccl.version()
    except (AttributeError, RuntimeError):
        return None
    return ".".join(map(str, found if isinstance(found, tuple) else (found // 1000, found // 100 % 10, found % 100)))


def _module(name: str) -> Optional[Any]:
    """The module, None where it is not installed."""
    try:
        return importlib.import_module(name)
    except ImportError as error:
        if isinstance(error, ModuleNotFoundError) and error.name == name:
            return None
        raise FaceoffError("{} is installed but does not import: {}".format(name, error)) from None


def _version(module: Optional[Any]) -> Optional[str]:
    return str(module.__version__) if module else None


def _packages() -> Dict[str, str]:
    """Version of each distribution by its normalised name; the first on the path is the one that is imported."""
    found = {}  # type: Dict[str, str]
    for folder in map(Path, sys.path):
        for entry in sorted([*folder.glob("*.dist-info"), *folder.glob("*.egg-info")]):
            name, version = _distribution(entry)
            found.setdefault(re.sub("[-_.]+", "-", name).lower(), version)
    return dict(sorted(found.items()))


def _distribution(entry: Path) -> Tuple[str, str]:
    """Name and version, of a name like 'six-1.0.dist-info' or, of what setuptools installed, 'six-1.0-py3.7.egg-info'.

    Installed in place (`pip install -e`) it is 'six.egg-info', and the version stands inside.
    """
    name, _, version = entry.stem.partition("-")
    version = re.sub(r"-py\d[\d.]*(-.*)?$", "", version)
    if not version:
        told = dict(files.fields(entry / "PKG-INFO" if entry.is_dir() else entry))
        name, version = told.get("Name", name), told.get("Version", "unknown")
    return name, version


if __name__ == "__main__":
    run_entry(main)
