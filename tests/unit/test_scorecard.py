"""One image's metrics and curves, and the two real commands that write comparison and scorecard."""

import csv
import dataclasses
import io
import json
import shutil

import pytest

from stages import codec, records
from stages.harness.results import scorecard
from stages.records import Cell
from tests import comparisons, project, results

COMPARED = comparisons.measured()


def test_means_stand_under_names_without_the_image_and_how_sure_they_are_beside_them():
    card = json.loads(scorecard.card(COMPARED, "slow"))
    assert list(card) == ["fp32-bs16"]
    values = card["fp32-bs16"]
    assert values["total_seconds"] == pytest.approx(38, rel=0.01)
    assert values["total_seconds_verdict"] == "± 0.12 s; slower, 1.153 [1.144, 1.162]"
    assert values["samples_per_second_verdict"].endswith("; slower, 0.867 [0.861, 0.874]")
    assert (values["accuracy"], values["accuracy_spread"]) == (0.97, "± 0.0%")


def test_the_baseline_is_called_that():
    values = json.loads(scorecard.card(COMPARED, "host"))["fp32-bs16"]
    assert values["total_seconds_verdict"] == "± 0.10 s; the baseline"


def test_a_single_repeat_has_no_spread_and_a_setting_without_metrics_stays_empty():
    single = scorecard.card(comparisons.pair("cannot say", 0.93, 1), "cuda-10.0")
    assert json.loads(single)["fp32-bs16"]["total_seconds_verdict"] == "cannot say, 0.932"
    failed = comparisons.with_failures()
    assert json.loads(scorecard.card(failed, "cuda-9.2")) == {"mixed-bs16": {}, "fp32-bs16": {}}
    assert scorecard.curves(failed, ["cuda-9.2"]) == "image,setting,epoch,span,name,value\n"


def test_curves_are_a_row_for_each_value_of_each_span():
    rows = list(csv.DictReader(io.StringIO(scorecard.curves(COMPARED, ["slow"]))))
    assert {(row["image"], row["setting"]) for row in rows} == {("slow", "fp32-bs16")}
    losses = [row for row in rows if row["name"] == "train_loss"]
    assert [(row["epoch"], row["span"]) for row in losses] == [("1", "head"), ("2", "body"), ("3", "body")]
    assert float(losses[1]["value"]) == pytest.approx(0.35)


@pytest.fixture
def folder(tmp_path, monkeypatch):
    """A project with results of both of its settings."""
    images, variants = ["host", "cuda-10.0"], {"fp32-bs16": {"precision": "fp32", "batch_size": 16}}
    made = project.make_project(
        tmp_path / "project", images, job="toy", variants=variants, repeats=[1, 2, 3], toy={"size": 96}
    )
    project.write_job(made, "toy", results.TOY)
    monkeypatch.chdir(made)
    results.measure(**{"cuda-10.0": 8.0})
    return made


def comparison():
    return codec.read(records.COMPARISON_PATH, records.Comparison)


def test_compare_writes_record_and_report_and_scorecard_what_dvc_shows(folder):
    printed = project.stage(folder, "compare")
    assert [(each.setting, each.verdict) for each in comparison().settings] == [
        ("host/fp32-bs16", "baseline"),
        ("cuda-10.0/fp32-bs16", "faster"),
    ]
    assert "cuda-10.0/fp32-bs16 is faster" in printed and printed.strip() in records.REPORT_PATH.read_text()
    assert records.PAGE_PATH.exists()
    project.stage(folder, "scorecard")
    card = json.loads(records.SCORECARD_PATH.read_text())
    assert card["fp32-bs16"]["total_seconds"] == pytest.approx(33, rel=0.01)
    assert records.CURVES_PATH.read_text().count("cuda-10.0,fp32-bs16") == 9


def test_results_of_settings_that_params_does_not_name_do_not_count(folder):
    stray = Cell("host", "fp32-bs64", 1)
    results.write_cell(results.trained(stray), results.evaluated(stray))
    project.stage(folder, "compare")
    assert "host/fp32-bs64" not in [each.setting for each in comparison().settings]


def test_without_any_result_it_says_so_and_does_not_crash(folder):
    for image in ("host", "cuda-10.0"):
        shutil.rmtree(folder / "metrics" / image)
    printed = project.stage(folder, "compare")
    assert printed.strip() == "Nothing to compare with: the baseline host/fp32-bs16 has no results."
    project.stage(folder, "scorecard")
    assert json.loads(records.SCORECARD_PATH.read_text()) == {"fp32-bs16": {}}


def test_a_run_that_was_cut_off_leaves_whole_cells_and_what_is_trained(folder):
    last = Cell("cuda-10.0", "fp32-bs16", 3)
    last.result_path("evaluate").unlink()
    project.stage(folder, "compare")
    other = comparison().settings[1]
    assert other.status == "partial"
    assert other.reasons == {"3": f"trained: {last.result_path('evaluate')} was not written"}
    assert list(other.metrics["total_seconds"].samples) == ["1", "2"]
    assert list(other.metrics["head_seconds"].samples) == ["1", "2", "3"]


def test_a_stale_result_is_refused_by_name_on_stderr(folder):
    cell = Cell("host", "fp32-bs16", 2)
    train = codec.read(cell.result_path("train"), records.Result)
    variant = dataclasses.replace(train.belongs.variant, parameters={"precision": "fp32", "batch_size": 64})
    codec.write(
        cell.result_path("train"),
        dataclasses.replace(train, belongs=dataclasses.replace(train.belongs, variant=variant)),
    )
    done = project.run_stage(folder, "compare")
    assert done.returncode == 0
    path = cell.result_path("train")
    assert done.stderr.startswith(f"faceoff: refused: {path}: measured with variant batch_size 64, now 16; measure")
    assert done.stderr.count("\n") == 1


def test_a_failing_compare_leaves_no_old_comparison(folder):
    project.stage(folder, "compare")
    records.MANIFEST_PATH.unlink()  # as in a clone: the comparison that is there tells of what data it is
    project.stage(folder, "compare")
    records.JOB_PATH.unlink()
    done = project.run_stage(folder, "compare")
    assert (done.returncode, done.stderr.count("\n")) == (1, 1)
    assert "metrics/job.json: missing" in done.stderr
    assert not any(path.exists() for path in (records.COMPARISON_PATH, records.REPORT_PATH, records.PAGE_PATH))
    done = project.run_stage(folder, "scorecard")
    assert "metrics/comparison.json: missing; the stage that writes it has not run" in done.stderr
