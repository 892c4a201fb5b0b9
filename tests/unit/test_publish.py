"""What `make repro` ends with, by the real command, where there is no git history to publish on."""

import os
import subprocess

import pytest

from stages import records
from tests import project, results


@pytest.fixture
def folder(tmp_path, monkeypatch):
    """A project with results of its two settings and their comparison; no git checkout."""
    variants = {f"{name}-bs16": {"precision": name, "batch_size": 16} for name in ("fp32", "mixed")}
    made = project.make_project(tmp_path / "project", ["host"], job="toy", variants=variants, toy={"size": 96})
    project.write_job(made, "toy", results.TOY)
    for name in [name for name in os.environ if name.startswith("GIT_")]:
        monkeypatch.delenv(name)
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.chdir(made)
    results.measure()
    project.stage(made, "compare")
    return made


def test_outside_git_the_table_is_shown_and_one_line_says_why_there_are_no_experiments(folder):
    lines = project.stage(folder, "publish").splitlines()
    assert lines[0].startswith("setting") and lines[1].startswith("host/fp32-bs16")
    assert "No DVC experiments, so no `dvc metrics diff` of images: not a git repository" in lines[-1]


def shell(command):
    user = dict.fromkeys(("GIT_AUTHOR_NAME", "GIT_AUTHOR_EMAIL", "GIT_COMMITTER_NAME", "GIT_COMMITTER_EMAIL"), "t")
    subprocess.run(["sh", "-c", command], check=True, env={**os.environ, **user, "GIT_EDITOR": "echo x >"})


def test_the_last_line_says_what_to_commit_and_is_a_command_that_does(folder):
    shell("git init -q && git add jobs")
    reason, last = project.stage(folder, "publish").splitlines()[-2:]
    assert reason.endswith("this folder has no git commit yet.")
    said, _, command = last.partition(": ")
    assert (said, command) == ("To keep them in git", "git add metrics params.yaml && git commit")
    shell(command)
    assert project.stage(folder, "publish").splitlines()[-1].endswith(".venv/bin/dvc metrics diff HEAD")


def test_a_branch_that_hides_an_image_is_named_on_stderr(folder):
    shell("git init -q -b main && git add . && git commit -qm x && git branch host")
    done = project.run_stage(folder, "publish")
    assert done.returncode == 0 and done.stderr.count("\n") == 1
    assert "refs/heads/host hides the experiment host" in done.stderr


def test_without_a_comparison_the_line_says_what_to_run(folder):
    records.COMPARISON_PATH.unlink()
    done = project.run_stage(folder, "publish")
    assert (done.returncode, done.stderr.count("\n")) == (1, 1)
    assert "metrics/comparison.json: missing; the stage that writes it has not run: run `make repro`" in done.stderr


def test_what_a_run_that_was_cut_off_left_is_shown_and_nothing_else_is_written(folder):
    records.COMPARISON_PATH.unlink()
    records.PAGE_PATH.unlink()
    records.Cell("host", "mixed-bs16", 3).result_path("evaluate").unlink()
    before = {path for path in folder.rglob("*") if "__pycache__" not in path.parts}
    said = project.stage(folder, "show")
    assert "host/mixed-bs16" in said and said.endswith("As a page: reports/faceoff.html.\n")
    after = {path for path in folder.rglob("*") if "__pycache__" not in path.parts}
    assert after - before == {folder / records.PAGE_PATH} and before <= after
