"""What cells depend on: a digest and a value for all that stage `setting` of dvc.yaml names."""

import shutil

import pytest
import yaml

from stages import setting
from stages.errors import FaceoffError
from tests.project import ROOT, make_project

IMAGE, VARIANT = "host", "plain"


@pytest.fixture
def project(tmp_path, monkeypatch):
    monkeypatch.chdir(make_project(tmp_path, [IMAGE], variants={"plain": {"env": {"A": "1"}}, "other": {}}))
    shutil.copy(ROOT / "dvc.yaml", tmp_path)
    for path in stage()["deps"]:
        path = tmp_path / setting.filled(path, IMAGE, VARIANT)
        path.parent.mkdir(parents=True, exist_ok=True)
        if not path.exists():
            path.write_text("something")
    return tmp_path


def stage():
    return yaml.safe_load((ROOT / "dvc.yaml").read_text())["stages"]["setting"]


def depended_on():
    return setting.depended_on(IMAGE, VARIANT)


def test_all_that_dvc_yaml_names_is_in_it(project):
    found = depended_on()
    assert list(found["files"]) == [setting.filled(each, IMAGE, VARIANT) for each in stage()["deps"]]
    assert found["params"]["variants.plain"] == {"env": {"A": "1"}}
    assert found["params"]["container"]["shm_size"] == "1g"


def test_each_file_and_each_param_makes_another_one(project):
    seen = [depended_on()]
    for path in depended_on()["files"]:
        file = project / path
        file = file / "device.py" if file.is_dir() else file
        file.write_text("something else")
        seen.append(depended_on())
    params = yaml.safe_load((project / "params.yaml").read_text())
    for key in ("container", "variants"):
        params[key]["plain" if key == "variants" else "memory"] = {"env": {}} if key == "variants" else "8g"
        (project / "params.yaml").write_text(yaml.safe_dump(params))
        seen.append(depended_on())
    assert all(now != then for now, then in zip(seen, seen[1:], strict=False))


def test_another_variant_another_repeat_and_compiled_code_change_nothing(project):
    before = depended_on()
    params = yaml.safe_load((project / "params.yaml").read_text())
    params |= {"repeats": [1, 2, 3, 4], "variants": {**params["variants"], "other": {"env": {}}}}
    (project / "params.yaml").write_text(yaml.safe_dump(params))
    (project / "stages/workload/__pycache__").mkdir(exist_ok=True)
    (project / "stages/workload/__pycache__/device.cpython-311.pyc").write_bytes(b"code")
    assert depended_on() == before


def test_what_dvc_fills_in_and_the_stage_does_not_is_refused(project):
    text = (project / "dvc.yaml").read_text().replace("- stages/train.py\n", "- stages/${job}.py\n")
    (project / "dvc.yaml").write_text(text)
    with pytest.raises(FaceoffError, match=r"expected .+item.image.+, found stages/"):
        depended_on()
