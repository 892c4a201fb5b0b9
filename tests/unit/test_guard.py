"""A probe that hangs, crashes or fails costs its own answer, and nothing else. Every one of these happens for real."""

import ctypes
import faulthandler
import os
import pickle
import resource
import select
import signal
import stat
import subprocess
import sys
import time
from pathlib import Path

import pytest

from stages.workload.probes.guard import guarded
from tests.project import ROOT

PATIENT_SECONDS = 60.0


def test_an_answer_of_any_size_comes_through():
    assert guarded("it", lambda: ("x" * 3_000_000, 7), PATIENT_SECONDS) == (("x" * 3_000_000, 7), None)


def test_none_is_an_answer_too():
    assert guarded("it", lambda: None, PATIENT_SECONDS) == (None, None)


def hang():
    while True:
        time.sleep(1)


def hang_and_take_no_notice():
    for number in (signal.SIGTERM, signal.SIGINT, signal.SIGHUP):
        signal.signal(number, signal.SIG_IGN)
    hang()


@pytest.mark.parametrize("probe", [hang, hang_and_take_no_notice])
def test_a_probe_that_hangs_is_given_up(probe):
    assert guarded("the driver", probe, 0.3) == (None, "the driver did not answer within 0.3 s")


def crash():
    faulthandler.disable()  # pytest's, which would fill the log with this test's stack
    ctypes.string_at(0)


def test_a_probe_that_crashes_is_told():
    assert guarded("it", crash, PATIENT_SECONDS) == (None, "it ended without an answer (SIGSEGV)")


def test_a_probe_that_exits_is_told():
    assert guarded("it", lambda: os._exit(3), PATIENT_SECONDS) == (None, "it ended without an answer (exit code 3)")


def test_a_probe_that_dies_amid_its_answer_is_told():
    folder = Path("/proc/self/fd")
    open_before = {each.name for each in folder.iterdir()}

    def die_amid_the_answer():
        answer = pickle.dumps((list(range(1000)), None))
        opened = [int(each.name) for each in folder.iterdir() if each.name not in open_before]
        writer = next(each for each in opened if stat.S_ISFIFO(os.fstat(each).st_mode))
        os.write(writer, answer[: len(answer) // 2])
        os.kill(os.getpid(), signal.SIGKILL)

    assert guarded("it", die_amid_the_answer, PATIENT_SECONDS) == (None, "it ended amid its answer (SIGKILL)")


@pytest.mark.parametrize("limit", [resource.RLIMIT_NOFILE, resource.RLIMIT_NPROC])
def test_where_no_process_can_be_had_the_reason_is_told(limit):
    """In a process of its own, whose limits are not ours; RLIMIT_NPROC does not bind root."""
    script = f"""
import os, resource
from stages.workload.probes.guard import guarded
if os.getuid() == 0:
    os.setuid(65534)
resource.setrlimit({limit}, (0, 0))
print(guarded("it", int, 1.0))
"""
    command = [sys.executable, "-S", "-c", script]
    done = subprocess.run(command, cwd=ROOT, env={"PYTHONPATH": str(ROOT)}, capture_output=True, text=True)
    assert done.stdout.startswith("(None, 'it could not be asked: [Errno "), done.stderr


def test_a_probe_that_fails_says_why():
    value, reason = guarded("it", lambda: Path("/nowhere").read_text(), PATIENT_SECONDS)
    assert value is None and reason.startswith("it failed: FileNotFoundError: [Errno 2]")


def test_no_child_is_left():
    children = Path(f"/proc/self/task/{os.getpid()}/children")
    before = children.read_text()
    for probe in (hang, lambda: 1, crash):
        guarded("it", probe, 0.3)
    assert children.read_text() == before


def test_a_probe_that_hangs_does_not_outlive_a_killed_process():
    script = """
import os, time
from stages.workload.probes.guard import guarded
def probe():
    os.write(1, b".")
    time.sleep(60)
guarded("it", probe, 60)
"""
    command = [sys.executable, "-S", "-c", script]
    with subprocess.Popen(command, cwd=ROOT, stdout=subprocess.PIPE) as process:
        try:
            assert process.stdout.read(1)  # the probe is at work
        finally:
            process.kill()
            process.wait()
        ended, _, _ = select.select([process.stdout], [], [], 20)
        assert ended and process.stdout.read() == b""  # nobody has the pipe open any more


def test_what_was_not_flushed_is_not_written_twice(capfd):
    print("once", end="")
    guarded("it", lambda: 1, PATIENT_SECONDS)
    print()
    assert capfd.readouterr().out == "once\n"
