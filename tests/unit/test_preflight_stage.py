"""What the entry of preflight finds in a checkout: photos, results and images, of this run, another or an old one."""

import contextlib
import json

import pytest

from stages import codec, records
from stages.harness.params import schema
from tests import results
from tests.project import make_project, run_stage, stage


@pytest.fixture
def folder(tmp_path):
    """A project that has looked at its machine."""
    make_project(tmp_path, ["host"], session={"max_hours": 9.0})
    stage(tmp_path, "machine")
    return tmp_path


def checks(folder):
    stage(folder, "preflight")
    document = codec.read(folder / records.PREFLIGHT_PATH, records.Preflight)
    assert document.image is None
    return {check.name: check for check in document.checks}


def test_photos_are_needed_until_those_of_this_source_are_there(folder):
    def needed():
        return checks(folder)["disk of the checkout"].needed.split(",")[0]

    assert needed() == "8.7 MiB for photos"  # 320 and 96 drawn ones
    stage(folder, "download")
    assert needed() == "0 B for photos"
    text = (folder / "params.yaml").read_text()
    (folder / "params.yaml").write_text(text.replace("train_photos: 320", "train_photos: 321"))
    assert needed() == "8.7 MiB for photos"


def test_models_that_are_there_take_no_more_room(folder):
    cell = schema.load(folder).cells()[0]
    (folder / cell.model_dir).mkdir(parents=True)
    (folder / cell.model_dir / "model.pth").touch()
    assert checks(folder)["disk of the checkout"].needed.endswith("for 5 models, 109 MiB for a checkpoint")


def test_a_session_is_held_against_what_cells_took(folder):
    assert checks(folder)["session"].status == "not checked"
    wanted = schema.load(folder)
    cell, machine = wanted.cells()[0], codec.read(folder / records.MACHINE_PATH, records.Machine)
    ran = results.trained(cell, 1.0, recipe=wanted.recipe, machine_sha256=codec.fingerprint(machine), wall_seconds=7190)
    with contextlib.chdir(folder):
        results.write_cell(ran, results.evaluated(cell, wall_seconds=10.0))
    dataset = records.Dataset("synthetic", results.DATASET_SHA256, {}, 0, 0, {}, None)
    codec.write(folder / records.DATASET_PATH, dataset)
    found = checks(folder)["session"]
    assert found.status == "warning"
    assert found.needed == "10.0 h for 5 cells, 2.0 h for the longest, by what 1 took"


def test_what_another_version_left_is_not_in_the_way(folder):
    for path in (records.image_path("host"), records.DATASET_PATH):
        (folder / path).parent.mkdir(parents=True, exist_ok=True)
        (folder / path).write_text(json.dumps({"schema_version": 1}))
    assert checks(folder)["session"].status == "not checked"


def test_everything_is_shown_when_asked_for(folder):
    quiet = run_stage(folder, "preflight").stdout
    assert "disk of the checkout" not in quiet and " checks passed" in quiet
    assert "passed: disk of the checkout: needs " in run_stage(folder, "preflight", "--all").stdout
