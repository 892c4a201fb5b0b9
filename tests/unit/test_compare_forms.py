"""`python -m stages.compare --against REV` for programs: JSON, Markdown, and exit codes by compare.thresholds."""

import json
import subprocess

import pytest

from stages import codec, compare, records
from stages.errors import FaceoffError
from stages.harness.params import schema
from stages.harness.report import against as report
from tests import comparisons, project, results


@pytest.fixture
def folder(tmp_path, monkeypatch):
    """A project with results, those of its one commit too; thresholds are of today."""
    variants = {"fp32-bs16": {"precision": "fp32", "batch_size": 16}}
    made = project.make_project(
        tmp_path / "project", ["host"], job="toy", variants=variants, repeats=[1, 2, 3], toy={"size": 96}
    )
    project.write_job(made, "toy", results.TOY)
    monkeypatch.chdir(made)
    results.measure(host=10.0)
    codec.write(records.COMPARISON_PATH, comparisons.pair())
    (made / ".gitignore").write_text("/data\n/reports\n")
    for command in (["init", "-q"], ["add", "--all"], ["commit", "-q", "-m", "results"]):
        subprocess.run(["git", "-c", "user.name=t", "-c", "user.email=t@localhost", *command], check=True)
    text = schema.PARAMS_PATH.read_text()
    schema.PARAMS_PATH.write_text(text.replace("  margin: 0.02", "  margin: 0.02\n  thresholds: {total_seconds: 5%}"))
    return made


@pytest.mark.parametrize(("seconds", "status", "code"), [(10.2, "kept", 0), (11.0, "broken for sure", 1)])
def test_json_is_a_record_whose_exit_code_is_that_of_the_thresholds(folder, capsys, seconds, status, code):
    results.measure(seed=9, host=seconds)
    assert compare.compare_against("HEAD", codec.text) == code
    found = codec.parse(capsys.readouterr().out, records.Against, "it.json")
    assert ([each.status for each in found.limits], found.exit_code) == ([status], code)
    assert {each.metric for each in found.changes} >= {"total_seconds", "samples_per_second"}


def test_markdown_and_text_say_the_same(folder, capsys):
    results.measure(seed=9, host=11.0)
    said = []
    for write in (report.markdown, report.text):
        assert compare.compare_against("HEAD", write) == 1
        said.append(capsys.readouterr().out)
    assert all("Broken for sure: host/fp32-bs16 (total_seconds)." in each for each in said)


def test_the_commands_forms(folder):
    results.measure(seed=9, host=10.0)
    done = project.run_stage(folder, "compare", "--against", "HEAD", "--json")
    assert (done.returncode, json.loads(done.stdout)["revision"]) == (0, "HEAD"), done.stderr
    done = project.run_stage(folder, "compare", "--bmf")
    assert list(json.loads(done.stdout)) == ["host/fp32-bs16", "cuda-10.0/fp32-bs16"]
    done = project.run_stage(folder, "compare", "--json")
    assert done.returncode == 2 and done.stderr.endswith("--json and --markdown are of --against REV\n")
    for two in (["--bmf", "--against", "HEAD"], ["--sites", "a", "b", "--bmf"], ["--sites", "a", "--against", "HEAD"]):
        done = project.run_stage(folder, "compare", *two)
        assert (done.returncode, done.stdout) == (2, "") and done.stderr.endswith("ask for one of them\n")


def test_params_that_are_wrong_are_no_regression(folder):
    text = schema.PARAMS_PATH.read_text()
    schema.PARAMS_PATH.write_text(text.replace("total_seconds: 5%", "total_seconds: 5"))
    with pytest.raises(FaceoffError, match="expected text, found 5") as caught:
        compare.compare_against("HEAD", report.text)
    assert caught.value.exit_code == 2
