"""Preflight against what is really short: a full disk, a small /dev/shm, no Docker engine, one that never answers."""

import json
import os
import socket
import subprocess
import sys
import time

import pytest
from docker.constants import DEFAULT_TIMEOUT_SECONDS

from tests.mounts import mounting
from tests.project import make_project, run_stage, write_job

PREFLIGHT = f"{sys.executable} -m stages.machine && {sys.executable} -m stages.preflight"
# A job that needs as many MiB of /dev/shm as its variant is large.
SIZED = {
    "job.yaml": "train: bash train.sh {size}\nestimate: python estimate.py\n",
    "train.sh": "true\n",
    "estimate.py": "import json, os\n"
    "size = json.loads(os.environ['FACEOFF_CELL'])['parameters']['size'] * 2**20\n"
    "line = {'estimate': {'shm_bytes': size, 'output_bytes': 1000}}\n"
    "open(os.environ['FACEOFF_EVENTS'], 'a').write(json.dumps(line))\n",
}


def sized(folder, **megabytes):
    """A project whose variants need so much of /dev/shm."""
    variants = {name: {"size": size} for name, size in megabytes.items()}
    make_project(folder, ["host"], job="sized", variants=variants)
    write_job(folder, "sized", SIZED)
    return folder


def checks(folder):
    document = json.loads((folder / "metrics/preflight.json").read_text())
    return {check["name"]: check for check in document["checks"]}


def test_a_small_dev_shm_is_refused_with_what_is_needed_and_there(tmp_path):
    folder = sized(tmp_path, small=4, large=16)
    done = mounting(f"mount -t tmpfs -o size=8m tmpfs /dev/shm\n{PREFLIGHT}", folder)
    assert done.returncode == 1
    [line] = [line for line in done.stderr.splitlines() if line.startswith("faceoff: ")]
    assert line.startswith("faceoff: host: shared memory, large: needs 16 MiB in /dev/shm; ")
    assert "found: 8 MiB; mount -o remount,size=64m" in line
    assert checks(folder)["host: shared memory, small"]["status"] == "passed"


def test_what_lies_in_dev_shm_already_is_not_there(tmp_path):
    """64 MB, of which something else has 60: a machine shares it with all that runs there."""
    folder = sized(tmp_path, small=4, large=16)
    fill = "mount -t tmpfs -o size=64m tmpfs /dev/shm\nhead -c 60M /dev/zero > /dev/shm/something"
    done = mounting(f"{fill}\n{PREFLIGHT}", folder)
    assert done.returncode == 1
    [line] = [line for line in done.stderr.splitlines() if line.startswith("faceoff: ")]
    assert line.startswith("faceoff: host: shared memory, large: needs ")
    assert "found: 64 MiB, 4 MiB of it free; the file /dev/shm/something holds 60 MiB of it; delete what lies" in line


def test_a_full_disk_is_refused(tmp_path):
    script = f"""
    mkdir small
    mount -t tmpfs -o size=200m tmpfs small
    cp -r stages docker jobs params.yaml small
    cd small
    {PREFLIGHT}
    """
    done = mounting(script, make_project(tmp_path, ["host"]))
    assert done.returncode == 1
    [line] = [line for line in done.stderr.splitlines() if line.startswith("faceoff: ")]
    assert line.startswith("faceoff: disk of the checkout: needs ") and f"free at {tmp_path}/small" in line
    assert "make room for " in line


@pytest.fixture
def closed():
    """The address of a port that nobody listens at, and that nobody else is given meanwhile."""
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        yield f"tcp://127.0.0.1:{taken.getsockname()[1]}"


@pytest.fixture
def deaf():
    """The address of a server that takes connections and never says anything."""
    with socket.create_server(("127.0.0.1", 0)) as server:
        yield f"tcp://127.0.0.1:{server.getsockname()[1]}"


def test_an_engine_that_is_not_there_or_never_answers_is_refused_without_waiting_for_it(tmp_path, closed, deaf):
    folder = make_project(tmp_path, ["host", "cuda-10.0"])
    assert run_stage(folder, "machine").returncode == 0
    for address, words in ((closed, "no Docker engine answers"), (deaf, "the Docker engine does not answer in time")):
        began = time.monotonic()
        done = run_stage(folder, "preflight", DOCKER_HOST=address)
        assert done.returncode == 1 and time.monotonic() - began < DEFAULT_TIMEOUT_SECONDS  # what docker would wait
        [line] = done.stderr.splitlines()
        assert line.startswith(
            "faceoff: Docker engine: needs one, for cuda-10.0; found: none that can be used; " + words
        )
        assert "Traceback" not in done.stderr


def test_host_alone_needs_no_engine(tmp_path, deaf):
    folder = make_project(tmp_path, ["host"])
    assert run_stage(folder, "machine").returncode == 0
    done = run_stage(folder, "preflight", DOCKER_HOST=deaf)
    assert done.returncode == 0, done.stderr
    assert "Docker engine" not in checks(folder)


def test_gpus_that_are_asked_for_and_absent_are_refused(tmp_path):
    folder = make_project(tmp_path, ["host"], container={"gpus": "all"})
    done = run_stage(folder, "machine")
    if done.returncode == 0:
        pytest.skip("this machine has a GPU")
    assert done.stderr.startswith("faceoff: container.gpus is 'all', but this machine has no GPU: ")


def test_without_the_machines_record_it_says_what_to_run(tmp_path):
    done = run_stage(make_project(tmp_path, ["host"]), "preflight")
    assert done.returncode == 1
    assert done.stderr == (
        "faceoff: metrics/machine.json: missing; the stage that writes it has not run: run `make repro`\n"
    )


def test_a_busy_machine_is_a_warning_and_no_refusal(tmp_path):
    folder = make_project(tmp_path, ["host"])
    assert run_stage(folder, "machine").returncode == 0
    busy = [subprocess.Popen([sys.executable, "-c", "while True: pass"]) for _ in range(os.cpu_count() or 1)]
    try:
        done = run_stage(folder, "preflight")
    finally:
        for each in busy:
            each.kill()
            each.wait()
    assert done.returncode == 0, done.stderr
    assert "warning: idle machine: " in done.stdout
    assert checks(folder)["idle machine"]["status"] == "warning"
