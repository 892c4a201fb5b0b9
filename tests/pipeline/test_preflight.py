"""Preflight in the pipeline: what it refuses ends `dvc repro` before anything is downloaded or built, and what it
writes makes nothing run again.

One checkout serves all tests, in the order in which they stand.
"""

import shutil

import pytest

from stages import codec, records
from tests.pipeline.test_pipeline import ALWAYS, Checkout
from tests.project import ROOT


@pytest.fixture(scope="module")
def checkout(tmp_path_factory):
    made = Checkout(tmp_path_factory.mktemp("checkout") / "project", images=["host"], repeats=[1])
    shutil.copy(ROOT / "stages/preflight.py", made.path / "stages")
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
    assert checkout.repro()[:3] == ["machine", "job", "download"]
    assert "failed" not in statuses(checkout).values()


def test_what_it_writes_makes_nothing_run_again_and_is_no_change_to_commit(checkout):
    checkout.commit("Results")
    (checkout.path / records.PREFLIGHT_PATH).unlink()
    assert checkout.repro() == ALWAYS
    assert "disk of the checkout" in statuses(checkout)
    assert checkout.run("git", "status", "--porcelain", "--untracked-files=all") == ""


def test_what_cannot_work_inside_an_image_is_refused_before_its_cells(checkout):
    job = checkout.path / "jobs/paced/job.yaml"  # of which /dev/shm needs more than any machine has
    job.write_text(job.read_text() + "estimate: python estimate.py\n")
    estimate = checkout.path / "jobs/paced/estimate.py"
    line = '{"estimate": {"shm_bytes": 1000000000000000}}'
    estimate.write_text(f"import os; open(os.environ['FACEOFF_EVENTS'], 'a').write('{line}')")
    ran = checkout.repro(code=255)
    assert not [name for name in ran if name.startswith("train")] and "compare" not in ran
    estimate.write_text("")
    assert "train@1-host-fp32" in checkout.repro()
