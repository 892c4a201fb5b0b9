"""`.ci/rerun-diff` with real git, make and DVC, on a pipeline of one small stage instead of the true one."""

import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

SCRIPT = Path(__file__).resolve().parents[2] / ".ci" / "rerun-diff"

MAKEFILE = """\
repro:
\t@mkdir -p .venv && echo set-up >> .venv/log
\t@mkdir data
\t@dvc repro
\t@mkdir -p reports
\t@echo "measured $(PRESET) after $$(wc -l < .venv/log) set-ups" > reports/faceoff.md
"""
PIPELINE = """\
stages:
  measure:
    cmd: |-
      mkdir -p metrics
      echo '{"seconds": SECONDS}' > metrics/scorecard.json
    always_changed: true
    metrics:
      - metrics/scorecard.json: {cache: false, persist: true}
"""


class Checkout:
    """A git checkout with a stub of the project in it."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self.git("init", "--quiet", "--initial-branch=main")
        self.git("config", "user.name", "developer")
        self.git("config", "user.email", "developer@example.org")
        (path / ".ci").mkdir()
        shutil.copy2(SCRIPT, path / ".ci" / "rerun-diff")

    def git(self, *arguments: str) -> str:
        command = ["git", *arguments]
        return subprocess.run(command, cwd=self.path, check=True, capture_output=True, text=True).stdout.strip()

    def commit(self, seconds: str) -> None:
        """Commit a pipeline that measures this, with results of another machine (999 seconds) beside it."""
        self.write(".dvc/config", "[core]\n    analytics = false\n")
        self.write(".gitignore", "/.venv\n/data\n/reports\n")
        self.write("Makefile", MAKEFILE)
        self.write("dvc.yaml", PIPELINE.replace("SECONDS", seconds))
        self.write("stages/compare.py", "import sys\nprint('compared', *sys.argv[1:])\nsys.exit(1)\n")
        self.write("metrics/scorecard.json", '{"seconds": 999}\n')
        self.save()

    def write(self, name: str, text: str) -> None:
        (self.path / name).parent.mkdir(exist_ok=True)
        (self.path / name).write_text(text)

    def save(self) -> None:
        self.git("add", "--all")
        self.git("commit", "--quiet", "--message=change")

    def rerun_diff(self, *arguments: str) -> "subprocess.CompletedProcess[str]":
        # Without the developer's own git settings, as on a fresh CI machine: the script must bring its own identity.
        environment = {**os.environ, "HOME": str(self.path), "GIT_CONFIG_GLOBAL": os.devnull}
        environment["PATH"] = f"{Path(sys.executable).parent}:{environment['PATH']}"  # where dvc is
        command = [str(self.path / ".ci" / "rerun-diff"), *arguments]
        return subprocess.run(command, env=environment, capture_output=True, text=True)


@pytest.fixture
def checkout(tmp_path: Path) -> Checkout:
    path = tmp_path / "checkout"
    path.mkdir()
    return Checkout(path)


def table(markdown: str) -> list[list[str]]:
    """Rows of the first Markdown table, without its head."""
    rows = [line for line in markdown.splitlines() if line.startswith("|")]
    return [[cell.strip() for cell in row.strip("|").split("|")] for row in rows[2:]]


def test_both_commits_are_measured_here_and_committed_results_are_not_believed(checkout: Checkout) -> None:
    checkout.commit("40")
    checkout.commit("30")
    run = checkout.rerun_diff("HEAD^1")
    assert run.returncode == 0, run.stderr
    assert table(run.stdout) == [["metrics/scorecard.json", "seconds", "40", "30", "-10"]]
    assert "\n\ncompared --against base --markdown\n" in run.stdout, "its verdicts are shown, and fail nothing"


def test_what_follows_the_revision_reaches_make_and_the_report_is_shown(checkout: Checkout) -> None:
    """.venv alone stays between the runs: the stub's `mkdir data` fails where the base's data is left over."""
    checkout.commit("40")
    checkout.commit("30")
    assert "measured smoke after 2 set-ups" in checkout.rerun_diff("HEAD^1", "PRESET=smoke").stdout


def test_the_checkout_is_left_alone(checkout: Checkout) -> None:
    checkout.commit("40")
    checkout.commit("30")
    checkout.write("notes.txt", "uncommitted")
    before = checkout.git("status", "--porcelain"), checkout.git("rev-parse", "HEAD"), checkout.git("branch", "--all")
    assert checkout.rerun_diff("HEAD^1").returncode == 0
    after = checkout.git("status", "--porcelain"), checkout.git("rev-parse", "HEAD"), checkout.git("branch", "--all")
    assert before == after
    assert "999" in (checkout.path / "metrics" / "scorecard.json").read_text()


def test_a_shallow_checkout_without_branches_is_enough(checkout: Checkout, tmp_path: Path) -> None:
    """What actions/checkout leaves with fetch-depth 2: a detached HEAD and its parent."""
    for seconds in ("50", "40", "30"):
        checkout.commit(seconds)
    shallow = tmp_path / "shallow"
    clone = ["git", "clone", "--quiet", "--depth=2", f"file://{checkout.path}", str(shallow)]
    subprocess.run(clone, check=True)
    checkout.path = shallow
    checkout.git("checkout", "--quiet", "--detach")
    checkout.git("branch", "--quiet", "--delete", "--force", "main")
    assert checkout.rerun_diff("HEAD^1").stdout.count("-10") == 1


def test_a_base_without_a_pipeline_is_said_and_the_head_is_shown(checkout: Checkout) -> None:
    checkout.write("README.md", "nothing here yet\n")
    checkout.save()
    checkout.commit("30")
    run = checkout.rerun_diff("HEAD^1")
    assert run.returncode == 0, run.stderr
    assert "does not run at the base commit" in run.stdout
    assert table(run.stdout) == [["metrics/scorecard.json", "30"]]


def test_a_head_that_does_not_run_fails(checkout: Checkout) -> None:
    checkout.commit("40")
    checkout.commit("30")
    checkout.write("Makefile", "repro:\n\t@echo the reason; false\n")
    checkout.save()
    run = checkout.rerun_diff("HEAD^1")
    assert run.returncode == 1
    assert "does not run at the head commit" in run.stdout
    assert "the reason" in run.stderr


@pytest.mark.parametrize(("arguments", "message"), [(["nowhere"], "no commit 'nowhere'"), ([], "usage:")])
def test_a_wrong_call_is_one_line(checkout: Checkout, arguments: list[str], message: str) -> None:
    checkout.commit("40")
    run = checkout.rerun_diff(*arguments)
    assert run.returncode == 2
    assert message in run.stderr
    assert len(run.stderr.splitlines()) == 1
