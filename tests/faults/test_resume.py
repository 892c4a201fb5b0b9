"""Trainings that end early, each for real: what the next run makes of them, beside a training that nothing disturbed.

Equal means equal: every bit of the losses and accuracies.
"""

import dataclasses
import json
import os
import re
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import pytest
import yaml

from stages import codec, records
from stages.workload import checkpoint
from tests import training
from tests.mounts import mounting
from tests.project import ROOT, stage
from tests.training import FROZEN_EPOCHS, UNFROZEN_EPOCHS, cell, kept_epochs, learned, result

pytestmark = pytest.mark.slow

EPOCHS = FROZEN_EPOCHS + UNFROZEN_EPOCHS
PAUSE_SECONDS = 15  # more than what of a process is not in its wall time: its very begin and end


@pytest.fixture(scope="module")
def undisturbed(tmp_path_factory):
    """A project in which the cell was trained in one sitting."""
    folder = training.prepared(tmp_path_factory.mktemp("project"), "host")
    done = training.run(folder, "host")
    assert done.returncode == 0, done.stderr
    return folder


@pytest.fixture
def project(undisturbed, tmp_path):
    """The same, not trained yet."""
    return untrained(undisturbed, tmp_path / "project")


def untrained(undisturbed: Path, folder: Path) -> Path:
    shutil.copytree(undisturbed, folder)
    shutil.rmtree(folder / "models")
    (folder / cell("host").train_path).unlink()
    return folder


def kill_when(project: Path, happened: Callable[[], bool]) -> None:
    with training.started(project, "host") as process:
        training.wait_for(process, happened)
        training.kill(process)


def goes_on_to_the_same_end(project: Path, undisturbed: Path, sittings: int = 2) -> None:
    kept = kept_epochs(project, "host")
    done = training.run(project, "host")
    assert done.returncode == 0 and not done.stderr, done.stderr
    assert f"goes on after epoch {len(kept)} of {EPOCHS}, sitting {sittings}" in done.stdout
    trained, whole = result(project, "host"), result(undisturbed, "host")
    assert learned(trained) == learned(whole)
    assert [dataclasses.asdict(epoch) for epoch in trained.epochs[: len(kept)]] == kept
    assert trained.sittings == sittings and len(trained.conditions) == sittings + 1
    assert any(f"trained in {sittings} sittings" in warning for warning in trained.warnings)
    weights = [(folder / cell("host").model_dir / "model.pth").read_bytes() for folder in (project, undisturbed)]
    assert weights[0] == weights[1]
    left = [path.name for path in (project / cell("host").model_dir).parent.iterdir()]
    assert left == ["1"], "a finished cell's checkpoint could give its times to a later run"


def test_killed_after_the_last_epoch(project, undisturbed):
    """The ceilings are still to be measured then, of a network that this process has not trained."""
    kill_when(project, lambda: len(kept_epochs(project, "host")) == EPOCHS)
    goes_on_to_the_same_end(project, undisturbed)
    assert result(project, "host").ceilings is not None


def test_killed_in_the_middle_of_an_epoch(project, undisturbed):
    half_seconds = result(undisturbed, "host").epochs[2].epoch_seconds / 2
    with training.started(project, "host") as process:
        training.wait_for(process, lambda: len(kept_epochs(project, "host")) == 2)
        time.sleep(half_seconds)
        training.kill(process)
    goes_on_to_the_same_end(project, undisturbed)


def test_killed_while_the_checkpoint_is_written(project, undisturbed):
    path = project / cell("host").checkpoint_path
    temporary = path.with_name(path.name + ".tmp")
    kill_when(project, lambda: len(kept_epochs(project, "host")) == 1 and temporary.exists())
    assert temporary.exists() and len(kept_epochs(project, "host")) == 1
    goes_on_to_the_same_end(project, undisturbed)


def test_killed_before_any_epoch_is_one_sitting(project, undisturbed):
    kill_when(project, lambda: (project / cell("host").model_dir).exists())
    done = training.run(project, "host")
    assert done.returncode == 0, done.stderr
    assert result(project, "host").sittings == 1
    assert learned(result(project, "host")) == learned(result(undisturbed, "host"))


def test_killed_twice_and_pauses_are_not_counted(project, undisturbed):
    began = time.monotonic()
    for epochs in (1, 3):
        kill_when(project, lambda epochs=epochs: len(kept_epochs(project, "host")) >= epochs)
        time.sleep(PAUSE_SECONDS)
    goes_on_to_the_same_end(project, undisturbed, sittings=3)
    trained = result(project, "host")
    busy_seconds = time.monotonic() - began - 2 * PAUSE_SECONDS
    assert sum(epoch.epoch_seconds for epoch in trained.epochs) < trained.wall_seconds < busy_seconds


def test_a_copy_of_the_folder_that_was_taken_in_the_middle_goes_on(project, undisturbed, tmp_path):
    """What a power cut leaves, or a session's disk that was saved while it ran."""
    copy = tmp_path / "copy"
    with training.started(project, "host") as process:
        training.wait_for(process, lambda: len(kept_epochs(project, "host")) == 2)
        shutil.copytree(project, copy, ignore_dangling_symlinks=True)
        training.kill(process)
    goes_on_to_the_same_end(copy, undisturbed)


