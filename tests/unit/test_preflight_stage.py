"""What the entry of preflight finds in a checkout: data, results and images, of this run, another or an old one."""

import dataclasses
import json
import shutil
from datetime import UTC, datetime, timedelta

import pytest

from stages import codec, records
from tests.project import cell_stage, make_project, run_stage, stage, write_job

# It has data of its own, and says what it needs.
JOB = {
    "job.yaml": "train: bash train.sh {size}\ndownload: bash download.sh\nestimate: bash estimate.sh\nresumes: true\n"
    "total: [work]\n",
    "train.sh": 'echo \'{"span": "work", "seconds": 7200}\' >> $FACEOFF_EVENTS\n',
    "download.sh": "echo some data > $FACEOFF_DATA/file\n",
    "estimate.sh": 'echo \'{"estimate": {"data_bytes": 9000000, "output_bytes": 1000000, "state_bytes": 2000000, '
    '"shm_bytes": 65536, "elsewhere_bytes": {"/tmp/no/such/cache": 5000000}}}\' >> $FACEOFF_EVENTS\n'
    "echo asked >> ../../asked\n",
}


@pytest.fixture(scope="module")
def made(tmp_path_factory):
    """A project that has looked at its machine: two variants, three repeats each. Each test has a copy."""
    variants = {"small": {"size": 1}, "large": {"size": 2}}
    folder = tmp_path_factory.mktemp("made")
    make_project(folder, ["host"], job="mine", variants=variants, session={"max_hours": 9.0})
    write_job(folder, "mine", JOB)
    stage(folder, "machine")
    return folder


@pytest.fixture
def folder(made, tmp_path):
    return shutil.copytree(made, tmp_path, dirs_exist_ok=True)


def checks(folder):
    stage(folder, "preflight")
    document = codec.read(folder / records.PREFLIGHT_PATH, records.Preflight)
    assert document.image is None
    return {check.name: check for check in document.checks}


def prepare(folder):
    """Run all that stands before the cells."""
    settings = (("setting", "host", variant) for variant in ("small", "large"))
    for name in (("job",), ("download",), ("image", "host"), *settings):
        stage(folder, *name)


def test_what_the_job_says_is_what_is_looked_for(folder):
    found = checks(folder)
    disk = found["disk of the checkout"]
    assert disk.needed == "8.6 MiB for the job's data, 5.7 MiB for outputs of 6 cells, 1.9 MiB for a checkpoint"
    assert disk.status == "passed"
    assert found["host: shared memory, small"].needed == "64 KiB in /dev/shm"
    elsewhere = found["disk of /tmp/no/such/cache"]
    assert elsewhere.needed.startswith("4.8 MiB for what the job writes to /tmp/no/such/cache, besides ")
    assert elsewhere.found.endswith(" free at /tmp")


def test_data_is_needed_until_that_of_this_section_is_there(folder):
    def needed():
        return checks(folder)["disk of the checkout"].needed.split(",")[0]

    assert needed() == "8.6 MiB for the job's data"
    prepare(folder)
    assert needed() == "0 B for the job's data"
    with (folder / "params.yaml").open("a") as params:
        params.write("mine: {source: another}\n")
    assert needed() == "8.6 MiB for the job's data"


def test_a_session_is_held_against_what_cells_took(folder):
    assert checks(folder)["session"].status == "not checked"
    prepare(folder)
    for name in ("train", "evaluate"):
        cell_stage(folder, name, "host", "small")
    path = folder / records.Cell("host", "small", 1).result_path("train")
    document = json.loads(path.read_text())
    assert document["spans"][0]["seconds"] == 7200
    found = checks(folder)["session"]  # of cells that took a moment, of which one span claims two hours
    assert found.status == "passed" and found.needed.startswith("0.0 h for 5 cells, 0.0 h for the longest, by what 1")
    text = (folder / "params.yaml").read_text()
    (folder / "params.yaml").write_text(text.replace("max_hours: 9.0", "max_hours: 1.0"))
    run_stage(folder, "preflight")
    found = codec.read(folder / records.PREFLIGHT_PATH, records.Preflight).checks
    advice = next(check.advice for check in found if check.name == "session")
    assert advice.startswith("not one span would end in time")


def test_pairs_that_will_not_count_are_told_before_anything_is_measured(folder):
    prepare(folder)
    for name in ("train", "evaluate"):
        cell_stage(folder, name, "host", "small")
    assert "will not count" not in run_stage(folder, "preflight").stdout  # the block goes on
    for name in ("train", "evaluate"):
        path = folder / records.Cell("host", "small", 1).result_path(name)
        hours_ago = (datetime.now(UTC) - timedelta(hours=2)).isoformat()
        codec.write(path, dataclasses.replace(codec.read(path, records.Result), started_at=hours_ago))
    said = run_stage(folder, "preflight").stdout
    assert (
        "faceoff: 1 pair with the baseline will not count: one cell of each is kept, the other is of a later block of "
        "repeats; `rm -r metrics/host/small` has all of them measured together" in said
    )
    cell = records.Cell("host", "small", 1).result_path("train").parent
    shutil.rmtree(folder / cell)
    assert "will not count" not in run_stage(folder, "preflight").stdout


def test_a_job_is_asked_about_settings_that_have_cells_left(folder):
    def asked():
        (folder / "asked").unlink(missing_ok=True)
        checks(folder)
        return len((folder / "asked").read_text().splitlines()) if (folder / "asked").exists() else 0

    text = (folder / "params.yaml").read_text()
    shortened = text[: text.index("repeats:")] + "repeats: [1]\n" + text[text.index("seed:") :]
    (folder / "params.yaml").write_text(shortened)
    assert asked() == 2
    prepare(folder)
    for name in ("train", "evaluate"):
        cell_stage(folder, name, "host", "small")
    assert asked() == 1
    for name in ("train", "evaluate"):
        cell_stage(folder, name, "host", "large")
    assert asked() == 0
    (folder / "jobs/mine/train.sh").write_text("# another training\n" + JOB["train.sh"])
    assert asked() == 2  # its results do not count any more


def test_a_job_that_cannot_say_is_not_checked_with_its_own_words(folder):
    write_job(folder, "mine", {"estimate.sh": 'echo \'{"error": "no idea"}\' >> $FACEOFF_EVENTS\n'})
    found = checks(folder)
    for name in ("shared memory", "disk of the checkout"):
        assert found[name].status == "not checked"
        assert "jobs/mine/job.yaml: estimate of variant small: no idea" in found[name].needed + found[name].found


def test_what_another_version_left_is_not_in_the_way(folder):
    for path in (records.image_path("host"), records.MANIFEST_PATH, records.JOB_PATH):
        (folder / path).parent.mkdir(parents=True, exist_ok=True)
        (folder / path).write_text(json.dumps({"schema_version": 1}))
    assert checks(folder)["session"].status == "not checked"


def test_everything_is_shown_when_asked_for(folder):
    quiet = run_stage(folder, "preflight").stdout
    assert "disk of the checkout" not in quiet and "preflight: nothing failed: " in quiet
    shown = stage(folder, "preflight", "--all")
    assert "passed: disk of the checkout: needs " in shown
    assert "not looked inside host: the job's data is not here yet" in shown
    prepare(folder)
    assert "preflight in host: " in stage(folder, "preflight", "--all")
    assert codec.read(folder / records.preflight_path("host"), records.Preflight).image == "host"
    assert not (folder / records.profile_path("host")).exists()
