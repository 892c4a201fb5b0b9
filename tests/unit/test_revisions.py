"""Which commit a revision is, in clones of real git as people and CI make them, and what brings one that is lacking."""

import re
import shlex
import subprocess
from pathlib import Path

import pytest

from stages.errors import FaceoffError
from stages.harness.pipeline import revisions
from stages.records import COMPARISON_PATH


def git(*arguments, cwd=None):
    command = ["git", "-c", "user.name=t", "-c", "user.email=t@localhost", *arguments]
    return subprocess.run(command, cwd=cwd, check=True, capture_output=True, text=True).stdout.strip()


@pytest.fixture(scope="module")
def origin(tmp_path_factory):
    """A repository of three commits, of which the second brought results, and a branch that has one more."""
    folder = tmp_path_factory.mktemp("origin")
    git("init", "-q", "-b", "main", cwd=folder)
    for part in ("params.yaml", "docker/host/image.yaml", "jobs/toy/job.yaml", str(COMPARISON_PATH), "README.md"):
        (folder / part).parent.mkdir(parents=True, exist_ok=True)
        (folder / part).write_text("{}\n")
        if part.endswith(("job.yaml", ".json", ".md")):
            git("add", "--all", cwd=folder)
            git("commit", "-q", "-m", part, cwd=folder)
    git("branch", "side", cwd=folder)
    return folder


@pytest.fixture
def clone(origin, tmp_path, monkeypatch):
    """What makes a clone with these options, in which the test then is."""

    def make(*options):
        git("clone", "-q", *options, origin.as_uri(), str(tmp_path / "clone"))
        monkeypatch.chdir(tmp_path / "clone")

    return make


def test_where_no_branch_of_that_name_is_a_remotes_is_taken(clone):
    clone("--depth=1")
    git("checkout", "-q", "--detach")
    assert revisions.known("main") == "main"
    git("branch", "-q", "-D", "main")
    assert revisions.known("main") == "origin/main"
    assert [revisions.known(each) for each in ("HEAD", "origin/main")] == ["HEAD", "origin/main"]
    git("remote", "rename", "origin", "upstream")
    assert revisions.known("main") == "upstream/main"


@pytest.mark.parametrize(
    ("options", "revision", "which"),
    [(["--depth=1"], "HEAD~1", 0), (["--depth=1"], "side", 1), (["--single-branch"], "side", 0)],
)
def test_what_a_clone_lacks_the_command_in_the_line_brings(clone, options, revision, which):
    clone(*options)
    with pytest.raises(FaceoffError) as refused:
        revisions.known(revision)
    line = str(refused.value)
    assert line.startswith(f"git knows no commit '{revision}' here; ") and "\n" not in line
    assert ("this clone is shallow" in line) == ("--depth=1" in options)
    subprocess.run(shlex.split(re.findall("`(git fetch .*?)`", line)[which]), check=True, capture_output=True)
    assert revisions.known(revision) == revision


@pytest.mark.parametrize("revision", ["no-such", "--output=x", "", "v1 && ls"])
def test_what_nobody_knows_is_one_line(origin, monkeypatch, revision):
    monkeypatch.chdir(origin)
    with pytest.raises(FaceoffError, match=r"^git knows no commit .* here; name one with results; `git log --onel"):
        revisions.known(revision)


def test_a_commit_without_results_is_told_and_how_to_find_one(origin, monkeypatch):
    monkeypatch.chdir(origin)
    with revisions.laid_out("HEAD") as folder:
        assert (folder / COMPARISON_PATH).exists()
    with pytest.raises(FaceoffError, match=r"git has no results in HEAD~2 \(.*\); `git log") as refused:
        revisions.laid_out("HEAD~2").__enter__()
    command = re.findall("`(git log .*?)`", str(refused.value))[0]
    assert git(*shlex.split(command)[1:]).splitlines() == [git("log", "-1", "--format=%h %s", "HEAD~1")]


def test_outside_git_and_without_git_it_is_said(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    with pytest.raises(FaceoffError, match=r"^not a git repository"):
        revisions.known("main")
    assert revisions.uncommitted(["."]) == []
    monkeypatch.setenv("PATH", str(tmp_path))
    with pytest.raises(FaceoffError, match=r"^git is not installed$"):
        revisions.known("main")


def test_what_head_does_not_hold_is_named(clone):
    clone()
    assert revisions.uncommitted(["metrics", "dvc.lock", "params.yaml"]) == []
    Path("dvc.lock").touch()
    COMPARISON_PATH.write_text("[]\n")
    git("config", "status.showUntrackedFiles", "no")
    assert revisions.uncommitted(["metrics", "dvc.lock", "params.yaml"]) == ["metrics", "dvc.lock"]