# ------------------------------------------------------------------------------------------- what does not belong


@pytest.fixture(scope="module")
def interrupted(undisturbed, tmp_path_factory):
    """A project whose training was killed after its second epoch."""
    project = untrained(undisturbed, tmp_path_factory.mktemp("interrupted") / "project")
    kill_when(project, lambda: len(kept_epochs(project, "host")) >= 2)
    return project


def rewrite(path, kind, **changes):
    codec.write(path, dataclasses.replace(codec.read(path, kind), **changes))


def first_lines(project):
    """What a training says until its first epoch is through."""
    with training.started(project, "host") as process:
        lines = [process.stdout.readline()]
        while "epoch " not in lines[-1]:
            assert lines[-1], "".join(lines)
            lines.append(process.stdout.readline())
    return lines


def test_a_checkpoint_of_another_training_is_named_with_all_that_differs(interrupted, tmp_path):
    project = tmp_path / "project"
    shutil.copytree(interrupted, project)
    params = yaml.safe_load((project / "params.yaml").read_text())
    params["recipe"]["pct_start"] = 0.1
    (project / "params.yaml").write_text(yaml.safe_dump(params))
    rewrite(project / records.MANIFEST_PATH, records.Manifest, sha256="1" * 64)
    rewrite(project / records.MACHINE_PATH, records.Machine, machine_id="another")
    rewrite(project / records.image_path("host"), records.Image, name="another")
    (project / "stages/workload/more.py").touch()
    lines = first_lines(project)
    [said] = [line for line in lines if line.startswith("faceoff: ")]
    place = f"faceoff: {cell('host').checkpoint_path} is not used: of another training \\("
    value = r'"[0-9a-f]{16}\.\.\.'
    names = [f"{name} was {value}, is {value}" for name in ("code", "data set", "image", "machine")]
    differences = "; ".join([*names, r"recipe\.pct_start was 0\.05, is 0\.1"])
    assert re.fullmatch(rf"{place}{differences}\); the cell begins anew\n", said), said
    assert lines[-1].startswith("frozen epoch 1:") and not any("goes on after" in line for line in lines)


def test_a_damaged_checkpoint_is_named_and_not_used(interrupted, tmp_path):
    project = tmp_path / "project"
    shutil.copytree(interrupted, project)
    os.truncate(project / cell("host").checkpoint_path, 1_000_000)
    lines = first_lines(project)
    [said] = [line for line in lines if line.startswith("faceoff: ")]
    problem = "is not used: damaged: its sha256 is another; the cell begins anew"
    assert said == f"faceoff: {cell('host').checkpoint_path} {problem}\n"
    assert lines[-1].startswith("frozen epoch 1:")


DAMAGES = {
    "cut short": (lambda whole: whole[:-1], "damaged: its sha256 is another"),
    "a bit": (lambda whole: whole[:-1000] + bytes([whole[-1000] ^ 1]) + whole[-999:], "damaged: its sha256 is another"),
    "a figure": (lambda whole: whole.replace(b'_seconds": ', b'_seconds": 1', 1), "damaged: its sha256 is another"),
    "longer": (lambda whole: whole + whole, "damaged: its sha256 is another"),
    "nothing but its first line": (lambda whole: whole.partition(b"\n")[0] + b"\n", "damaged: its sha256 is another"),
    "empty": (lambda whole: b"", "damaged: it does not begin as a checkpoint does"),
    "zeros": (lambda whole: bytes(len(whole)), "damaged: it does not begin as a checkpoint does"),
    "older": (lambda whole: whole.replace(b" 1 ", b" 0 ", 1), "of another version of faceoff (format 0, now 1)"),
}


@pytest.mark.parametrize("name", [None, *DAMAGES])
def test_damage_is_found_before_anything_is_unpickled(interrupted, tmp_path, capfd, monkeypatch, name):
    whole = (interrupted / cell("host").checkpoint_path).read_bytes()
    change, words = DAMAGES.get(name, (lambda whole: whole, None))
    path = tmp_path / "1.checkpoint"
    path.write_bytes(change(whole))
    unpickled = []
    monkeypatch.setattr(checkpoint.torch, "load", lambda *arguments, **options: unpickled.append(arguments))
    belongs = json.loads(whole.split(b"\n", 2)[1])["belongs"]
    found = checkpoint.load(path, belongs)
    said = capfd.readouterr().err
    if words is None:
        assert found and len(found[0].epochs) == 2 and unpickled and not said
    else:
        assert found is None and not unpickled
        assert said == f"faceoff: {path} is not used: {words}; the cell begins anew\n"


def test_a_disk_too_full_for_a_checkpoint_is_named_and_the_training_ends_well(project, undisturbed):
    """Of its own, with room for the model and the first checkpoint, and not for one with all layers' moments."""
    script = f"""
    mkdir -p models
    mount -t tmpfs -o size=120m tmpfs models
    {" ".join(training.command("host"))}
    ls -A models/host/fp32-bs16
    """
    done = mounting(script, project, **training.ENVIRONMENT)
    assert done.returncode == 0, done.stderr
    said = [line for line in done.stderr.splitlines() if "not written" in line]
    assert len(said) == UNFROZEN_EPOCHS and all("No space left" in line for line in said), done.stderr
    assert done.stdout.splitlines()[-1] == "1"
    assert learned(result(project, "host")) == learned(result(undisturbed, "host"))


