"""The results that a commit holds, laid out in a folder, so that they are read as those of today are."""

import dataclasses
import io
import subprocess
import tempfile
import zipfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from stages.codec import SCHEMA_VERSION, OtherSchemaError
from stages.errors import FaceoffError

PARTS = ("metrics", "params.yaml", "docker", "jobs")  # the last two too: params are checked against them


@dataclasses.dataclass(frozen=True)
class Commit:
    """A commit that brought results."""

    sha: str
    short: str
    at: str  # ISO 8601, of the committer
    subject: str


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
        except OtherSchemaError as error:
            raise FaceoffError(_of_other_schema(revision, error.found), exit_code=2) from None
        except FaceoffError as error:
            raise FaceoffError(str(error).replace(f"{name}/", f"{revision}:"), exit_code=2) from None


def of_results(path: Path, most: int) -> tuple[Commit, ...]:
    """List the commits on the way to this one that changed the file, the oldest first, and no more than `most`."""
    log = ["log", "--first-parent", f"--max-count={most}", "--format=%H%x00%h%x00%cI%x00%s", "--", str(path)]
    # A subject may hold what Python takes for the end of a line, and a signature would be told of in lines of its own.
    text = _git("HEAD", "-c", "log.showSignature=false", *log).decode(errors="replace")
    return tuple(Commit(*line.split("\0", 3)) for line in reversed(text.split("\n")) if line)


def _of_other_schema(revision: str, found: int | None) -> str:
    """Say what to do about results of another schema: measuring again, as elsewhere, would be of today's."""
    if found is not None and found > SCHEMA_VERSION:
        advice = "compare with that version of faceoff"
        return f"the results in {revision} are of a newer faceoff (schema {found}, not {SCHEMA_VERSION}): {advice}"
    schema = "no schema" if found is None else f"schema {found}"
    advice = "measure that commit again with this version, or compare with a newer one"
    return f"the results in {revision} are of an older faceoff ({schema}, not {SCHEMA_VERSION}): {advice}"


def _git(revision: str, *arguments: str) -> bytes:
    done = subprocess.run(["git", *arguments], capture_output=True)
    if done.returncode:
        said = " ".join(done.stderr.decode(errors="replace").split()).removeprefix("fatal: ")
        raise FaceoffError(f"git has no results in {revision} ({said}); name a commit of results", exit_code=2)
    return done.stdout
