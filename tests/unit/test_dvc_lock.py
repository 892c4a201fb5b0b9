"""dvc.lock is short while DVC commits a stage, and whole when it has ended; tests/pipeline has it with a real DVC."""

import itertools
import os
import subprocess
import sys
from pathlib import Path

import pytest
from dvc.schema import COMPILED_LOCKFILE_SCHEMA
from dvc.utils import strictyaml
from dvc.utils.serialize import dumps_yaml, modify_yaml

from stages.errors import FaceoffError
from stages.harness.pipeline import dvc_files
from stages.harness.process import dvc_lock, locks
from tests.project import ROOT


@pytest.fixture(autouse=True)
def folder(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    dvc_lock.ASIDE_PATH.parent.mkdir(parents=True)
    return tmp_path


def entry(name, digit="1"):
    def files():
        return [{"path": f"{name}-{each}", "hash": "md5", "md5": digit * 32, "size": 7} for each in "ab"]

    cmd = f"exec {name} " + "and a long line, which YAML folds " * 9
    return {
        "cmd": cmd,
        "deps": files(),
        "params": {"params.yaml": {"text": "two\nlines", "none": None}},
        "outs": files(),
    }


def lock(**stages):
    return dumps_yaml({"schema": "2.0", "stages": stages})


def read():
    """The stages of dvc.lock, as DVC reads them."""
    return strictyaml.load(str(dvc_lock.LOCK_PATH), COMPILED_LOCKFILE_SCHEMA)[0]["stages"]


def commit(name, value):
    """As DVC does it: Lockfile.dump_stages."""
    with modify_yaml(str(dvc_lock.LOCK_PATH)) as data:
        data["stages"].update({name: value})


NAMES = ("machine", "train@1-host-fp32.5", "scorecard")
COMMITTED = {name: entry(name) for name in NAMES}


@pytest.mark.parametrize("running", [*NAMES, "new"])
def test_what_dvc_commits_to_a_short_one_is_in_the_whole_one_as_if_it_had_never_been_short(running):
    dvc_lock.LOCK_PATH.write_text(lock(**COMMITTED))
    commit(running, entry(running, "2"))
    expected = dvc_lock.LOCK_PATH.read_text()

    dvc_lock.LOCK_PATH.write_text(lock(**COMMITTED))
    dvc_lock.put_aside(running, "1@2")
    assert len(read()) == 1
    commit(running, entry(running, "2"))
    assert len(read()) <= 2 and dvc_lock.is_short() == "1@2"
    dvc_lock.put_together()
    assert dvc_lock.LOCK_PATH.read_text() == expected
    assert dvc_lock.is_short() is None and not dvc_lock.ASIDE_PATH.exists()


def test_a_second_stage_that_dvc_commits_from_its_cache_counts_too():
    """Of that one no process tells: it is not the stage that the short file names."""
    dvc_lock.LOCK_PATH.write_text(lock(**COMMITTED))
    dvc_lock.put_aside("machine", "1@2")
    for name in ("machine", "scorecard"):
        commit(name, entry(name, "2"))
    dvc_lock.put_together()
    assert read() == {name: entry(name, "1" if name.startswith("train") else "2") for name in NAMES}


def test_a_file_system_without_links_has_a_copy(monkeypatch):
    monkeypatch.setattr(Path, "hardlink_to", lambda *_: (_ for _ in ()).throw(OSError("no links")))
    dvc_lock.LOCK_PATH.write_text(lock(**COMMITTED))
    dvc_lock.put_aside("machine", "1@2")
    commit("machine", entry("machine", "2"))
    dvc_lock.put_together()
    assert read() == {**COMMITTED, "machine": entry("machine", "2")}


@pytest.mark.parametrize("running", [*NAMES, "new"])
def test_wherever_dvc_was_killed_while_it_wrote_no_committed_stage_is_lost(running):
    dvc_lock.LOCK_PATH.write_text(lock(**COMMITTED))
    dvc_lock.put_aside(running, "1@2")
    aside = dvc_lock.ASIDE_PATH.read_text()
    commit(running, entry(running, "2"))
    written = dvc_lock.LOCK_PATH.read_text()
    ends = itertools.accumulate(len(line) for line in written.splitlines(keepends=True))
    for length in sorted({*range(0, len(written), 211), *ends}):
        dvc_lock.ASIDE_PATH.write_text(aside)
        dvc_lock.LOCK_PATH.write_text(written[:length])
        dvc_files.mend()
        found = read()
        assert {name: found[name] for name in NAMES if name != running} == {
            name: each for name, each in COMMITTED.items() if name != running
        }, written[:length]
        assert not dvc_lock.ASIDE_PATH.exists()


@pytest.mark.parametrize(
    "text",
    [
        "stages:\n  a:\n    cmd: b\nschema: '2.0'\n",  # in another order
        "schema: '2.0'\nstages: {}\n",
        "schema: '2.0'\nstages:\n  a: {cmd: b}\ndatasets: []\n",
        "schema: '2.0'\nstages:\n<<<<<<< HEAD\n  a: {cmd: b}\n=======\n  a: {cmd: c}\n>>>>>>> other\n",
    ],
)
def test_what_is_not_as_dvc_writes_it_stays_whole(text):
    dvc_lock.LOCK_PATH.write_text(text)
    dvc_lock.put_aside("a", "1@2")
    assert dvc_lock.LOCK_PATH.read_text() == text and not dvc_lock.ASIDE_PATH.exists()


def test_of_a_first_run_there_is_nothing_to_put_aside():
    dvc_lock.put_aside("machine", "1@2")
    dvc_files.mend()
    assert not dvc_lock.LOCK_PATH.exists() and not dvc_lock.ASIDE_PATH.exists()


def test_another_branchs_stays_whole(capsys):
    dvc_lock.LOCK_PATH.write_text(lock(**COMMITTED))
    dvc_lock.put_aside("machine", "1@2")
    dvc_lock.LOCK_PATH.write_text(lock(other=entry("other")))  # git checkout, after a kill
    dvc_files.mend()
    assert read() == {"other": entry("other")} and not dvc_lock.ASIDE_PATH.exists()


def test_amid_a_conflict_that_git_marks_the_other_half_is_kept_for_what_becomes_of_it():
    dvc_lock.LOCK_PATH.write_text(lock(**COMMITTED))
    dvc_lock.put_aside("machine", "1@2")
    short = dvc_lock.LOCK_PATH.read_text()
    dvc_lock.LOCK_PATH.write_text(f"<<<<<<< ours\n{lock(other=entry('other'))}=======\n{short}>>>>>>> theirs\n")
    with pytest.raises(FaceoffError, match="both sides of a merge"):
        dvc_files.mend()
    dvc_lock.LOCK_PATH.write_text(short)  # git checkout --theirs
    dvc_files.mend()
    assert read() == COMMITTED


def test_make_repro_measures_nothing_anew_by_half_a_lock_before_that_was_said():
    dvc_lock.LOCK_PATH.write_text(lock(**COMMITTED))
    dvc_lock.put_aside("machine", "1@2")
    dvc_lock.ASIDE_PATH.unlink()  # as in a clone of what was committed to git right then
    with pytest.raises(FaceoffError, match="take a whole one from git, or run once more"):
        dvc_files.mend()
    dvc_files.mend()  # no dead end
    assert dvc_lock.is_short() is None


def test_on_a_full_disk_it_is_as_it_was_a_stage_before(monkeypatch, capsys):
    dvc_lock.LOCK_PATH.write_text(lock(**COMMITTED))
    dvc_lock.put_aside("machine", "1@2")
    commit("new", entry("new"))

    def refuse(path, text):
        raise FaceoffError(f"{path}: not written: No space left on device")

    monkeypatch.setattr("stages.codec.write_text", refuse)
    dvc_files.mend()
    assert read() == COMMITTED
    assert "No space left on device; dvc.lock is again as it was a stage before" in capsys.readouterr().out


# ------------------------------------------------------------------------------------------------------------ by whom

STAGE = """
import pathlib
from stages.errors import run_entry
from stages.harness.process.dvc_lock import dvc_stage

@dvc_stage
def main():
    text = pathlib.Path("dvc.lock").read_text()
    pathlib.Path("seen").write_text(text)
    return int(pathlib.Path("fails").exists())

run_entry(main)
"""
# A process of DVC's name, which runs the stage as its own child.
PARENT = """
import subprocess, sys
sys.exit(subprocess.run([{python!r}, "-c", open("stage.py").read()]).returncode)
"""


def run(folder, *words, stage="train@1-host-fp32.5", python=sys.executable, **variables):
    """Run a stage of a DVC that was called with these words; its exit code and what it complained of."""
    (folder / "stage.py").write_text(STAGE)
    (folder / "dvc").write_text(PARENT.format(python=sys.executable))
    done = subprocess.run(
        [python, "dvc", *words],
        env={**os.environ, "PYTHONPATH": str(ROOT), "DVC_STAGE": stage, **variables},
        capture_output=True,
        text=True,
    )
    return done.returncode, done.stderr


@pytest.mark.parametrize(
    ("words", "stage", "variables", "expected"),
    [
        (["repro"], "train@1-host-fp32.5", {}, 1),
        (["repro", "--force", "-k"], "machine", {}, 1),
        (["repro"], "scorecard", {}, 3),  # nobody comes after it
        (["repro"], "scorecard", {dvc_lock.WILL_MEND: str(os.getpid())}, 1),
        (["repro"], "scorecard", {dvc_lock.WILL_MEND: str(os.getppid())}, 3),  # of another run
        (["repro", "train@1-host-fp32.5"], "train@1-host-fp32.5", {}, 3),
        (["repro", "--interactive"], "machine", {}, 3),
        (["exp", "run"], "machine", {}, 3),
    ],
)
def test_it_is_short_after_a_stage_of_the_whole_pipeline_but_the_last(folder, words, stage, variables, expected):
    dvc_lock.LOCK_PATH.write_text(lock(**COMMITTED))
    assert run(folder, *words, stage=stage, **variables) == (0, "")
    assert len(read()) == expected


def test_it_stays_whole_where_dvc_runs_in_another_environment_than_the_stages(folder):
    """Of the same interpreter, as pipx makes one: the stage's own Python does not know that DVC's version."""
    (folder / "other/bin").mkdir(parents=True)
    (folder / "other/pyvenv.cfg").write_text(f"home = {Path(sys.executable).resolve().parent}\n")
    (folder / "other/bin/python").symlink_to(Path(sys.executable).resolve())
    (folder / "same").symlink_to(sys.prefix)
    for python, expected in (("other/bin/python", 3), ("same/bin/python", 1)):
        dvc_lock.LOCK_PATH.write_text(lock(**COMMITTED))
        assert run(folder, "repro", python=folder / python) == (0, "")
        assert len(read()) == expected, python


def test_it_stays_whole_after_a_stage_that_fails(folder):
    dvc_lock.LOCK_PATH.write_text(lock(**COMMITTED))
    (folder / "fails").touch()
    assert run(folder, "repro") == (1, "")
    assert read() == COMMITTED and not dvc_lock.ASIDE_PATH.exists()


def test_a_dvc_that_read_a_short_one_is_stopped_and_its_next_run_finds_a_whole_one(folder):
    dvc_lock.LOCK_PATH.write_text(lock(**COMMITTED))
    dvc_lock.put_aside("machine", "1@2")
    code, said = run(folder, "repro", stage="machine")
    assert code == 1
    assert said == "faceoff: dvc.lock was short, for the run before was cut off; it is whole again: run once more\n"
    assert read() == COMMITTED
    assert run(folder, "repro", stage="machine") == (0, "")
    assert (folder / "seen").read_text() == lock(**COMMITTED)


def test_a_short_one_from_git_is_no_dead_end(folder):
    dvc_lock.LOCK_PATH.write_text(lock(**COMMITTED))
    dvc_lock.put_aside("machine", "1@2")
    dvc_lock.ASIDE_PATH.unlink()
    code, said = run(folder, "repro", stage="machine")
    assert code == 1 and "take a whole one from git, or run once more" in said
    assert run(folder, "repro", stage="machine") == (0, "")


def test_a_stage_of_a_second_dvc_is_refused_in_a_copy_of_the_checkout_too(folder, monkeypatch):
    copy = folder / ".dvc/tmp/exps/standalone/tmp1"
    copy.mkdir(parents=True)
    for here in (folder, copy):
        monkeypatch.chdir(here)
        dvc_lock.LOCK_PATH.write_text(lock(**COMMITTED))
        with locks.only_run():
            code, said = run(here, "repro")
        assert code == 1 and not (here / "seen").exists()
        assert said.startswith(f"faceoff: this checkout: another run is at work on it (process {os.getpid()}, ")
        assert said.endswith("): wait for that, or stop it\n") and said.count("\n") == 1
        assert run(here, "repro") == (0, "")  # this process lives on, and runs none
    for noted in ("4194305 1", f"{os.getpid()} 1", "", "\0" * 9):  # gone, another of that number, cut short
        (folder / locks.RUNNER_PATH).write_text(noted)
        dvc_lock.LOCK_PATH.write_text(lock(**COMMITTED))
        assert run(copy, "repro", stage="machine") == (0, "")
    (folder / locks.RUNNER_PATH).write_text(f"{os.getppid()} {locks.began(os.getppid())}")
    with pytest.raises(FaceoffError, match="another run is at work on it"), locks.only_run():
        pass


def test_the_dvc_that_is_known_is_the_one_that_is_installed():
    """With another one dvc.lock stays whole. Before it is put there, run tests/pipeline and benchmarks.stage_cost."""
    lines = (ROOT / "stages/requirements.lock").read_text().splitlines()
    assert [each.split()[0] for each in lines if each.startswith("dvc==")] == [f"dvc=={dvc_lock.KNOWN_DVC}"]
