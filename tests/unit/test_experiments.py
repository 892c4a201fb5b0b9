"""Experiments as git holds them, with real git: what is in them, what they leave alone, what git's refusals become.
That DVC takes them for its own is shown in tests/pipeline."""

import os
import subprocess
from pathlib import Path

import pytest

from stages.errors import FaceoffError
from stages.harness.pipeline import experiments

FILES = {Path("metrics/scorecard.json"): "card of host\n", Path("params.yaml"): "image: host\n"}
TRACKED = ("metrics", "params.yaml", "dvc.lock")


@pytest.fixture
def checkout(tmp_path, monkeypatch):
    """A git checkout with one commit, on a machine where git knows no user; results lie in it uncommitted."""
    for name in [name for name in os.environ if name.startswith("GIT_")]:
        monkeypatch.delenv(name)
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.chdir(tmp_path)
    git("init", "-q", "-b", "main")
    Path("params.yaml").write_text("image: other\n")
    Path("code.py").write_text("1\n")
    commit("first")
    Path("metrics").mkdir()
    Path("metrics/scorecard.json").write_text("card of other\n")
    Path("metrics/comparison.json").write_text("all\n")
    return tmp_path


def git(*arguments):
    return subprocess.run(["git", *arguments], check=True, capture_output=True, text=True).stdout.strip()


def commit(message):
    git("add", "--all")
    git("-c", "user.name=t", "-c", "user.email=t@localhost", "commit", "-q", "-m", message)


def references():
    return git("for-each-ref", "--format=%(refname)", "refs/exps").split()


def test_an_experiment_holds_the_images_files_and_all_results_uncommitted_as_they_are(checkout):
    Path("code.py").write_text("2\n")
    Path("untracked.txt").write_text("private")
    assert experiments.publish("host", FILES, TRACKED) == "host"
    head = git("rev-parse", "HEAD")
    (reference,) = references()
    assert reference == f"refs/exps/{head[:2]}/{head[2:]}/host"
    assert git("rev-parse", f"{reference}^") == head
    assert git("show", f"{reference}:metrics/scorecard.json") == "card of host"
    assert git("show", f"{reference}:params.yaml") == "image: host"
    assert git("show", f"{reference}:metrics/comparison.json") == "all"
    assert git("show", f"{reference}:code.py") == "2"
    assert "untracked.txt" not in git("ls-tree", "-r", "--name-only", reference)


def test_workspace_index_and_branch_stay_as_they_are(checkout):
    Path("code.py").write_text("2\n")
    git("add", "code.py")
    Path("code.py").write_text("3\n")
    before = git("status", "--porcelain"), git("rev-parse", "HEAD"), Path("metrics/scorecard.json").read_text()
    experiments.publish("host", FILES, TRACKED)
    after = git("status", "--porcelain"), git("rev-parse", "HEAD"), Path("metrics/scorecard.json").read_text()
    assert before == after
    assert git("stash", "list") == ""


def test_the_same_results_are_published_once_and_new_ones_again(checkout):
    experiments.publish("host", FILES, TRACKED)
    before = git("show-ref")
    experiments.publish("host", FILES, TRACKED)
    assert git("show-ref") == before
    experiments.publish("host", {**FILES, Path("metrics/scorecard.json"): "new\n"}, TRACKED)
    (reference,) = references()
    assert git("show", f"{reference}:metrics/scorecard.json") == "new"


def test_the_experiment_of_an_earlier_commit_gives_way(checkout):
    experiments.publish("host", FILES, TRACKED)
    experiments.publish("cuda-10.0", FILES, TRACKED)
    commit("results")
    experiments.publish("host", FILES, TRACKED)
    head = git("rev-parse", "HEAD")
    assert [name for name in references() if name.endswith("/host")] == [f"refs/exps/{head[:2]}/{head[2:]}/host"]
    assert len(references()) == 2, "another image's experiment is not host's to remove"


def test_an_experiment_on_another_branch_stays(checkout):
    git("checkout", "-q", "-b", "side")
    commit("side")
    experiments.publish("host", FILES, TRACKED)
    git("checkout", "-q", "main")
    experiments.publish("host", FILES, TRACKED)
    assert len(references()) == 2


def test_worktrees_are_apart_and_that_of_one_that_is_gone_goes_too(checkout, monkeypatch):
    git("worktree", "add", "-q", "--detach", "tree")
    for folder, text in ((checkout, "here\n"), (checkout / "tree", "there\n"), (checkout, "here\n")):
        monkeypatch.chdir(folder)
        experiments.publish("host", {Path("card.json"): text}, TRACKED)
    held = {name.rpartition("/")[2]: git("show", f"{name}:card.json") for name in references()}
    assert held == {"host": "here", "host@tree": "there"}
    git("worktree", "remove", "--force", "tree")
    experiments.publish("host", FILES, TRACKED)
    assert [name.rpartition("/")[2] for name in references()] == ["host"]


def test_somebody_elses_experiment_of_that_name_is_not_overwritten(checkout):
    head = git("rev-parse", "HEAD")
    git("update-ref", f"refs/exps/{head[:2]}/{head[2:]}/host", head)
    with pytest.raises(FaceoffError, match=r"dvc exp rename host NEW"):
        experiments.publish("host", FILES, TRACKED)
    assert git("rev-parse", references()[0]) == head


def test_a_checkout_without_a_commit_is_said_in_plain_words(checkout, tmp_path, monkeypatch):
    empty = tmp_path / "empty"
    empty.mkdir()
    monkeypatch.chdir(empty)
    git("init", "-q")
    with pytest.raises(FaceoffError, match="no git commit yet"):
        experiments.publish("host", FILES, TRACKED)


def test_no_git_checkout_and_a_folder_of_another_one(checkout, tmp_path_factory, monkeypatch):
    monkeypatch.chdir(tmp_path_factory.mktemp("plain"))
    with pytest.raises(FaceoffError, match="not a git repository"):
        experiments.publish("host", FILES, TRACKED)
    inner = checkout / "inner"
    inner.mkdir()
    monkeypatch.chdir(inner)
    with pytest.raises(FaceoffError, match="not the top of a git checkout"):
        experiments.publish("host", FILES, TRACKED)


def test_git_that_is_not_installed(checkout, monkeypatch):
    monkeypatch.setenv("PATH", str(checkout))
    with pytest.raises(FaceoffError, match="git is not installed"):
        experiments.publish("host", FILES, TRACKED)


def test_a_name_that_git_does_not_take(checkout):
    with pytest.raises(FaceoffError, match="refusing to update ref with bad name"):
        experiments.publish("a..b", FILES, TRACKED)


def test_a_branch_of_the_images_name_hides_its_experiment(checkout):
    assert experiments.hidden_by("host") is None
    git("branch", "host")
    assert experiments.hidden_by("host") == "refs/heads/host"
