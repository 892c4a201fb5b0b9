"""One DVC experiment per image, so that `dvc metrics diff cuda-9.2 cuda-10.0` compares two images.

An experiment is a commit under refs/exps/<commit it belongs to>/<name> (dvc.repo.experiments.refs). It is written here
with git alone, from an index of its own: the workspace, its index and its branch are never touched, so nothing has to
be put back, however the process ends. `dvc exp run` would check out and run in the workspace, 2 s an image.

All worktrees of a repository have these references in common. In one that `git worktree add` made, an image's
experiment therefore bears the worktree's name too, cuda-9.2@NAME: those of two worktrees are apart.
"""

import tempfile
from collections.abc import Mapping
from pathlib import Path

from stages.errors import FaceoffError
from stages.harness.process import git

MESSAGE = "faceoff: scorecard of {}"
# Experiments are made by the program and on machines where git knows no user.
AUTHOR = {
    "GIT_AUTHOR_NAME": "faceoff",
    "GIT_AUTHOR_EMAIL": "faceoff@localhost",
    "GIT_COMMITTER_NAME": "faceoff",
    "GIT_COMMITTER_EMAIL": "faceoff@localhost",
}
OF_WORKTREE = "@"  # between the image's name and the worktree's


def publish(image: str, files: Mapping[Path, str], tracked: tuple[str, ...]) -> str:
    """Record the experiment of `image` on the commit that is checked out, unless it is there already; its name.

    It holds the workspace's changes to files that git tracks, everything under the paths `tracked`, and `files` with
    the texts given. An experiment of that name that faceoff made on an earlier commit is removed: by two of a name DVC
    knows neither. Raises FaceoffError where git refuses or where there is no commit yet.
    """
    refusal = "this folder has no git commit yet"
    head = git.text("rev-parse", "--verify", "--quiet", "HEAD^{commit}", refusal=refusal)
    asked = git.text("rev-parse", "--show-toplevel", "--absolute-git-dir", "--git-common-dir")
    top, own, common = (Path(each).resolve() for each in asked.splitlines())
    if top != Path.cwd().resolve():
        raise FaceoffError("this folder is not the top of a git checkout")
    name = image if own == common else f"{image}{OF_WORKTREE}{own.name}"
    tree = _tree(files, tracked)
    reference = f"refs/exps/{head[:2]}/{head[2:]}/{name}"
    present = git.text("for-each-ref", "--format=%(tree) %(subject)", reference)
    if present == f"{tree} {MESSAGE.format(name)}":
        return name
    if present and not present.endswith(MESSAGE.format(name)):
        raise FaceoffError(
            f"the experiment {name} on this commit is not faceoff's; `.venv/bin/dvc exp rename {name} NEW` it"
        )
    commit = git.text("commit-tree", tree, "-p", head, "-m", MESSAGE.format(name), **AUTHOR)
    git.run("update-ref", reference, commit)
    _remove_outdated(image, name, head, common / "worktrees", keep=reference)
    return name


def hidden_by(name: str) -> str | None:
    """Return the branch or tag that DVC would take the experiment's name for; None where there is none."""
    try:
        return git.text("rev-parse", "--symbolic-full-name", "--verify", "--quiet", name) or None
    except FaceoffError:
        return None


def _tree(files: Mapping[Path, str], tracked: tuple[str, ...]) -> str:
    with tempfile.TemporaryDirectory(prefix="faceoff-index-") as folder:
        index = {"GIT_INDEX_FILE": str(Path(folder) / "index")}
        git.run("read-tree", "HEAD", **index)
        git.run("add", "--update", ".", **index)
        git.run("add", "--", *(path for path in tracked if Path(path).exists()), **index)
        for path, text in files.items():
            blob = git.text("hash-object", "-w", "--stdin", stdin=text)
            git.run("update-index", "--add", "--cacheinfo", f"100644,{blob},{path.as_posix()}", **index)
        return git.text("write-tree", **index)


def _remove_outdated(image: str, name: str, head: str, worktrees: Path, keep: str) -> None:
    """Remove what faceoff made of the image on earlier commits, or in worktrees that are gone."""
    pattern = f"refs/exps/*/*/{image}"
    every = ("for-each-ref", "--format=%(refname)%09%(parent)%09%(subject)", pattern, pattern + OF_WORKTREE + "*")
    for line in git.text(*every).splitlines():
        reference, parent, subject = line.split("\t")
        found = reference.rpartition("/")[2]
        worktree = found.partition(OF_WORKTREE)[2]
        is_outdated = _is_ancestor(parent, head) if found == name else worktree and not (worktrees / worktree).exists()
        if reference != keep and subject == MESSAGE.format(found) and is_outdated:
            git.run("update-ref", "-d", reference)


def _is_ancestor(commit: str, head: str) -> bool:
    try:
        git.run("merge-base", "--is-ancestor", commit, head)
    except FaceoffError:
        return False
    return True
