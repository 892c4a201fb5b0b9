"""Trainings that end early, each for real: what the next run makes of them, beside a training that nothing disturbed.

Equal means equal: every bit of the losses and accuracies.
"""

import contextlib
import dataclasses
import hashlib
import json
import os
import re
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml

from stages import codec, records
from stages.records import TrainResult
from stages.workload import checkpoint
from stages.workload.probes import load
from tests import training
from tests.mounts import mounting
from tests.project import ROOT, stage
from tests.training import FROZEN_EPOCHS, UNFROZEN_EPOCHS, cell, kept_epochs, learned, result

pytestmark = pytest.mark.slow

EPOCHS = FROZEN_EPOCHS + UNFROZEN_EPOCHS
PAUSE_SECONDS = 8  # more than what of a process is not in its wall time: its very begin and end


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


def goes_on_to_the_same_end(project: Path, undisturbed: Path, *after_epochs: int) -> None:
    kept = kept_epochs(project, "host")
    done = training.run(project, "host")
    assert done.returncode == 0 and not done.stderr, done.stderr
    assert f"goes on after epoch {len(kept)} of {EPOCHS}" in done.stdout
    check_end(project, undisturbed, kept, *after_epochs)
    weights = [(folder / cell("host").model_dir / "model.pth").read_bytes() for folder in (project, undisturbed)]
    assert weights[0] == weights[1]
    left = [path.name for path in (project / cell("host").model_dir).parent.iterdir()]
    assert sorted(left) == ["1", "1.checkpoint"]


def check_end(project: Path, undisturbed: Path, kept: list[dict[str, Any]], *after_epochs: int) -> None:
    """The same epochs in the end, those of `kept` with their times, in sittings that began after so many of them."""
    trained, whole = result(project, "host"), result(undisturbed, "host")
    assert learned(trained) == learned(whole)
    assert [dataclasses.asdict(epoch) for epoch in trained.epochs[: len(kept)]] == kept
    assert tuple(each.after_epochs for each in trained.sittings) == after_epochs
    assert len(trained.conditions) == len(after_epochs) + 1 and trained.ceilings is not None
    said = [warning for warning in trained.warnings if "sittings" in warning]
    if len(after_epochs) > 1:
        names = " and ".join(map(str, after_epochs[1:]))
        assert said[0].startswith(f"trained in {len(after_epochs)} sittings, anew after epoch {names}, "), said
    else:
        assert said == []


def test_killed_again_and_again(project, undisturbed):
    """Before its first epoch, while a checkpoint is written, in the middle of an epoch, and after the last one, when
    the ceilings are still to be measured of a network that the next process has not trained. The pauses are not
    counted, and each sitting is up to its last whole epoch: what lies between that and its end is trained twice.
    """
    path = project / cell("host").checkpoint_path
    temporary = path.with_name(path.name + ".tmp")
    half_seconds = result(undisturbed, "host").epochs[2].epoch_seconds / 2
    moments = [
        lambda kept: (project / cell("host").model_dir).exists(),
        lambda kept: kept == 1 and temporary.exists(),
        lambda kept: kept >= 2 and not time.sleep(half_seconds),
        lambda kept: kept == EPOCHS,
    ]
    after_epochs, counted_seconds = [], 0.0
    for moment in moments:
        before, began = len(kept_epochs(project, "host")), time.time()
        kill_when(project, lambda moment=moment: moment(len(kept_epochs(project, "host"))))
        assert not temporary.exists()
        if len(kept_epochs(project, "host")) > before:
            after_epochs.append(before)
            counted_seconds += path.stat().st_mtime - began
        time.sleep(PAUSE_SECONDS)
    assert after_epochs[:2] == [0, 1] and len(after_epochs) == 3
    began = time.time()
    goes_on_to_the_same_end(project, undisturbed, *after_epochs)
    trained = result(project, "host")
    counted_seconds += time.time() - began
    assert sum(epoch.epoch_seconds for epoch in trained.epochs) < trained.wall_seconds < counted_seconds


PAUSED = """
from stages import train
from stages.errors import run_entry
from stages.records import TrainResult
from stages.workload import checkpoint
from stages.workload.probes import load

checkpoint.save = lambda *arguments: None
run_entry(train.main)
"""


