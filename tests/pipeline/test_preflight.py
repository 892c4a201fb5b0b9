"""Preflight in the pipeline: what it refuses ends `dvc repro` before anything is downloaded or built, and what it
writes makes nothing run again.

One checkout serves all tests, in the order in which they stand.
"""

import re

import pytest

from stages import records
from tests.jobs import checkout
from tests.project import write_job

ALWAYS = ["machine", "job", "image@host", "compare", "scorecard"]
JOB = {
    "job.yaml": "train: bash train.sh\ntotal: [work]\ndry_run: true\n",
    "train.sh": 'if test -n "$FACEOFF_STEPS" && test -e ../../refuse-inside; then exit 3; fi\n'
    'echo \'{"span": "work", "seconds": 0.1, "steps": 2}\' >> "$FACEOFF_EVENTS"\n',
}


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    made = checkout.make(tmp_path_factory.mktemp("checkout") / "project", ["host"], job="mine", repeats=[1])
    elsewhere = made.with_name("elsewhere")
    elsewhere.mkdir()
    write_job(made, "mine", {**JOB, "job.yaml": f"{JOB['job.yaml']}data: [{elsewhere}]\n"})
    (made / ".git/info/exclude").write_text("/refuse-inside\n")
    return made


def changed(folder, old, new):
    path = folder / "params.yaml"
    text = path.read_text()
    assert old in text
    path.write_text(text.replace(old, new))


def repro(folder, code=0):
    """`dvc repro`; the names of the stages that ran, in order."""
    return re.findall(r"^Running stage '(.*)':$", checkout.run(folder, "dvc", "repro", code=code), re.MULTILINE)


def statuses(folder):
    return {name: check.status for name, check in checkout.preflight(folder).items()}


def test_what_cannot_work_is_refused_before_anything_is_downloaded_or_built(folder):
    changed(folder, "gpus: none", "gpus: GPU-00000000")
    assert repro(folder, code=255) == ["machine"]
    assert not (folder / records.MANIFEST_PATH).exists()
    assert not (folder / records.image_path("host")).exists()


def test_it_goes_on_once_that_is_mended(folder):
    changed(folder, "gpus: GPU-00000000", "gpus: none")
    assert repro(folder)[:4] == ["machine", "job", "download", "image@host"]
    assert "failed" not in statuses(folder).values()


def test_what_it_writes_makes_nothing_run_again_and_is_no_change_to_commit(folder):
    checkout.run(folder, "git", "add", "--all")
    checkout.run(folder, "git", "-c", "user.name=t", "-c", "user.email=t@localhost", "commit", "-qm", "Results")
    (folder / records.PREFLIGHT_PATH).unlink()
    assert repro(folder) == ALWAYS
    assert "limits of host" in statuses(folder)
    assert checkout.run(folder, "git", "status", "--porcelain", "--untracked-files=all") == ""


def test_what_cannot_work_inside_an_image_is_refused_before_its_cells(folder):
    changed(folder, "max_hours: null", "max_hours: 9.0")  # which preflight inside asks for, and the cells do not
    (folder / "refuse-inside").touch()
    assert repro(folder, code=255) == ["machine", "job", "image@host", "profile@host"]
    inside = checkout.preflight(folder, "host")
    assert inside["dry-run, plain"].status == "failed"
    (folder / "refuse-inside").unlink()
    assert repro(folder) == ["machine", "job", "image@host", "profile@host", *ALWAYS[3:]]


def test_a_file_more_among_the_data_elsewhere_is_noticed_in_the_next_run(folder):
    (folder.with_name("elsewhere") / "more").write_text("a text more")
    assert repro(folder)[:3] == ["machine", "job", "download"]
    assert repro(folder) == ALWAYS
