"""What is left of DVC's own files when it is killed; tests/faults/test_interruptions.py kills it."""

import json
import os
import subprocess
import sys
import time

import pytest
from dvc.schema import COMPILED_LOCKFILE_SCHEMA
from dvc.utils import strictyaml
from dvc.utils.serialize import dumps_yaml

from stages.harness.pipeline import dvc_files


@pytest.fixture(autouse=True)
def folder(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    dvc_files.RWLOCK_PATH.parent.mkdir(parents=True)
    return tmp_path


def entry(name, digit="1"):
    files = [{"path": f"{name}-{each}", "hash": "md5", "md5": digit * 32, "size": 7} for each in "ab"]
    return {"cmd": f"exec {name}", "deps": files, "params": {"params.yaml": {"recipe.size": 32}}, "outs": files}


def lock(**stages):
    return dumps_yaml({"schema": "2.0", "stages": stages})


def mended(text):
    """The stages of dvc.lock when it has been mended, as DVC reads them."""
    dvc_files.LOCK_PATH.write_text(text)
    dvc_files.mend()
    assert not dvc_files.KEPT_PATH.exists()
    return strictyaml.load(str(dvc_files.LOCK_PATH), COMPILED_LOCKFILE_SCHEMA)[0]["stages"]


COMMITTED = {name: entry(name) for name in ("machine", "train", "scorecard")}


@pytest.mark.parametrize(
    ("running", "digit"), [("machine", "1"), ("machine", "2"), ("train", "2"), ("scorecard", "2"), ("new", "2")]
)
def test_wherever_the_writing_ended_no_committed_stage_is_lost(running, digit):
    whole = lock(**{**COMMITTED, running: entry(running, digit)})
    before = lock(**COMMITTED)
    expected = {name: each for name, each in COMMITTED.items() if name != running}
    for length in range(0, len(whole), 37):
        dvc_files.LOCK_PATH.write_text(before)
        dvc_files.keep()
        found = mended(whole[:length])
        assert {name: found[name] for name in expected} == expected, whole[:length]


def test_what_is_whole_stays():
    dvc_files.LOCK_PATH.write_text(lock(**COMMITTED))
    dvc_files.keep()
    after = {**COMMITTED, "train": entry("train", "2"), "evaluate": entry("evaluate")}
    assert mended(lock(**after)) == after


def test_another_branchs_stays():
    dvc_files.LOCK_PATH.write_text(lock(**{str(index): entry(str(index)) for index in range(9)}))
    dvc_files.keep()
    others = {str(index): entry(str(index), "2") for index in range(5)}
    assert mended(lock(**others)) == others


def test_where_there_was_none_half_a_file_is_no_file():
    dvc_files.keep()
    dvc_files.LOCK_PATH.write_text("schema: '2.0'\nstages:\n  machine:\n    deps:\n")
    dvc_files.mend()
    assert not dvc_files.LOCK_PATH.exists() and not dvc_files.KEPT_PATH.exists()


@pytest.mark.parametrize("text", ["", '{"write": {"a"', "[]", '{"write": {"a": {"pid": "x"}}, "read": {}}'])
def test_a_rwlock_that_is_none_any_more_is_deleted(text):
    dvc_files.RWLOCK_PATH.write_text(text)
    dvc_files.mend()
    assert not dvc_files.RWLOCK_PATH.exists()


def held(pid):
    """Whether what that process holds in the rwlock is still held when it has been mended."""
    entry = {"pid": pid, "cmd": "dvc repro"}
    document = {"write": {"metrics/machine.json": entry}, "read": {"params.yaml": [entry]}}
    dvc_files.mend()
    found = json.loads(dvc_files.RWLOCK_PATH.read_text())
    assert found in (document, {"write": {}, "read": {"params.yaml": []}})
    return found == document


def write_rwlock(pid):
    entry = {"pid": pid, "cmd": "dvc repro"}
    text = json.dumps({"write": {"metrics/machine.json": entry}, "read": {"params.yaml": [entry]}})
    dvc_files.RWLOCK_PATH.write_text(text)


def test_what_a_living_process_holds_stays_until_its_pid_is_anothers():
    write_rwlock(os.getpid())
    assert held(os.getpid())
    an_hour_ago = time.time() - 3600  # when no process of these tests ran
    os.utime(dvc_files.RWLOCK_PATH, (an_hour_ago, an_hour_ago))
    assert not held(os.getpid())


def test_a_dead_process_holds_nothing_whether_reaped_or_not():
    with subprocess.Popen([sys.executable, "-c", "pass"], stdout=subprocess.PIPE) as process:
        process.stdout.read()
        os.waitid(os.P_PID, process.pid, os.WEXITED | os.WNOWAIT)
        write_rwlock(process.pid)
        assert not held(process.pid)  # a zombie, which DVC takes for alive
    write_rwlock(process.pid)
    assert not held(process.pid)
