"""Preflight in the pipeline: what it refuses ends `dvc repro` before anything is downloaded or built, and what it
writes makes nothing run again. The stages are stand-ins, but for preflight itself.

One checkout serves all tests, in the order in which they stand.
"""

import shutil

import pytest

from stages import codec, records
from tests.pipeline.test_pipeline import ALWAYS, ROOT, Checkout


@pytest.fixture(scope="module")
def checkout(tmp_path_factory):
    made = Checkout(tmp_path_factory.mktemp("checkout") / "project")
    shutil.copy(ROOT / "stages/preflight.py", made.path / "stages")
    changed(made, "images: [host, cuda-10.0]", "images: [host]")
    changed(made, "repeats: [1, 2, 3]", "repeats: [1]")
    return made


def changed(checkout, old, new):
    path = checkout.path / "params.yaml"
    text = path.read_text()
    assert old in text
    path.write_text(text.replace(old, new))


def statuses(checkout):
    document = codec.read(checkout.path / records.PREFLIGHT_PATH, records.Preflight)
    return {check.name: check.status for check in document.checks}


def test_what_cannot_work_is_refused_before_anything_is_downloaded_or_built(checkout):
    changed(checkout, "gpus: auto", "gpus: all")
    assert checkout.repro(code=255) == ["machine"]
    assert statuses(checkout)["GPUs"] == "failed"
    assert not (checkout.path / records.MANIFEST_PATH).exists()
    assert not (checkout.path / records.image_path("host")).exists()


def test_it_goes_on_once_that_is_mended(checkout):
    changed(checkout, "gpus: all", "gpus: auto")
    assert checkout.repro()[:3] == ["machine", "download", "image@host"]
    assert "failed" not in statuses(checkout).values()


def test_what_it_writes_makes_nothing_run_again_and_is_no_change_to_commit(checkout):
    checkout.commit("Results")
    (checkout.path / records.PREFLIGHT_PATH).unlink()
    assert checkout.repro() == ALWAYS
    assert "disk of the checkout" in statuses(checkout)
    assert checkout.run("git", "status", "--porcelain", "--untracked-files=all") == ""


def test_what_cannot_work_inside_an_image_is_refused_before_its_cells(checkout):
    changed(checkout, "max_hours: null", "max_hours: 9.0")  # which preflight inside asks for, and the cells do not
    (checkout.path / "refuse-inside").touch()
    assert checkout.repro(code=255) == ["machine", "profile@host"]
    (checkout.path / "refuse-inside").unlink()
    assert checkout.repro() == ["machine", "profile@host", *ALWAYS[1:]]
