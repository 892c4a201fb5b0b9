"""metrics/machine.json by the real command: nothing in it moves between two runs."""

import os

from stages import records
from stages.workload import probes
from tests.project import make_project, run_stage, stage


def test_ten_runs_give_the_same_bytes(tmp_path):
    folder = make_project(tmp_path / "project", ["host"])
    written = set()
    for _ in range(10):
        stage(folder, "machine")
        written.add((folder / records.MACHINE_PATH).read_bytes())
    assert len(written) == 1


def test_it_is_this_machine(tmp_path):
    folder = make_project(tmp_path / "project", ["host"])
    printed = stage(folder, "machine")
    machine = records.read(folder / records.MACHINE_PATH, records.Machine)
    assert machine.memory_bytes == os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE")
    assert machine.logical_cpus == os.cpu_count()
    assert machine.kernel == os.uname().release
    assert machine.cpu == probes.cpu_name(probes.ROOT)
    assert bool(machine.gpus) == (machine.gpus_reason is None)
    assert (machine.gpus_reason or machine.gpus[0].name) in printed


def test_the_machine_id_is_not_in_the_file_as_it_is(tmp_path):
    folder = make_project(tmp_path / "project", ["host"])
    stage(folder, "machine")
    plain = probes.read_text(probes.ROOT / "etc/machine-id")
    assert not plain or plain not in (folder / records.MACHINE_PATH).read_text()


def test_without_the_nvidia_library_the_reason_says_so(tmp_path):
    folder = make_project(tmp_path / "project", ["host"])
    (folder / "pynvml.py").write_text("raise ImportError('not here')\n")
    assert run_stage(folder, "machine").returncode == 0
    machine = records.read(folder / records.MACHINE_PATH, records.Machine)
    assert (machine.gpus, machine.gpus_reason) == ((), "nvidia-ml-py is not installed")


def test_a_failed_run_leaves_no_old_file(tmp_path):
    folder = make_project(tmp_path / "project", ["host"])
    stage(folder, "machine")
    (folder / "pynvml.py").write_text("raise RuntimeError('broken')\n")
    assert run_stage(folder, "machine").returncode != 0
    assert not (folder / records.MACHINE_PATH).exists()
