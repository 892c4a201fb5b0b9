"""metrics/machine.json by the real command: nothing in it moves between two runs."""

import json
import os
import shutil
import subprocess
import sys

import pytest

from stages import codec, machine, records
from stages.units import listed
from stages.workload.probes import conditions, files
from tests import environments
from tests.project import make_project, run_stage, stage


@pytest.fixture
def folder(tmp_path):
    return make_project(tmp_path / "project", ["host"], container={"gpus": "auto"})


def read(folder):
    return codec.read(folder / records.MACHINE_PATH, records.Machine)


def test_ten_runs_give_the_same_bytes(folder):
    written = set()
    for _ in range(10):
        stage(folder, "machine")
        written.add((folder / records.MACHINE_PATH).read_bytes())
    assert len(written) == 1


def test_other_cpus_to_run_on_make_it_another_machine(folder):
    stage(folder, "machine")
    before = read(folder)
    cpus = sorted(os.sched_getaffinity(0))
    if len(cpus) == 1:
        pytest.skip("this machine has one CPU, so there is no affinity to change")
    command = ["taskset", "--cpu-list", str(cpus[0]), sys.executable, "-m", "stages.machine"]
    subprocess.run(command, cwd=folder, check=True)
    after = read(folder)
    assert after.hardware.limits.cpuset == str(cpus[0]) and after.hardware.limits.usable_cpus == 1.0
    assert codec.fingerprint(after) != codec.fingerprint(before)


def lscpu(*columns):
    """What lscpu says, as its own JSON."""
    text = subprocess.run(["lscpu", "--json", "--bytes", *columns], check=True, capture_output=True, text=True).stdout
    return json.loads(text)


def test_it_agrees_with_lscpu(folder):
    stage(folder, "machine")
    found = read(folder).hardware.cpu
    said = {}

    def flatten(entries):
        for entry in entries:
            said[entry["field"].rstrip(":")] = entry["data"]
            flatten(entry.get("children", []))

    flatten(lscpu()["lscpu"])
    assert found.architecture == said["Architecture"]
    assert found.model == said.get("Model name")
    assert found.logical_cpus == len(listed(said["On-line CPU(s) list"]))
    assert found.sockets == int(said["Socket(s)"])
    assert found.physical_cores == int(said["Socket(s)"]) * int(said["Core(s) per socket"])
    assert found.numa_nodes == int(said["NUMA node(s)"])
    assert set(found.isa) <= set(said["Flags"].split())
    for name in ("avx2", "avx512f", "amx_tile", "avx512_bf16"):
        assert (name in found.isa) == (name in said["Flags"].split())
    assert (found.max_hertz is None) == ("CPU max MHz" not in said)
    assert found.max_hertz in (None, round(float(said.get("CPU max MHz", 0)) * 1e6))
    ours = {(each.level, each.kind): (each.size_bytes, each.size_bytes * each.instances) for each in found.caches}
    kinds = {"Data": "data", "Instruction": "instruction", "Unified": "unified"}
    theirs = {
        (int(each["level"]), kinds[each["type"]]): (int(each["one-size"]), int(each["all-size"]))
        for each in lscpu("--caches")["caches"]
    }
    assert ours == theirs


def own_cpuset():
    """By the affinity that the system's tool tells of this process."""
    said = subprocess.run(["taskset", "--cpu-list", "--pid", str(os.getpid())], check=True, capture_output=True)
    return said.stdout.decode().rpartition(": ")[2].strip()


def test_what_moves_agrees_with_df_and_free(tmp_path):
    moment = conditions.look(tmp_path)
    free = subprocess.run(["df", "-B1", "--output=avail", tmp_path], check=True, capture_output=True, text=True).stdout
    available = subprocess.run(["free", "--bytes"], check=True, capture_output=True, text=True).stdout.splitlines()
    assert moment.disk_free_bytes == pytest.approx(int(free.split()[1]), abs=2**30)  # others write meanwhile
    assert moment.memory_available_bytes == pytest.approx(int(available[1].split()[6]), abs=2**31)


