"""`.ci/rerun-diff` with real git, make and DVC, on a pipeline of one small stage instead of the true one."""

import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

CI = Path(__file__).resolve().parents[2] / ".ci"
BIN = Path(sys.executable).parent

MAKEFILE = f"""\
.venv/harness.stamp: stages/requirements.lock
\t@mkdir -p .venv/bin && echo set-up >> .venv/log
\t@for each in python dvc; do \\
\t    printf '#!/bin/sh\\nexec {BIN}/%s "$$@"\\n' $$each > .venv/bin/$$each && chmod +x .venv/bin/$$each; \\
\tdone
\t@touch $@
repro: .venv/harness.stamp
\t@mkdir -p data reports && echo $(WORKERS) > data/workers
\t@.venv/bin/dvc repro
\t@echo "# measured by $$(cat preset) with $(WORKERS) after $$(wc -l < .venv/log) set-ups" > reports/faceoff.md
"""
PIPELINE = """\
stages:
  measure:
    cmd:
      - mkdir -p metrics
      - 'echo SECONDS $(grep repeats params.yaml) >> "$RUNS"'
      - 'echo "{\\"seconds\\": SECONDS}" > metrics/scorecard.json'
    always_changed: true
    metrics:
      - metrics/scorecard.json: {cache: false, persist: true}
"""
PARAMS = "import sys\nopen('preset', 'w').write(sys.argv[-1])\n"
COMPARE = "import sys\nprint('compared', *sys.argv[1:])\nsys.exit({})\n"