# -------------------------------------------------------------------------------------------- session.max_hours

CLOCKED = """
import time
from stages import train
from stages.workload import checkpoint, sitting

class Clock:
    '''A day goes by once two epochs are kept.'''
    perf_counter = staticmethod(time.perf_counter)
    kept = 0

    def time(self):
        return time.time() + (86400 if self.kept == 2 else 0)

def save(*arguments):
    clock.kept += 1
    saved(*arguments)

clock = sitting.time = Clock()
saved, checkpoint.save = checkpoint.save, save
raise SystemExit(train.run_entry(train.main))
"""


def limit_session(project, hours):
    params = yaml.safe_load((project / "params.yaml").read_text())
    params["session"]["max_hours"] = hours
    (project / "params.yaml").write_text(yaml.safe_dump(params))
    stage(project, "machine")  # a run begins


def test_a_session_that_ends_stops_the_training_between_two_epochs(project, undisturbed):
    limit_session(project, 20.0)
    (project / "stages/clocked.py").write_text(CLOCKED)
    command = [each if each != "stages.train" else "stages.clocked" for each in training.command("host")]
    done = subprocess.run(command, cwd=project, env=training.ENVIRONMENT, capture_output=True, text=True)
    assert done.returncode == 75, done.stderr
    [line] = done.stderr.splitlines()
    assert line.startswith("faceoff: session.max_hours: 0 s are left and an epoch takes up to ")
    assert line.endswith("stopped after epoch 2 of 4 of host/fp32-bs16, repeat 1; run `make repro` again to go on")
    assert len(kept_epochs(project, "host")) == 2 and not (project / cell("host").train_path).exists()
    stage(project, "machine")  # the next run begins, with 20 hours of its own
    goes_on_to_the_same_end(project, undisturbed)


def test_no_epoch_is_begun_that_would_not_fit(interrupted, tmp_path):
    project = tmp_path / "project"
    shutil.copytree(interrupted, project)
    limit_session(project, 1 / 3600 / 1000)
    done = training.run(project, "host")
    assert done.returncode == 75
    [line] = done.stderr.splitlines()
    assert "stopped after epoch 2 of 4 of host/fp32-bs16, repeat 1; run `make repro` again" in line
    assert "epoch 3" not in done.stdout


# ----------------------------------------------------------------------------------------------------- the pipeline


def test_everything_killed_at_once_and_the_next_dvc_repro_goes_on(project, undisturbed):
    """DVC, stages.inside and the training, as when a machine is taken away."""
    for file in ("dvc.yaml", ".gitignore", ".dvcignore", ".dvc/config", ".dvc/.gitignore"):
        (project / file).parent.mkdir(exist_ok=True)
        shutil.copy(ROOT / file, project / file)
    subprocess.run(["git", "init", "-q"], cwd=project, check=True)
    name = "train@1-host-fp32-16"
    bin_folder = Path(sys.executable).parent
    environment = {**training.ENVIRONMENT, "PATH": f"{bin_folder}:{os.environ['PATH']}"}
    repro = {"args": ["dvc", "repro", name], "cwd": project, "env": environment, "text": True}
    process = subprocess.Popen(**repro, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, start_new_session=True)
    training.wait_for(process, lambda: len(kept_epochs(project, "host")) >= 2)
    for pid in at_work_in(project):
        os.kill(pid, signal.SIGKILL)
    process.communicate()
    kept = kept_epochs(project, "host")
    done = subprocess.run(**repro, capture_output=True)
    assert done.returncode == 0, done.stdout + done.stderr
    assert f"goes on after epoch {len(kept)} of {EPOCHS}, sitting 2" in done.stdout
    trained = result(project, "host")
    assert learned(trained) == learned(result(undisturbed, "host"))
    assert [dataclasses.asdict(epoch) for epoch in trained.epochs[: len(kept)]] == kept
    assert not (project / cell("host").checkpoint_path).exists()
    again = subprocess.run(**repro, capture_output=True)
    assert again.returncode == 0 and f"Stage '{name}' didn't change, skipping" in again.stdout
    forced = subprocess.run(**repro | {"args": ["dvc", "repro", "-s", "-f", name]}, capture_output=True)
    assert forced.returncode == 0 and "goes on" not in forced.stdout
    before, anew = ([epoch.epoch_seconds for epoch in each.epochs] for each in (trained, result(project, "host")))
    assert not set(before) & set(anew), "a timing came back from an earlier run"


def at_work_in(folder: Path) -> list[int]:
    """Processes whose working directory the folder is."""
    found = []
    for process in Path("/proc").glob("[0-9]*"):
        try:
            if (process / "cwd").readlink() == folder:
                found.append(int(process.name))
        except OSError:
            continue
    return found
