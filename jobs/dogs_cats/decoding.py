"""Photos as an image's own Pillow decodes them: what it raises names the photo, and of what it warns was told before.

Runs inside images: Python 3.7 syntax; standard library and Pillow.
"""

import time
import warnings
from contextlib import contextmanager
from pathlib import Path
from typing import Iterator, Optional, Sequence

from stages.errors import FaceoffError

LOOK_SECONDS = 30.0  # that a look at the rare photos may take, of each dry-run
NAMES_SHOWN = 5


class Unreadable(FaceoffError):
    """A photo that this image's Pillow does not read."""


def silence() -> None:
    """Have Pillow warn no more, here and in the loader's processes: the download has told which photos it warns of."""
    warnings.filterwarnings("ignore", module=r"PIL\.")


@contextmanager
def named(path: Path) -> Iterator[None]:
    """Name the photo in whatever its decoding raises."""
    try:
        yield
    except Exception as error:  # Pillow's plugins raise nearly anything for a damaged file
        from PIL import __version__

        line = "{}: Pillow {} does not read it ({})".format(path, __version__, _reason(error, path))
        raise Unreadable(line) from error


def line_of(error: Unreadable) -> str:
    """Return the line of an error that may come from a process of the loader: torch sends its whole traceback."""
    return str(error).rstrip().rpartition(Unreadable.__name__ + ": ")[2]


def decode(path: Path) -> None:
    """Decode a photo, as the learners do."""
    from PIL import Image

    with named(path), Image.open(str(path)) as photo:
        photo.convert("RGB")


def check(rare: Sequence[Path], root: Path) -> None:
    """Raise Unreadable that names those which this image does not read of the photos that not every Pillow may."""
    ends, refused = time.monotonic() + LOOK_SECONDS, []
    for path in rare:
        if time.monotonic() > ends:
            break
        try:
            decode(path)
        except Unreadable as error:
            refused.append("{} ({})".format(path.relative_to(root), _reason(error.__cause__, path)))
    if refused:
        from PIL import __version__

        more = ", and {:,} more".format(len(refused) - NAMES_SHOWN) if len(refused) > NAMES_SHOWN else ""
        line = (
            "the Pillow {} of this image does not read {:,} of the photos: {}{}: save them as JPEG or PNG, or take "
            "them out of the data set, so that all images train on the same"
        )
        raise Unreadable(line.format(__version__, len(refused), ", ".join(refused[:NAMES_SHOWN]), more))


def _reason(error: Optional[BaseException], path: Path) -> str:
    said = (str(error).splitlines() or [""])[0].replace(" {!r}".format(str(path)), "")  # which is named already
    return said if isinstance(error, OSError) and said else "{}: {}".format(type(error).__name__, said)
