"""A folder for what is tried and not kept, and no compiled code beside a job's.

Runs inside images: Python 3.7 syntax, standard library only.
"""

import os
import shutil
import tempfile
from contextlib import contextmanager
from pathlib import Path
from typing import Iterator

MODELS_DIR = Path("models")


@contextmanager
def scratch_folder(image: str) -> Iterator[Path]:
    """Make a folder where an image may write, and remove it with all that is in it."""
    MODELS_DIR.mkdir(exist_ok=True)
    folder = Path(tempfile.mkdtemp(prefix=f".{image}.", dir=str(MODELS_DIR.absolute())))
    try:
        yield folder
    finally:
        shutil.rmtree(str(folder), ignore_errors=True)


def leave_nothing_compiled() -> None:
    """Have each Python that a job starts compile its modules anew, as in a container, which can't write beside them.

    Else one repeat of it would find what another left.
    """
    os.environ["PYTHONDONTWRITEBYTECODE"] = "1"
