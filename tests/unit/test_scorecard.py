"""One image's figures and curves, and the two real commands that write comparison and scorecard."""

import csv
import io
import json
import shutil

import pytest

from stages import codec, records
from stages.harness.params import schema
from stages.harness.results import scorecard
from stages.harness.results.read import Result
from stages.records import Cell
from tests import project, results


def ok(image, repeat, seconds, precision="fp32"):
    cell = Cell(image, precision, 16, repeat)
    return Result(cell, "ok", None, results.trained(cell, seconds), results.evaluated(cell))


GIVEN = [ok("host", 1, 10.0), ok("host", 2, 12.0), ok("cuda-10.0", 1, 20.0), ok("host", 1, 5.0, "mixed")]


def test_figures_are_means_under_names_without_the_image():
    card = json.loads(scorecard.card(GIVEN, "host"))
    assert list(card) == ["fp32-bs16", "mixed-bs16"]
    assert card["fp32-bs16"]["total_seconds"] == pytest.approx(36.0)  # three epochs of 11 s and 3 s
    assert "peak_gpu_memory_bytes" not in card["fp32-bs16"]
    assert json.loads(scorecard.card(GIVEN, "cuda-10.0"))["fp32-bs16"]["total_seconds"] == pytest.approx(63.0)


def test_a_setting_without_figures_stays_empty():
    given = [Result(Cell("host", "mixed", 16, 1), "unsupported", "why")]
    assert json.loads(scorecard.card(given, "host")) == {"mixed-bs16": {}}
    assert scorecard.curves(given, ["host"]) == "image,setting,epoch,phase,train_loss,valid_loss,accuracy\n"


def test_curves_count_epochs_over_both_phases_and_average_the_repeats():
    rows = list(csv.DictReader(io.StringIO(scorecard.curves(GIVEN, ["host"]))))
    assert {row["image"] for row in rows} == {"host"}
    fp32 = [row for row in rows if row["setting"] == "fp32-bs16"]
    assert [(row["epoch"], row["phase"]) for row in fp32] == [("1", "frozen"), ("2", "unfrozen"), ("3", "unfrozen")]
    assert float(fp32[2]["train_loss"]) == pytest.approx(0.35)


@pytest.fixture
def folder(tmp_path, monkeypatch):
    """A project with results of both of its settings."""
    made = project.make_project(tmp_path / "project", ["host"])
    monkeypatch.chdir(made)
    results.write_dataset()
    codec.write(records.MACHINE_PATH, results.machine())
    for cell in schema.load().cells():
        seconds = 10.0 if cell.precision == "fp32" else 8.0
        results.write_cell(results.trained(cell, seconds, schema.load().recipe), results.evaluated(cell))
    return made


def test_compare_writes_record_and_report(folder):
    printed = project.stage(folder, "compare")
    compared = codec.read(records.COMPARISON_PATH, records.Comparison)
    assert [(each.setting, each.verdict) for each in compared.settings] == [
        ("host/fp32-bs16", "baseline"),
        ("host/mixed-bs16", "faster"),
    ]
    assert "host/mixed-bs16 is faster" in printed and printed.strip() in records.REPORT_PATH.read_text()


def test_results_of_settings_that_params_does_not_name_do_not_count(folder):
    stray = Cell("host", "fp32", 64, 1)
    results.write_cell(results.trained(stray), results.evaluated(stray))
    project.stage(folder, "compare")
    compared = codec.read(records.COMPARISON_PATH, records.Comparison)
    assert "host/fp32-bs64" not in [each.setting for each in compared.settings]


def test_compare_without_any_result_says_so_and_does_not_crash(folder):
    shutil.rmtree(folder / "metrics/host")
    printed = project.stage(folder, "compare")
    assert printed.strip() == "Nothing to compare with: the baseline host/fp32-bs16 has no complete run (missing)."


def test_a_stale_result_is_refused_by_name_on_stderr(folder):
    cell = Cell("host", "mixed", 16, 2)
    results.write_cell(results.trained(cell), results.evaluated(cell))  # of a recipe with one epoch more
    done = project.run_stage(folder, "compare")
    assert done.returncode == 0
    assert done.stderr.startswith(f"faceoff: refused: {cell.train_path}: measured with recipe.unfrozen_epochs 2, now 1")
    assert done.stderr.count("\n") == 1


def test_a_failing_compare_leaves_no_old_comparison(folder):
    project.stage(folder, "compare")
    records.DATASET_PATH.unlink()
    done = project.run_stage(folder, "compare")
    assert (done.returncode, done.stderr.count("\n")) == (1, 1)
    assert "metrics/dataset.json: missing" in done.stderr
    assert not any(path.exists() for path in (records.COMPARISON_PATH, records.REPORT_PATH, records.PAGE_PATH))


def test_scorecard_shows_the_image_that_params_names(folder):
    project.stage(folder, "scorecard")
    card = json.loads(records.SCORECARD_PATH.read_text())
    assert card["fp32-bs16"]["total_seconds"] == pytest.approx(23.0)
    assert records.CURVES_PATH.read_text().count("fp32-bs16") == 2
