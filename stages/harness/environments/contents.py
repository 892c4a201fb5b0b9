"""What an image holds: read by its own Python, and checked against what its image.yaml expects."""

import contextlib
import re
import tempfile
from collections.abc import Iterator, Mapping
from pathlib import Path

from stages import codec, records
from stages.errors import FaceoffError

SPECIAL = ("python", "torch", "cuda", "cudnn")  # of `expects`: not looked up among the packages
NONE = "none"  # of `expects`: not there


@contextlib.contextmanager
def scratch(root: Path) -> Iterator[Path]:
    """Make a folder for what is read inside, and remove it.

    In the checkout, since an engine may see another /tmp (Docker from snap does); models/ is not in git.
    """
    (root / "models").mkdir(exist_ok=True)
    with tempfile.TemporaryDirectory(prefix=".check-", dir=root / "models") as folder:
        yield Path(folder)


def command(output: Path) -> tuple[str, ...]:
    """Return what reads the contents, to be run inside."""
    return ("python", "-m", "stages.workload.contents", "--output", str(output))


def read(exit_code: int, output: Path) -> records.Contents:
    """Read what the command left. Raises FaceoffError where it failed."""
    if exit_code != 0:
        raise FaceoffError(f"the check inside the image ended with exit code {exit_code}; its own words are above")
    if not output.exists():
        raise FaceoffError("the check inside the image ended well and left nothing: its `python` is no Python")
    return codec.read(output, records.Contents)


def check(name: str, expects: Mapping[str, str | int], contents: records.Contents) -> None:
    """Raise FaceoffError, naming all that differs, unless the image holds what its image.yaml expects.

    python, torch, cuda and cudnn are what the environment says of itself; any other name is a package's. '10.0' is met
    by '10.0.130', '1.2.0' by '1.2.0+cu92', and 'none' by what is not there.
    """
    wrong = []
    for key, expected in expects.items():
        package = re.sub(r"[-_.]+", "-", key).lower()
        found = getattr(contents, key) if key in SPECIAL else contents.packages.get(package)
        if not _meets(str(found).lower(), str(expected).lower()):
            wrong.append(f"{key} {expected} expected, {'none' if found is None else found} found")
    if wrong:
        raise FaceoffError(
            f"image {name} does not hold what docker/{name}/image.yaml expects: {'; '.join(wrong)}; "
            "mend its torch.txt or packages, or what it expects"
        )


def _meets(found: str, expected: str) -> bool:
    return found == expected or found.startswith((expected + ".", expected + "+"))
