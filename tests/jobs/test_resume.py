"""A training that is killed: a job that resumes ends as if nothing had happened, another begins anew and says so."""

import os
import shutil
import signal
import subprocess
import sys
import time

import pytest

from stages import codec, records
from tests.project import make_project, run_stage, stage, write_job

CELL = records.Cell("host", "long", 1)
EPOCHS = 120
TRAIN = [sys.executable, "-m", "stages.inside", "host", "--result", str(CELL.result_path("train"))]


@pytest.fixture(scope="module")
def made(tmp_path_factory):
    """A project ready to train, once; each test has a copy."""
    variants = {"long": {"epochs": EPOCHS, "learning_rate": 0.001}}
    return ready(make_project(tmp_path_factory.mktemp("made"), ["host"], job="says_more", variants=variants))


def ready(folder):
    for name in (("machine",), ("job",), ("download",), ("image", "host")):
        stage(folder, *name)
    return folder


@pytest.fixture
def project(made, tmp_path):
    return shutil.copytree(made, tmp_path / "project")


def events(folder):
    """Which file it is, and how many lines it has."""
    path = folder / CELL.events_path
    return (path.stat().st_ino, len(path.read_text().splitlines())) if path.exists() else (0, 0)


def until(holds, process, seconds=60):
    deadline = time.monotonic() + seconds
    while not holds():
        assert process.poll() is None and time.monotonic() < deadline
        time.sleep(0.02)


def kill_at(folder, count):
    """Kill the training, and all of it, once it has written so many lines."""
    file, _ = events(folder)

    def reported():
        now, lines = events(folder)
        return now != file and lines >= count

    with subprocess.Popen(TRAIN, cwd=folder, start_new_session=True) as process:
        until(reported, process)
        os.killpg(process.pid, signal.SIGKILL)


def trained(folder):
    """Train to the end; what was printed, and the result."""
    printed = stage(folder, "inside", "host", "--result", str(CELL.result_path("train")))
    return printed, codec.read(folder / CELL.result_path("train"), records.Result)


def predictions(folder):
    return (folder / CELL.output_dir / "predictions.csv").read_text()


def test_a_killed_training_goes_on_to_the_same_result(project):
    _, whole = trained(project)
    expected = predictions(project)
    for folder in ("metrics/host/long", "models/host/long"):
        shutil.rmtree(project / folder)

    kill_at(project, 40)
    assert (project / CELL.state_dir / "checkpoint.json").exists() and not (
        project / CELL.result_path("train")
    ).exists()
    kill_at(project, 30)
    _, result = trained(project)
    assert len(result.attempts) == 3 and result.attempts[2].after_spans > result.attempts[1].after_spans > 0
    assert [span.values for span in result.spans] == [span.values for span in whole.spans]
    assert (predictions(project), result.metrics) == (expected, whole.metrics)
    assert any("trained in 3 attempts, anew after " in warning for warning in result.warnings)
    assert result.command_seconds == pytest.approx(sum(each.seconds for each in result.attempts))


def test_a_job_that_does_not_resume_begins_anew_and_says_so(project):
    path = project / "jobs/says_more/job.yaml"
    path.write_text(path.read_text().replace("resumes: true", "resumes: false"))
    stage(project, "job")
    kill_at(project, 40)
    printed, result = trained(project)
    assert "host/long, repeat 1: begins anew: its job.yaml does not say `resumes: true`" in printed
    assert len(result.attempts) == 1 and len(result.spans) == EPOCHS and result.attempts[0].after_spans == 0


def test_a_checkpoint_of_another_variant_is_not_gone_on_from(project):
    kill_at(project, 40)
    path = project / "params.yaml"
    path.write_text(path.read_text().replace("learning_rate: 0.001", "learning_rate: 0.01"))
    printed, result = trained(project)
    assert "begins anew: the earlier attempt was of another state: " in printed and "learning_rate" in printed
    assert len(result.attempts) == 1 and len(result.spans) == EPOCHS


STALLS = {"stall_minutes": 0.1, "cell_minutes": None}  # 6 s
STEP = 'echo \'{"span": "work", "seconds": 1}\' >> "$FACEOFF_EVENTS"\n'


@pytest.fixture(scope="module")
def made_hanging(tmp_path_factory):
    return ready(make_project(tmp_path_factory.mktemp("hanging"), ["host"], limits=STALLS))


@pytest.fixture
def hanging(made_hanging, tmp_path):
    return shutil.copytree(made_hanging, tmp_path / "project")


def attempt(folder, script):
    write_job(folder, "tiny", {"train.sh": script})
    done = run_stage(folder, "inside", "host", "--result", "metrics/host/plain/train-1.json")
    return done, codec.read(folder / "metrics/host/plain/train-1.json", records.Result)


def test_the_stall_limit_is_armed_by_the_first_event_and_not_before(hanging):
    done, result = attempt(hanging, "sleep 8\n" + STEP)
    assert (done.returncode, result.status) == (0, "ok")
    done, result = attempt(hanging, STEP + "sleep 60\n")
    assert done.returncode != 0 and result.status == "failed"
    assert result.reason.startswith("no event for 0.1 minutes (limits.stall_minutes)")


def test_a_touch_is_a_sign_of_life(hanging):
    done, result = attempt(hanging, 'for i in 1 2 3 4 5 6 7 8; do touch "$FACEOFF_EVENTS"; sleep 1; done\n' + STEP)
    assert (done.returncode, result.status) == (0, "ok")


def test_a_job_that_writes_no_event_has_no_stall_limit_and_that_is_said(hanging):
    write_job(hanging, "tiny", {"job.yaml": "train: bash train.sh\n"})
    stage(hanging, "job")
    done, result = attempt(hanging, "sleep 7\n")
    assert (done.returncode, result.status) == (0, "ok")
    assert done.stdout.count("limits.stall_minutes is off: the job wrote no event") == 1
