"""The results that a commit holds, laid out in a folder, so that they are read as those of today are."""

import io
import subprocess
import tempfile
import zipfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from stages.errors import FaceoffError

PARTS = ("metrics", "params.yaml", "docker", "jobs")  # the last two too: params are checked against them


@contextmanager
def laid_out(revision: str) -> Iterator[Path]:
    """Lay out the results of `revision` in a folder. Errors that are raised meanwhile name REVISION:FILE instead."""
    commit = _git(revision, "rev-parse", "--verify", "--end-of-options", f"{revision}^{{commit}}").decode().strip()
    archive = _git(revision, "archive", "--format=zip", commit, "--", *PARTS)
    with tempfile.TemporaryDirectory(prefix="faceoff-revision-") as name:
        with zipfile.ZipFile(io.BytesIO(archive)) as files:
            files.extractall(name)  # which makes no links, and keeps within the folder
        try:
            yield Path(name)
        except FaceoffError as error:
            raise FaceoffError(str(error).replace(f"{name}/", f"{revision}:"), exit_code=2) from None


def _git(revision: str, *arguments: str) -> bytes:
    done = subprocess.run(["git", *arguments], capture_output=True)
    if done.returncode:
        said = " ".join(done.stderr.decode(errors="replace").split()).removeprefix("fatal: ")
        raise FaceoffError(f"git has no results in {revision} ({said}); name a commit of results", exit_code=2)
    return done.stdout
