"""Trainings on image host that end early, each for real, and what the next run makes of them.

Its end is that of a training that nothing disturbed, to the last digit. tests/engine/test_resume.py has containers,
tests/jobs/test_resume.py a job that takes the CPU, tests/unit/test_supervisor_attempts.py what counts of an attempt.
"""

import dataclasses
import os
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from typing import Any

import pytest
import yaml

from stages import codec, records
from stages.records import Cell
from tests import resuming
from tests.jobs import checkout
from tests.project import PARAMS, stage, write_job
from tests.resuming import JOB, SPANS, check_end, kept, result, started, train, wait_for

pytestmark = pytest.mark.slow

CELL = Cell("host", "plain", 1)
NAME = f"train@{CELL.matrix_name}"
NOTE = (
    "from stages.harness.params import schema; from stages.harness.pipeline import adoption; "
    "adoption.note(schema.load())"
)
PAUSE_SECONDS = 2  # more than what of a process is not its command: its very begin and end


@pytest.fixture(scope="module")
def untrained(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return resuming.make(tmp_path_factory.mktemp("untrained") / "project")


@pytest.fixture
def project(untrained: Path, tmp_path: Path) -> Path:
    return shutil.copytree(untrained, tmp_path / "project")


def kill_when(project: Path, happened: Callable[[], bool]) -> None:
    with started(project, CELL) as process:
        wait_for(process, happened)
        os.killpg(process.pid, signal.SIGKILL)


def half_written(project: Path) -> list[Path]:
    """Temporary files of faceoff's own, and its lock."""
    files = [each for part in ("metrics", "models") for each in (project / part).rglob("*")]
    return [each for each in files if each.name.startswith(".") or each.suffix == ".running"]


def test_killed_again_and_again(project: Path) -> None:
    """Before its first span, while the state is written, within a span, after the last one. Pauses are not counted."""
    half = project / CELL.state_dir / "new"
    moments: list[Callable[[], bool]] = [
        lambda: (project / CELL.events_path).stat().st_size > 0,
        lambda: kept(project, CELL) >= 1 and half.exists(),
        lambda: kept(project, CELL) >= 3 and not half.exists(),
        lambda: kept(project, CELL) == SPANS,
    ]
    after_spans, took = [], []
    for moment in moments:
        after_spans.append(kept(project, CELL))
        began = time.monotonic()
        kill_when(project, moment)
        took.append(time.monotonic() - began)
        assert not (project / CELL.result_path("train")).exists()
        time.sleep(PAUSE_SECONDS)
    assert after_spans[:2] == [0, 0] and len({*after_spans, SPANS}) == 4
    began = time.monotonic()
    done = train(project, CELL)
    took.append(time.monotonic() - began)
    assert done.returncode == 0 and not done.stderr, done.stderr
    assert "found: ['done']" in done.stdout and half_written(project) == []
    trained = check_end(project, CELL, *after_spans[1:], SPANS)
    assert all(each.seconds < most for each, most in zip(trained.attempts, took[1:], strict=True))
    assert sum(span.seconds for span in trained.spans) < trained.wall_seconds < sum(took)


# As sitecustomize: a disk that takes its time for the first file of this name that is written once there is a state.
SLOW_DISK = """
import os, sys, time
from pathlib import Path
def fsync(descriptor):
    if "/.{name}." in os.readlink(f"/proc/self/fd/{{descriptor}}") and Path("{state}").exists():
        os.fsync = really
        Path("paused").touch()
        time.sleep({seconds})
    really(descriptor)
if sys.orig_argv[1:3] == ["-m", "stages.train"]:
    really, os.fsync = os.fsync, fsync
"""
WRITTEN = {  # what: where it shows, and for how long
    "the job's state": (CELL.state_dir / "new", 0),
    "the job's model": (CELL.output_dir / "model", 0),
    "1.progress.json": (Path("paused"), 0.5),  # the job goes on meanwhile, and must not come to its end
    "train-1.json": (Path("paused"), 60),
}


@pytest.mark.parametrize("name", WRITTEN)
def test_stopped_while_it_writes(project: Path, tmp_path: Path, name: str) -> None:
    """By SIGTERM: nothing half-written is left, and the next run goes on."""
    shows, seconds = WRITTEN[name]
    slow = SLOW_DISK.format(name=name, state=CELL.state_dir / "done", seconds=seconds)
    (tmp_path / "sitecustomize.py").write_text(slow)
    definition = project / "docker/host/image.yaml"
    quick = definition.read_text()
    definition.write_text(f"{quick}env: {{PYTHONPATH: {tmp_path}}}\n")
    process = started(project, CELL)
    wait_for(process, (project / shows).exists)
    process.terminate()
    said = process.communicate()[1]
    assert process.returncode == 128 + signal.SIGTERM and "Traceback" not in said, said
    assert half_written(project) == [] and not (project / CELL.result_path("train")).exists()
    assert name == "train-1.json" or not any((project / CELL.output_dir).iterdir())
    before = kept(project, CELL)
    definition.write_text(quick)
    done = train(project, CELL)
    assert done.returncode == 0 and not done.stderr, done.stderr
    check_end(project, CELL, 0, *([before] if before else []))


# ------------------------------------------------------------------------------------------- what does not belong


@pytest.fixture(scope="module")
def interrupted(untrained: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A project whose training was killed after its first span."""
    project = shutil.copytree(untrained, tmp_path_factory.mktemp("interrupted") / "project")
    kill_when(project, lambda: kept(project, CELL) >= 1)
    return project


def change_params(project: Path, **changes: Any) -> None:
    path = project / "params.yaml"
    path.write_text(yaml.safe_dump(yaml.safe_load(path.read_text()) | changes))


def change_record(path: Path, kind: Any, **changes: Any) -> None:
    codec.write(path, dataclasses.replace(codec.read(path, kind), **changes))


def add_files(project: Path, *folders: str) -> None:
    for folder in folders:
        (project / folder / JOB / "more").touch()


CHANGES: dict[str, Callable[[Path], object]] = {  # by what is said of it
    "variant.parameters.rate was 3.9, is 3.8": lambda root: change_params(root, variants={"plain": {"rate": 3.8}}),
    "variant.env.MINE was not there, is '1'": lambda root: change_params(
        root, variants={"plain": {"rate": 3.9, "env": {"MINE": "1"}}}
    ),
    "container.cpus was not there, is 1.5": lambda root: change_params(
        root, container={**PARAMS["container"], "cpus": 1.5}
    ),
    "the job": lambda root: change_params(root, paced={"its own": "section"}),
    "the job; its data": lambda root: add_files(root, "jobs", "data"),
    "the machine": lambda root: change_record(root / records.MACHINE_PATH, records.Machine, machine_id="another"),
    "the image": lambda root: change_record(root / records.image_path("host"), records.Image, name="another"),
}


@pytest.mark.parametrize("words", CHANGES)
def test_a_state_of_another_training_is_named_with_what_differs_and_emptied(
    interrupted: Path, tmp_path: Path, words: str
) -> None:
    project = shutil.copytree(interrupted, tmp_path / "project")
    CHANGES[words](project)
    stage(project, "job")
    stage(project, "download")
    done = train(project, CELL)
    assert done.returncode == 0 and not done.stderr, done.stderr
    anew = f"{CELL.setting}, repeat 1: begins anew: the earlier attempt was of another state: {words}\nfound: []\n"
    assert anew in done.stdout
    assert [each.after_spans for each in result(project, CELL).attempts] == [0]
    assert len(result(project, CELL).spans) == SPANS


# --------------------------------------------------------------------------------------------------- the pipeline


def kill_all_in(folder: Path) -> None:
    """Processes whose working directory lies in the folder."""
    for process in Path("/proc").glob("[0-9]*"):
        with suppress(OSError):  # it has ended
            if (process / "cwd").readlink().is_relative_to(folder):
                os.kill(int(process.name), signal.SIGKILL)


@pytest.fixture(scope="module")
def killed(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Path]:
    """A checkout in which all was killed when the result was written and not yet in dvc.lock; and a copy of it as it
    was in the middle of the training, as a power cut leaves it.
    """
    folder = tmp_path_factory.mktemp("killed")
    project, copy = folder / "project", folder / "copy"
    checkout.make(project, ["host"], job=JOB, variants=resuming.VARIANTS, repeats=[1])
    write_job(project, JOB, resuming.FILES)
    environment = {**os.environ, "PATH": f"{Path(sys.executable).parent}:{os.environ['PATH']}"}
    with (folder / "output").open("w") as output:
        command = ["dvc", "repro", NAME]
        process = subprocess.Popen(command, cwd=project, env=environment, stdout=output, stderr=output, text=True)
    wait_for(process, lambda: kept(project, CELL) >= 2)
    subprocess.run(["cp", "-a", project, copy], capture_output=True)  # files come and go meanwhile
    wait_for(process, (project / CELL.result_path("train")).exists)
    kill_all_in(project)
    assert process.wait() == -signal.SIGKILL
    assert NAME not in (project / "dvc.lock").read_text()
    return project, copy


def test_a_copy_that_was_taken_in_the_middle_goes_on(killed: tuple[Path, Path]) -> None:
    _, copy = killed
    before = kept(copy, CELL)
    assert 2 <= before < SPANS and not (copy / CELL.result_path("train")).exists()
    assert "found: ['done'" in checkout.run(copy, "dvc", "repro", NAME)
    check_end(copy, CELL, 0, before)


def test_everything_killed_before_dvc_has_noted_the_result(killed: tuple[Path, Path]) -> None:
    """DVC alone would measure it again, and stops; `make repro` notes it; a forced run measures anew, state or not."""
    project, _ = killed
    before = check_end(project, CELL, 0)
    assert "`make repro` keeps them" in checkout.run(project, "dvc", "repro", NAME, code=255)
    assert "results of 1 cell are whole" in checkout.run(project, "python", "-c", NOTE)
    assert f"Stage '{NAME}' didn't change, skipping" in checkout.run(project, "dvc", "repro", NAME)
    assert check_end(project, CELL, 0) == before and (project / CELL.state_dir / "done").exists()
    assert "found: []" in checkout.run(project, "dvc", "repro", "-s", "-f", NAME)
    anew = check_end(project, CELL, 0)
    assert not {span.seconds for span in before.spans} & {span.seconds for span in anew.spans}
    assert f"Stage '{NAME}' didn't change, skipping" in checkout.run(project, "dvc", "repro", "-s", NAME)


def test_an_environment_that_is_not_the_profiles_is_refused(killed: tuple[Path, Path]) -> None:
    """Before the command starts."""
    project, _ = killed
    path = records.facts_path("host")
    hardware = codec.read(project / path, records.Facts).hardware
    limits = dataclasses.replace(hardware.limits, usable_cpus=0.5)
    change_record(project / path, records.Facts, hardware=dataclasses.replace(hardware, limits=limits))
    done = train(project, CELL)
    [line] = done.stderr.splitlines()
    assert done.returncode == 1 and "found: " not in done.stdout
    place = f"faceoff: {path}: the environment is another: hardware.limits.usable_cpus was 0.5, is "
    assert line.startswith(place) and line.endswith(": run `.venv/bin/dvc repro -s -f profile@host`, then `make repro`")