@pytest.mark.parametrize("module", ["stages.train", "stages.paused"], ids=["checkpoint", "model"])
def test_stopped_while_it_writes(project, tmp_path, module):
    """By SIGTERM; and not tidied up after by `--result`."""
    change_recipe(project, unfrozen_epochs=0)
    (project / "stages/paused.py").write_text(PAUSED)
    (tmp_path / "sitecustomize.py").write_text((ROOT / "tests/faults/pause.py").read_text())
    place = ["--image", "host", "--precision", "fp32", "--batch-size", "16", "--repeat", "1"]
    command = [sys.executable, "-m", "stages.inside", "host", "--", "python", "-m", module, *place]
    environment = {**training.ENVIRONMENT, "FACEOFF_PAUSE": module, "PYTHONPATH": str(tmp_path)}
    with subprocess.Popen(command, cwd=project, env=environment, stderr=subprocess.PIPE, text=True) as process:
        training.wait_for(process, (project / "paused").exists)
        assert len(list((project / "models").rglob("*.tmp"))) == 1
        process.terminate()
        said = process.communicate()[1]
    assert process.returncode == 128 + signal.SIGTERM and "Traceback" not in said, said
    assert [path for path in (project / "models").rglob("*") if path.is_file()] == []


def change_recipe(project: Path, **changes: Any) -> None:
    params = yaml.safe_load((project / "params.yaml").read_text())
    params["recipe"] |= changes
    (project / "params.yaml").write_text(yaml.safe_dump(params))


def test_a_training_that_diverges_is_a_line_and_again_the_next_time(project):
    change_recipe(project, unfrozen_epochs=1, unfrozen_learning_rates=[1.0e30, 1.0e30])
    for again in (False, True):
        done = training.run(project, "host")
        [line] = [line for line in done.stderr.splitlines() if line.startswith("faceoff: ")]
        assert done.returncode == 1 and "Traceback" not in done.stderr, done.stderr
        assert re.fullmatch(
            r"faceoff: the loss is (nan|inf) in unfrozen epoch 1: the training diverged: lower "
            r"recipe.unfrozen_learning_rates in params.yaml",
            line,
        )
        assert ("goes on after epoch 1 of 2" in done.stdout) == again
        failed = result(project, "host")
        assert (failed.status, failed.reason) == ("failed", line.removeprefix("faceoff: "))


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


def anew(whole: bytes, old: bytes, new: bytes) -> bytes:
    """Changed, and yet with the right digest: as a faceoff with a fault in it would have written it."""
    assert old in whole
    _, newline, content = whole.partition(b"\n")
    content = content.replace(old, new, 1)
    return f"{checkpoint.MARK} {checkpoint.VERSION} {hashlib.sha256(content).hexdigest()}".encode() + newline + content


