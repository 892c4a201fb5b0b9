"""The results that a commit holds, laid out in a folder, so that they are read as those of today are."""

import dataclasses
import io
import re
import tempfile
import zipfile
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

from stages.codec import SCHEMA_VERSION, OtherSchemaError
from stages.errors import FaceoffError
from stages.harness.process import git
from stages.records import COMPARISON_PATH

PARTS = ("metrics", "params.yaml", "docker", "jobs")  # the last two too: params are checked against them
# What may be a branch, and is no place counted from one and no digest: HEAD~1, 8f3afe2.
BRANCH = re.compile(r"(?![0-9a-f]{7,40}$)[A-Za-z0-9][\w./-]*")
LIST = f"`git log --oneline -- {COMPARISON_PATH}` lists those that have"


@dataclasses.dataclass(frozen=True)
class Commit:
    """A commit that brought results."""

    sha: str
    short: str
    at: str  # ISO 8601, of the committer
    subject: str


def known(revision: str) -> str:
    """Return the name by which git knows the revision here: its own, or that of a remote's branch.

    Raises FaceoffError, with the command that brings it, where git knows neither.
    """
    if git.is_commit(revision):
        return revision
    remotes = sorted(git.text("remote").split(), key=lambda remote: remote != "origin")
    for remote in remotes:
        if git.is_commit(f"refs/remotes/{remote}/{revision}"):
            return f"{remote}/{revision}"
    raise FaceoffError(f"git knows no commit '{revision}' here; {_how_to_get(revision, remotes)}")


def _how_to_get(revision: str, remotes: Sequence[str]) -> str:
    ways = []
    if is_shallow():
        ways.append("this clone is shallow: `git fetch --unshallow` brings the commits that it lacks")
    if remotes and BRANCH.fullmatch(revision):
        depth = " --depth=1" if ways else ""
        ways.append(f"`git fetch{depth} {remotes[0]} {revision}:{revision}` brings a branch of that name")
    return ", ".join(ways) or f"name one with results; {LIST}"


def is_shallow() -> bool:
    """Whether the clone lacks commits before some of its own."""
    return git.text("rev-parse", "--is-shallow-repository") == "true"


@contextmanager
def laid_out(revision: str) -> Iterator[Path]:
    """Lay out the results of a revision that is known. Errors that are raised meanwhile name REVISION:FILE instead."""
    commit = git.text("rev-parse", "--verify", "--end-of-options", f"{revision}^{{commit}}")
    with tempfile.TemporaryDirectory(prefix="faceoff-revision-") as name:
        try:
            archive = git.run("archive", "--format=zip", commit, "--", *PARTS)
            with zipfile.ZipFile(io.BytesIO(archive)) as files:
                files.extractall(name)  # which makes no links, and keeps within the folder
            if not Path(name, COMPARISON_PATH).exists():
                raise FaceoffError(f"no {COMPARISON_PATH}")
        except FaceoffError as error:
            raise FaceoffError(f"git has no results in {revision} ({error}); {LIST}") from None
        try:
            yield Path(name)
        except OtherSchemaError as error:
            raise FaceoffError(_of_other_schema(revision, error.found)) from None
        except FaceoffError as error:
            raise FaceoffError(str(error).replace(f"{name}/", f"{revision}:"), error.exit_code) from None


def of_results(path: Path, most: int) -> tuple[Commit, ...]:
    """List the commits on the way to this one that changed the file, the oldest first, and no more than `most`."""
    log = ["log", "--first-parent", f"--max-count={most}", "--format=%H%x00%h%x00%cI%x00%s", "--", str(path)]
    # A subject may hold what Python takes for the end of a line, and a signature would be told of in lines of its own.
    text = git.run("-c", "log.showSignature=false", *log).decode(errors="replace")
    return tuple(Commit(*line.split("\0", 3)) for line in reversed(text.split("\n")) if line)


def uncommitted(paths: Sequence[str]) -> list[str]:
    """List those of the paths that hold what HEAD does not; none outside git."""
    status = ("status", "--porcelain", "--untracked-files=normal", "--")
    try:
        return [path for path in paths if git.run(*status, path, GIT_OPTIONAL_LOCKS="0")]
    except FaceoffError:
        return []


def _of_other_schema(revision: str, found: int | None) -> str:
    """Say what to do about results of another schema: measuring again, as elsewhere, would be of today's."""
    if found is not None and found > SCHEMA_VERSION:
        advice = "compare with that version of faceoff"
        return f"the results in {revision} are of a newer faceoff (schema {found}, not {SCHEMA_VERSION}): {advice}"
    schema = "no schema" if found is None else f"schema {found}"
    advice = "measure that commit again with this version, or compare with a newer one"
    return f"the results in {revision} are of an older faceoff ({schema}, not {SCHEMA_VERSION}): {advice}"