def test_the_kind_of_disk_is_lsblks_where_no_hypervisor_made_it_up(folder):
    stage(folder, "machine")
    disk, isa = read(folder).hardware.disk, files.fields(files.ROOT / "proc/cpuinfo")
    source = subprocess.run(["findmnt", "-no", "SOURCE", "-T", folder], capture_output=True, text=True).stdout.strip()
    said = subprocess.run(["lsblk", "-ndo", "ROTA", source], capture_output=True, text=True).stdout.strip()
    virtual = any(key == "flags" and "hypervisor" in value.split() for key, value in isa)
    expected = {"0": "solid state", "1": None if virtual else "rotating"}
    assert disk.kind == expected.get(said, disk.kind)
    assert (disk.kind is None) == ("kind" in disk.absent)


def test_it_agrees_with_the_systems_other_tools(folder):
    printed = stage(folder, "machine")
    found = read(folder).hardware
    assert found.memory_bytes == os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE")
    assert found.kernel == os.uname().release
    said = subprocess.run(["df", "-B1", "--output=size,fstype", "data"], cwd=folder, capture_output=True, text=True)
    assert [str(found.disk.total_bytes), found.disk.filesystem] == said.stdout.split()[2:]
    assert listed(found.limits.cpuset) == listed(own_cpuset())
    assert found.limits.shm_bytes == shutil.disk_usage("/dev/shm").total
    assert bool(found.gpus) == (found.gpus_reason is None)
    assert (found.gpus_reason or found.gpus[0].name) in printed


def test_the_machine_id_is_not_in_the_file_as_it_is(folder):
    stage(folder, "machine")
    plain = files.text(files.ROOT / "etc/machine-id")
    assert not plain or plain not in (folder / records.MACHINE_PATH).read_text()


def test_where_machines_have_no_id_the_cards_of_a_record_are_no_loss(folder, monkeypatch):
    """A slim container has no /etc/machine-id; a clone brings the record of somebody's machine with a card."""
    somebodys = environments.hardware(environments.gpu(uuid="GPU-aaaaaaaa"))
    absent = {"machine_id": "there is no /etc/machine-id"}
    record = records.Machine(None, somebodys, ("GPU-aaaaaaaa",), absent)
    codec.write(folder / records.MACHINE_PATH, record)
    monkeypatch.chdir(folder)
    monkeypatch.setattr(files, "machine_id", lambda root: None)
    assert machine.main() == 0
    assert read(folder).job_gpus != ("GPU-aaaaaaaa",) and read(folder).absent["machine_id"] == absent["machine_id"]


def test_without_the_nvidia_library_the_reason_says_so(folder):
    (folder / "pynvml.py").write_text("raise ImportError('not here')\n")
    stage(folder, "machine")
    assert (read(folder).hardware.gpus, read(folder).hardware.gpus_reason) == ((), "nvidia-ml-py is not installed")


def test_a_binding_that_breaks_costs_the_gpus_alone_and_its_words_make_no_other_machine(folder):
    before = None
    for words in ("broken", "broken otherwise"):
        (folder / "pynvml.py").write_text(f"raise RuntimeError({words!r})\n")
        assert f"no GPU (the NVIDIA driver failed: RuntimeError: {words})" in stage(folder, "machine")
        before = before or read(folder)
        assert (
            read(folder) == before and before.hardware.gpus_reason == "the NVIDIA driver failed: RuntimeError: broken"
        )


def test_a_failed_run_leaves_no_old_file(folder):
    stage(folder, "machine")
    (folder / "data").rmdir()
    (folder / "data").write_text("in the way")
    done = run_stage(folder, "machine")
    assert (done.returncode, done.stderr) == (
        1,
        "faceoff: data cannot be made: something that is no folder lies there; move it away, then run again\n",
    )
    assert not (folder / records.MACHINE_PATH).exists()
