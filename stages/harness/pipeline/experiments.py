"""One DVC experiment per image, so that `dvc metrics diff cuda-9.2 cuda-10.0` compares two images.

An experiment is a commit under refs/exps/<commit it belongs to>/<name> (dvc.repo.experiments.refs). It is written here
with git alone, from an index of its own: the workspace, its index and its branch are never touched, so nothing has to
be put back, however the process ends. `dvc exp run` would check out and run in the workspace, 2 s an image.
"""

import os
import subprocess
import tempfile
from collections.abc import Mapping
from pathlib import Path

from stages.errors import FaceoffError

MESSAGE = "faceoff: scorecard of {}"
# Experiments are made by the program and on machines where git knows no user.
AUTHOR = {
    "GIT_AUTHOR_NAME": "faceoff",
    "GIT_AUTHOR_EMAIL": "faceoff@localhost",
    "GIT_COMMITTER_NAME": "faceoff",
    "GIT_COMMITTER_EMAIL": "faceoff@localhost",
}


def publish(image: str, files: Mapping[Path, str], tracked: tuple[str, ...]) -> bool:
    """Record the experiment `image` on the commit that is checked out; False where it holds just that already.

    It holds the workspace's changes to files that git tracks, everything under the paths `tracked`, and `files` with
    the texts given. An experiment of that name that faceoff made on an earlier commit is removed: by two of a name DVC
    knows neither. Raises FaceoffError where git refuses or where there is no commit yet.
    """
    head = _git("rev-parse", "--verify", "--quiet", "HEAD^{commit}", refusal="this folder has no git commit yet")
    if Path(_git("rev-parse", "--show-toplevel")).resolve() != Path.cwd().resolve():
        raise FaceoffError("this folder is not the top of a git checkout")
    tree = _tree(files, tracked)
    reference = f"refs/exps/{head[:2]}/{head[2:]}/{image}"
    present = _git("for-each-ref", "--format=%(tree) %(subject)", reference)
    if present == f"{tree} {MESSAGE.format(image)}":
        return False
    if present and not present.endswith(MESSAGE.format(image)):
        raise FaceoffError(f"the experiment {image} on this commit is not faceoff's; `dvc exp rename {image} NEW` it")
    commit = _git("commit-tree", tree, "-p", head, "-m", MESSAGE.format(image))
    _git("update-ref", reference, commit)
    _remove_older(image, head, keep=reference)
    return True


def hidden_by(image: str) -> str | None:
    """Return the branch or tag that DVC would take the image's name for; None where there is none."""
    try:
        return _git("rev-parse", "--symbolic-full-name", "--verify", "--quiet", image) or None
    except FaceoffError:
        return None


def _tree(files: Mapping[Path, str], tracked: tuple[str, ...]) -> str:
    with tempfile.TemporaryDirectory(prefix="faceoff-index-") as folder:
        index = {"GIT_INDEX_FILE": str(Path(folder) / "index")}
        _git("read-tree", "HEAD", **index)
        _git("add", "--update", ".", **index)
        _git("add", "--", *(path for path in tracked if Path(path).exists()), **index)
        for path, text in files.items():
            blob = _git("hash-object", "-w", "--stdin", stdin=text)
            _git("update-index", "--add", "--cacheinfo", f"100644,{blob},{path.as_posix()}", **index)
        return _git("write-tree", **index)


def _remove_older(image: str, head: str, keep: str) -> None:
    lines = _git("for-each-ref", "--format=%(refname)%09%(parent)%09%(subject)", f"refs/exps/*/*/{image}").splitlines()
    for line in lines:
        reference, parent, subject = line.split("\t")
        if reference != keep and subject == MESSAGE.format(image) and _is_ancestor(parent, head):
            _git("update-ref", "-d", reference)


def _is_ancestor(commit: str, head: str) -> bool:
    try:
        _git("merge-base", "--is-ancestor", commit, head)
    except FaceoffError:
        return False
    return True


def _git(*arguments: str, stdin: str = "", refusal: str | None = None, **environment: str) -> str:
    """Run git and give what it prints. Raises FaceoffError with git's own words, or with `refusal`."""
    try:
        done = subprocess.run(
            ["git", *arguments],
            input=stdin,
            env={**os.environ, **AUTHOR, **environment},
            capture_output=True,
            text=True,
            encoding="utf-8",
        )
    except FileNotFoundError:
        raise FaceoffError("git is not installed") from None
    if done.returncode:
        said = " ".join(done.stderr.split()) or f"git {arguments[0]} failed"
        raise FaceoffError(refusal if refusal and not done.stderr else said)
    return done.stdout.strip()
