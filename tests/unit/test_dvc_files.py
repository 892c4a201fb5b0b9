"""What is left of DVC's list of locks when it is killed; test_dvc_lock.py has its dvc.lock, and who is refused."""

import json
import os
import subprocess
import sys

import pytest

from stages.harness.process import dvc_rwlock


@pytest.fixture(autouse=True)
def folder(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    dvc_rwlock.RWLOCK_PATH.parent.mkdir(parents=True)
    return tmp_path


@pytest.mark.parametrize("text", ["", '{"write": {"a"', "[]", '{"write": {"a": {"pid": "x"}}, "read": {}}'])
def test_a_rwlock_that_is_none_any_more_is_deleted(text):
    dvc_rwlock.RWLOCK_PATH.write_text(text)
    dvc_rwlock.mend()
    assert not dvc_rwlock.RWLOCK_PATH.exists()


def held(pid):
    """Whether what that process holds in the rwlock is still held when it has been mended."""
    entry = {"pid": pid, "cmd": "dvc repro"}
    document = {"write": {"metrics/machine.json": entry}, "read": {"params.yaml": [entry]}}
    dvc_rwlock.mend()
    found = json.loads(dvc_rwlock.RWLOCK_PATH.read_text())
    assert found in (document, {"write": {}, "read": {"params.yaml": []}})
    return found == document


def write_rwlock(pid):
    entry = {"pid": pid, "cmd": "dvc repro"}
    text = json.dumps({"write": {"metrics/machine.json": entry}, "read": {"params.yaml": [entry]}})
    dvc_rwlock.RWLOCK_PATH.write_text(text)


def test_what_a_living_process_holds_stays_until_its_pid_is_anothers():
    write_rwlock(os.getpid())
    assert held(os.getpid())
    os.utime(dvc_rwlock.RWLOCK_PATH, (0, 0))  # when no process of these tests ran
    assert not held(os.getpid())


def test_a_dead_process_holds_nothing_whether_reaped_or_not():
    with subprocess.Popen([sys.executable, "-c", "pass"], stdout=subprocess.PIPE) as process:
        process.stdout.read()
        os.waitid(os.P_PID, process.pid, os.WEXITED | os.WNOWAIT)
        write_rwlock(process.pid)
        assert not held(process.pid)  # a zombie, which DVC takes for alive
    write_rwlock(process.pid)
    assert not held(process.pid)