class Checkout:
    """A git checkout with a stub of the project in it."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self.runs = path.with_name("runs")  # a line for each run: what it measured, and of which repeats
        self.git("init", "--quiet", "--initial-branch=main")
        self.git("config", "user.name", "developer")
        self.git("config", "user.email", "developer@example.org")
        (path / ".ci").mkdir()
        for name in ("rerun-diff", "repeats.py"):
            shutil.copy2(CI / name, path / ".ci" / name)

    def git(self, *arguments: str) -> str:
        command = ["git", *arguments]
        return subprocess.run(command, cwd=self.path, check=True, capture_output=True, text=True).stdout.strip()

    def commit(self, seconds: int, repeats: str = "[1]", compared: int = 0, lock: str = "one") -> None:
        """Commit a pipeline that measures this, with results of another machine (999 seconds) beside it.

        `compared`: the exit code of what compares the two.
        """
        self.write(".dvc/config", "[core]\n    analytics = false\n")
        self.write(".gitignore", "/.venv\n/data\n/reports\n/preset\n__pycache__\n")
        self.write("Makefile", MAKEFILE)
        self.write("params.yaml", f"repeats: {repeats}  # one after the other\n")
        self.write("dvc.yaml", PIPELINE.replace("SECONDS", str(seconds)))
        self.write("stages/requirements.lock", lock)
        self.write("stages/params.py", PARAMS)
        self.write("stages/compare.py", COMPARE.format(compared))
        self.write("metrics/scorecard.json", '{"seconds": 999}\n')
        self.save()

    def write(self, name: str, text: str) -> None:
        (self.path / name).parent.mkdir(exist_ok=True)
        (self.path / name).write_text(text)

    def save(self) -> None:
        self.git("add", "--all")
        self.git("commit", "--quiet", "--message=change")

    def state(self) -> list[str]:
        """What the script must leave alone."""
        return [self.git(*words) for words in (["status", "--porcelain"], ["rev-parse", "HEAD"], ["branch", "--all"])]

    def rerun_diff(self, *arguments: str) -> "subprocess.CompletedProcess[str]":
        # As on a fresh CI machine, where git knows nobody: the script must bring its own identity.
        environment = {**os.environ, "HOME": str(self.path), "RUNS": str(self.runs)}
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


def test_both_commits_are_measured_here_in_turn_and_what_may_be_chance_fails_nothing(
    checkout: Checkout, tmp_path: Path
) -> None:
    checkout.commit(40, "[1, 2, 3]")
    checkout.commit(30, "[1, 2]", compared=3)
    checkout.write("notes.txt", "uncommitted")
    before = checkout.state()
    run = checkout.rerun_diff("--keep", str(tmp_path / "kept"), "HEAD^1", "PRESET=smoke", "WORKERS=5")
    assert run.returncode == 0, run.stderr
    ones, twos, threes = (f"repeats: {each} # one after the other".split() for each in ("[1]", "[1, 2]", "[1, 2, 3]"))
    runs = [line.split() for line in checkout.runs.read_text().splitlines()]
    assert runs == [["40", *ones], ["30", *ones], ["30", *twos], ["40", *twos], ["40", *threes]]
    assert table(run.stdout) == [["metrics/scorecard.json", "seconds", "40", "30", "-10"]]
    verdict, details, report = map(
        run.stdout.index, ("compared --against base --markdown\n", "<details>", "measured by")
    )
    assert verdict < details < report, "what decides comes first"
    assert "\n## measured by smoke with 5 after 1 set-ups\n" in run.stdout, "one .venv serves both"
    kept = {side: (tmp_path / "kept" / side / "metrics/scorecard.json").read_text() for side in ("base", "head")}
    assert kept == {"base": '{"seconds": 40}\n', "head": '{"seconds": 30}\n'}
    assert (tmp_path / "kept/head/reports/faceoff.md").exists()
    assert checkout.state() == before and "999" in (checkout.path / "metrics/scorecard.json").read_text()


def test_a_shallow_checkout_without_branches_is_enough_and_what_is_worse_for_sure_fails(
    checkout: Checkout, tmp_path: Path
) -> None:
    """What actions/checkout leaves with fetch-depth 2: a detached HEAD and its parent. Their locks are not the same."""
    for seconds in (50, 40, 30):
        checkout.commit(seconds, compared=1, lock=str(seconds))
    shallow = tmp_path / "shallow"
    clone = ["git", "clone", "--quiet", "--depth=2", f"file://{checkout.path}", str(shallow)]
    subprocess.run(clone, check=True)
    checkout.path = shallow
    checkout.git("checkout", "--quiet", "--detach")
    checkout.git("branch", "--quiet", "--delete", "--force", "main")
    run = checkout.rerun_diff("HEAD^1")
    assert run.stdout.count("-10") == 1 and "after 1 set-ups" in run.stdout, run.stderr  # in a .venv of its own
    assert run.returncode == 1


def test_a_base_without_a_pipeline_is_said_and_the_head_is_shown(checkout: Checkout) -> None:
    checkout.write("README.md", "nothing here yet\n")
    checkout.save()
    checkout.commit(30, compared=1)
    run = checkout.rerun_diff("HEAD^1")
    assert run.returncode == 0, run.stderr
    assert "does not run at the base commit" in run.stdout
    assert table(run.stdout) == [["metrics/scorecard.json", "30"]]


def test_a_head_that_does_not_run_fails_and_what_there_is_is_kept(checkout: Checkout, tmp_path: Path) -> None:
    checkout.commit(40)
    checkout.commit(30)
    checkout.write("Makefile", MAKEFILE + "\t@echo the reason; false\n")
    checkout.save()
    run = checkout.rerun_diff("--keep", str(tmp_path / "kept"), "HEAD^1")
    assert run.returncode == 1
    assert "does not run at the head commit" in run.stdout
    assert "the reason" in run.stdout + run.stderr
    assert (tmp_path / "kept/head/metrics/scorecard.json").exists()


@pytest.mark.parametrize(
    ("arguments", "message"), [(["nowhere"], "no commit 'nowhere'"), ([], "usage:"), (["--keep"], "usage:")]
)
def test_a_wrong_call_is_one_line(checkout: Checkout, arguments: list[str], message: str) -> None:
    checkout.commit(40)
    run = checkout.rerun_diff(*arguments)
    assert run.returncode == 2
    assert message in run.stderr
    assert len(run.stderr.splitlines()) == 1
