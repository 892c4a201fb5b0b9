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
from typing import Any, Dict, Optional

from stages import records
from stages.errors import FaceoffError, run_entry


def main() -> int:
    parser = argparse.ArgumentParser()
    parser.add_argument("--output", type=Path, required=True)
    records.write(parser.parse_args().output, read())
    return 0


def read() -> records.Contents:
    """What is installed for the Python that runs this. Raises FaceoffError where torch or fastai is broken."""
    torch = _module("torch")
    packages = _packages()
    lines = "".join("{}=={}\n".format(name, version) for name, version in sorted(packages.items()))
    return records.Contents(
        python=platform.python_version(),
        torch=_version(torch),
        torchvision=_version(_module("torchvision")),
        fastai=_version(_module("fastai")),
        cuda=torch.version.cuda if torch else None,
        cudnn=torch.backends.cudnn.version() if torch else None,
        packages=packages,
        packages_sha256=hashlib.sha256(lines.encode()).hexdigest(),
    )


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
    for folder in sys.path:
        for entry in sorted(Path(folder).glob("*.dist-info")):
            name, _, version = entry.name[: -len(".dist-info")].partition("-")
            found.setdefault(re.sub("[-_.]+", "-", name).lower(), version)
    return dict(sorted(found.items()))


if __name__ == "__main__":
    run_entry(main)
