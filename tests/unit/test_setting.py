"""What results have to be of, setting.json: all that stage `setting` of dvc.yaml depends on is in it."""

import dataclasses
import shutil
import sys

import pytest
import yaml

from stages import codec, records, setting
from stages.harness.results import read
from stages.records import Belongs
from tests import results
from tests.project import ROOT, make_project

IMAGE, VARIANT = "host", "plain"
OTHERS = {  # by a dependency in dvc.yaml, another record of its kind
    "data/manifest.json": records.Manifest("toy", "f" * 64, 416, 9_000_000),
    "metrics/job.json": dataclasses.replace(results.JOB, seed=7),
    "metrics/machine.json": results.machine("two"),
    "metrics/host/image.json": dataclasses.replace(results.image(IMAGE), env={"A": "2"}),
    "metrics/host/facts.json": dataclasses.replace(results.facts(IMAGE), glibc="2.40"),
}


@pytest.fixture
def project(tmp_path, monkeypatch):
    monkeypatch.chdir(make_project(tmp_path, [IMAGE], variants={"plain": {"env": {"A": "1"}}, "other": {}}))
    monkeypatch.setattr(sys, "argv", ["", IMAGE, VARIANT])
    results.write_run(results.JOB)
    codec.write(records.image_path(IMAGE), results.image(IMAGE))
    codec.write(records.facts_path(IMAGE), results.facts(IMAGE))
    return tmp_path


def written():
    assert setting.main() == 0
    return codec.read(read.setting_path(IMAGE, VARIANT), Belongs)


def test_each_dependency_and_each_key_makes_another_one(project):
    stage = yaml.safe_load((ROOT / "dvc.yaml").read_text())["stages"]["setting"]
    seen = [written()]
    for path in (each.replace("${item.image}", IMAGE) for each in stage["deps"]):
        if path in OTHERS:
            codec.write(project / path, OTHERS[path])
        else:
            file = project / path / "device.py" if (project / path).is_dir() else project / path
            file.write_text("something else")
        seen.append(written())
    params = yaml.safe_load((project / "params.yaml").read_text())
    assert stage["params"] == ["container", "variants.${item.variant}"]
    for change in (params["container"].update, params["variants"].update):
        change({"memory": "8g"} if not seen[-1].container.memory else {VARIANT: {"env": {}}})
        (project / "params.yaml").write_text(yaml.safe_dump(params))
        seen.append(written())
    assert all(now != then for now, then in zip(seen, seen[1:], strict=False))


def test_another_variant_another_repeat_and_compiled_code_change_nothing(project):
    before = written()
    params = yaml.safe_load((project / "params.yaml").read_text())
    params |= {"repeats": [1, 2, 3, 4], "variants": {**params["variants"], "other": {"env": {}}}}
    (project / "params.yaml").write_text(yaml.safe_dump(params))
    (project / "stages/workload/__pycache__").mkdir(exist_ok=True)
    (project / "stages/workload/__pycache__/device.cpython-311.pyc").write_bytes(b"code")
    assert written() == before


def test_another_image_tells_which_results_will_be_measured_again_and_another_job_was_told_before(project, capsys):
    cell = records.Cell(IMAGE, VARIANT, 2)
    before = written()
    results.write_cell(results.trained(cell, belongs=before), results.evaluated(cell, belongs=before))
    capsys.readouterr()
    written()
    assert capsys.readouterr().out == ""
    codec.write(records.image_path(IMAGE), OTHERS["metrics/host/image.json"])
    written()
    line, advice = capsys.readouterr().out.splitlines()
    assert line == (
        "faceoff: 1 cell with results will be measured again, about 50.0 s: they were measured in another image than "
        "that of metrics/host/image.json"
    )
    assert "to keep them, stop now (Ctrl-C)" in advice
    codec.write(records.JOB_PATH, OTHERS["metrics/job.json"])
    written()
    assert capsys.readouterr().out == ""


def test_it_is_not_left_from_an_earlier_run_where_it_fails(project):
    written()
    shutil.rmtree("data")
    with pytest.raises(codec.RecordError, match="manifest"):
        setting.main()
    assert not read.setting_path(IMAGE, VARIANT).exists()