DAMAGES = {
    "cut short": (lambda whole: whole[:-1], "damaged: its sha256 is another"),
    "a bit": (lambda whole: whole[:-1000] + bytes([whole[-1000] ^ 1]) + whole[-999:], "damaged: its sha256 is another"),
    "a figure": (lambda whole: whole.replace(b'_seconds": ', b'_seconds": 1', 1), "damaged: its sha256 is another"),
    "longer": (lambda whole: whole + whole, "damaged: its sha256 is another"),
    "nothing but its first line": (lambda whole: whole.partition(b"\n")[0] + b"\n", "damaged: its sha256 is another"),
    "empty": (lambda whole: b"", "damaged: it does not begin as a checkpoint does"),
    "zeros": (lambda whole: bytes(len(whole)), "damaged: it does not begin as a checkpoint does"),
    "older": (lambda whole: whole.replace(b" 2 ", b" 1 ", 1), "of another version of faceoff (format 1, now 2)"),
    "nonsense": (
        lambda whole: anew(whole, b'"started_at": "', b'"began_at": "'),
        "progress: unknown key 'began_at'; expected epochs, sittings, conditions, started_at, wall_seconds",
    ),
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
    assert sorted(done.stdout.splitlines()[-2:]) == ["1", "1.checkpoint"]
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
    goes_on_to_the_same_end(project, undisturbed, 0, 2)


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


NAME = "train@1-host-fp32-16"


def dvc_repro(folder: Path, *arguments: str) -> dict[str, Any]:
    """What subprocess takes."""
    environment = {**training.ENVIRONMENT, "PATH": f"{Path(sys.executable).parent}:{os.environ['PATH']}"}
    return {"args": ["dvc", "repro", *arguments], "cwd": folder, "env": environment, "text": True}


def reproduced(folder: Path, *arguments: str) -> str:
    done = subprocess.run(**dvc_repro(folder, *arguments), capture_output=True)
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


@pytest.fixture(scope="module")
def killed(undisturbed, tmp_path_factory):
    """A checkout in which DVC, stages.inside and the training were killed when the result was written, and not yet in
    dvc.lock; and a copy of it as it was in the middle of the training, as a power cut leaves it.
    """
    folder = tmp_path_factory.mktemp("killed")
    project, copy = untrained(undisturbed, folder / "project"), folder / "copy"
    for file in ("dvc.yaml", ".gitignore", ".dvcignore", ".dvc/config", ".dvc/.gitignore"):
        (project / file).parent.mkdir(exist_ok=True)
        shutil.copy(ROOT / file, project / file)
    subprocess.run(["git", "init", "-q"], cwd=project, check=True)
    process = subprocess.Popen(
        **dvc_repro(project, NAME), stdout=subprocess.PIPE, stderr=subprocess.STDOUT, start_new_session=True
    )
    training.wait_for(process, lambda: len(kept_epochs(project, "host")) >= 2)
    subprocess.run(["cp", "-a", str(project), str(copy)], capture_output=True)  # files come and go meanwhile
    training.wait_for(process, (project / cell("host").train_path).exists)
    for pid in at_work_in(project):
        os.kill(pid, signal.SIGKILL)
    process.communicate()
    return project, copy


def test_a_copy_of_the_folder_that_was_taken_in_the_middle_goes_on(killed, undisturbed):
    _, copy = killed
    kept = kept_epochs(copy, "host")
    assert 2 <= len(kept) < EPOCHS and not (copy / cell("host").train_path).exists()
    assert f"goes on after epoch {len(kept)} of {EPOCHS}" in reproduced(copy, NAME)
    check_end(copy, undisturbed, kept, 0, len(kept))


def test_everything_killed_before_dvc_has_noted_the_result(killed, undisturbed):
    """The next run comes to the same result; a forced one measures anew, though a checkpoint is left."""
    project, _ = killed
    assert NAME not in (project / "dvc.lock").read_text()
    before = result(project, "host")
    assert f"goes on after epoch {EPOCHS} of {EPOCHS}" in reproduced(project, NAME)
    trained = result(project, "host")
    assert (trained.epochs, trained.sittings) == (before.epochs, before.sittings)
    check_end(project, undisturbed, [dataclasses.asdict(epoch) for epoch in before.epochs], 0)
    assert f"Stage '{NAME}' didn't change, skipping" in reproduced(project, NAME)
    assert (project / cell("host").checkpoint_path).exists()
    with spinning():
        assert "goes on" not in reproduced(project, "-s", "-f", NAME)
    old, new = ([epoch.epoch_seconds for epoch in each.epochs] for each in (trained, result(project, "host")))
    assert not set(old) & set(new), "a timing came back from an earlier run"
    check_load(project, trained, result(project, "host"))


def check_load(project: Path, quiet: TrainResult, loaded: TrainResult) -> None:
    """Processes that ran beside the second training are named in its result, and compare repeats that."""
    for trained in (quiet, loaded):
        [sitting] = trained.sittings
        named = [warning for warning in trained.warnings if warning.startswith("in training: other processes took ")]
        assert len(named) == (sitting.load.others_share > load.OTHERS_SHARE)
        assert sitting.load.seconds >= sum(epoch.epoch_seconds for epoch in trained.epochs)
    assert named and loaded.sittings[0].load.others_share > 0.3
    reproduced(project, "-s", NAME.replace("train", "evaluate"))
    reproduced(project, "-s", "compare")
    evaluated = codec.read(project / cell("host").evaluate_path, records.EvaluateResult)
    assert evaluated.load.seconds >= evaluated.predict_seconds + evaluated.predict_tta_seconds
    [setting] = [
        each
        for each in codec.read(project / records.COMPARISON_PATH, records.Comparison).settings
        if each.setting == cell("host").setting
    ]
    said = [
        warning for warning in setting.warnings if warning.startswith("repeat 1: in training: other processes took")
    ]
    assert setting.status == "partial" and said == [f"repeat 1: {each}" for each in named]
    assert not (project / cell("host").checkpoint_path).exists()


@contextlib.contextmanager
def spinning() -> Iterator[None]:
    """Beside what runs within, a process on every CPU that does nothing else."""
    others = [subprocess.Popen([sys.executable, "-c", "while True: pass"]) for _ in range(os.cpu_count() or 1)]
    try:
        yield
    finally:
        for each in others:
            each.kill()
            each.wait()


def test_an_environment_that_is_not_the_profiles_is_refused(killed):
    project, _ = killed
    path = records.facts_path("host")
    facts = codec.read(project / path, records.Facts)
    limits = dataclasses.replace(facts.hardware.limits, usable_cpus=0.5)
    rewrite(project / path, records.Facts, hardware=dataclasses.replace(facts.hardware, limits=limits))
    done = training.run(project, "host")
    [line] = done.stderr.splitlines()
    place = f"faceoff: {path}: the environment is another: hardware.limits.usable_cpus was 0.5, is "
    assert done.returncode == 1 and line.startswith(place)
    assert line.endswith(": run `dvc repro -s -f profile@host`, then `make repro`")


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
