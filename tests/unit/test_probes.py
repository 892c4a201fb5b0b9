"""What is read of the kernel's files, on trees as machines and containers show them."""

import dataclasses
import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from stages.records import Cache, GpuState
from stages.units import listed, listing
from stages.workload import processes
from stages.workload.probes import conditions, cpu, disk, files, gpus, hardware, limits, load
from tests.project import ROOT
from tests.results import CONDITIONS

GIB = 2**30
real = os.statvfs
MEMINFO = "MemTotal:       16384000 kB\nMemFree:         1000000 kB\nMemAvailable:    8000000 kB\n"


@pytest.fixture
def tree(tmp_path):
    """Writes a tree of files, path by path, and gives its top."""

    def write(contents):
        for path, text in contents.items():
            (tmp_path / path).parent.mkdir(parents=True, exist_ok=True)
            (tmp_path / path).write_text(text)
        return tmp_path

    return write


def cpuinfo(*cores):
    """/proc/cpuinfo of an x86 machine, a block per pair of package and core."""
    block = (
        "processor\t: {}\nmodel name\t: Intel(R) Xeon(R) CPU @ 2.20GHz\ncpu MHz\t\t: 2200.152\n"
        "physical id\t: {}\ncore id\t\t: {}\nflags\t\t: fpu avx avx2 avx512f amx_bf16 avx512_vnni_not\n\n"
    )
    return "".join(block.format(number, *core) for number, core in enumerate(cores))


def a_xeon():
    """Two packages of two cores with two threads each, as the kernel shows them under /sys."""
    cores = [(package, core) for package in (0, 1) for core in (0, 1) for _ in range(2)]
    contents = {"proc/cpuinfo": cpuinfo(*cores), "sys/devices/system/cpu/online": "0-7\n"}
    for number, (package, core) in enumerate(cores):
        folder = f"sys/devices/system/cpu/cpu{number}"
        siblings = f"{number - number % 2}-{number - number % 2 + 1}"
        caches = [
            ("1", "Data", "32K", siblings),
            ("1", "Instruction", "32K", siblings),
            ("2", "Unified", "1024K", siblings),
        ]
        caches += [("3", "Unified", "39424K", "0-3" if package == 0 else "4-7")]
        for index, values in enumerate(caches):
            for name, value in zip(("level", "type", "size", "shared_cpu_list"), values, strict=True):
                contents[f"{folder}/cache/index{index}/{name}"] = value + "\n"
        contents[f"{folder}/topology/physical_package_id"] = f"{package}\n"
        contents[f"{folder}/topology/core_id"] = f"{core}\n"
        contents[f"{folder}/topology/thread_siblings_list"] = f"{siblings}\n"
        contents[f"{folder}/cpufreq/base_frequency"] = "2200000\n"
        contents[f"{folder}/cpufreq/cpuinfo_max_freq"] = "3100000\n"
        contents[f"{folder}/cpufreq/scaling_governor"] = "performance\n"
        contents[f"{folder}/cpufreq/scaling_cur_freq"] = f"{2600000 + 100000 * (number % 2)}\n"
    return contents | {f"sys/devices/system/node/node{node}/cpulist": "" for node in (0, 1)}


# ------------------------------------------------------------------------------------------------------------ CPU


def test_two_packages_with_hyper_threads(tree):
    found = cpu.look(tree(a_xeon()), "x86_64")
    assert found.model == "Intel(R) Xeon(R) CPU @ 2.20GHz"
    assert (found.sockets, found.physical_cores, found.logical_cpus, found.numa_nodes) == (2, 4, 8, 2)
    assert (found.base_hertz, found.max_hertz) == (2_200_000_000, 3_100_000_000)
    assert found.caches == (
        Cache(1, "data", 32 * 2**10, 4),
        Cache(1, "instruction", 32 * 2**10, 4),
        Cache(2, "unified", 2**20, 4),
        Cache(3, "unified", 39424 * 2**10, 2),
    )
    assert found.isa == ("avx2", "avx512f", "amx_bf16") and found.absent == {}


def test_two_dies_that_number_their_cores_alike(tree):
    contents = a_xeon()
    contents |= {path: "0\n" for path in contents if path.endswith(("core_id", "physical_package_id"))}
    found = cpu.look(tree(contents), "x86_64")
    assert (found.sockets, found.physical_cores) == (1, 4)


def test_a_virtual_machine_hides_its_clocks_and_the_name_tells_one(tree):
    found = cpu.look(tree({"proc/cpuinfo": cpuinfo((0, 0), (0, 1))}), "x86_64")
    assert (found.sockets, found.physical_cores, found.logical_cpus) == (1, 2, 2)
    assert (found.base_hertz, found.max_hertz) == (2_200_000_000, None)
    assert set(found.absent) == {"max_hertz", "numa_nodes", "governor"} and found.core_kinds == ()
    assert "virtual machines" in found.absent["max_hertz"] and "virtual machines" in found.absent["governor"]


def test_an_arm_machine_has_no_name_and_other_instruction_sets(tree):
    text = (
        "processor\t: 0\nBogoMIPS\t: 50.00\nFeatures\t: fp asimd sve bf16 i8mm\nCPU part\t: 0xd0c\n\nprocessor\t: 1\n"
    )
    found = cpu.look(tree({"proc/cpuinfo": text}), "aarch64")
    assert (found.model, found.physical_cores, found.logical_cpus) == (None, None, 2)
    assert found.isa == ("asimd", "bf16", "i8mm", "sve") and "ARM" in found.absent["model"]


def test_a_cpu_that_is_off_does_not_count(tree):
    assert cpu.look(tree(a_xeon() | {"sys/devices/system/cpu/online": "0-2,5\n"}), "x86_64").logical_cpus == 4


def test_the_clock_now_is_the_mean_of_the_cpus(tree, tmp_path):
    assert cpu.now_hertz(tree(a_xeon())) == 2_650_000_000
    assert cpu.now_hertz(tmp_path / "nothing") is None


def test_without_cpufreq_the_clock_is_what_cpuinfo_says(tree):
    assert cpu.now_hertz(tree({"proc/cpuinfo": cpuinfo((0, 0))})) == 2_200_152_000


def test_nothing_readable_is_unknown_with_its_reason_and_never_a_guess(tmp_path):
    found = cpu.look(tmp_path, "x86_64")
    fields = {"model", "sockets", "physical_cores", "logical_cpus", "numa_nodes", "base_hertz", "max_hertz", "governor"}
    assert set(found.absent) == fields and all(found.absent.values())
    assert limits.memory_bytes(tmp_path) is None and limits.memory_available_bytes(tmp_path) is None
    assert files.machine_id(tmp_path) is None and hardware.os_name(tmp_path) is None
    found = limits.look(tmp_path)
    assert set(found.absent) == {"cgroup_version", "cpu_quota", "memory_bytes", "shm_bytes"}
    assert found.usable_cpus == len(os.sched_getaffinity(0))
    assert disk.look(tmp_path, tmp_path).absent.keys() == {"filesystem", "kind"}


def test_the_machine_id_is_a_hash_of_its_own(tree):
    root = tree({"etc/machine-id": "3d1219c7c4c5404aaa1f6d2a48adfda4\n"})
    first = files.machine_id(root)
    assert len(first) == 32 and "3d1219c7" not in first
    tree({"etc/machine-id": "4d1219c7c4c5404aaa1f6d2a48adfda4\n"})
    assert files.machine_id(root) != first
    tree({"etc/machine-id": "\n"})  # as in images that are to get an id when they first start
    assert files.machine_id(root) is None


def test_cpus_as_the_kernel_lists_them():
    assert listed("0-2,8,10-11") == [0, 1, 2, 8, 10, 11] and listed("") == []
    assert listing([8, 0, 1, 2, 11, 10]) == "0-2,8,10-11" and listing([]) == ""


@pytest.mark.parametrize(
    ("text", "size"), [("32K", 32768), ("39424K", 39424 * 1024), ("1M", 2**20), ("K", None), ("", None)]
)
def test_sizes_of_caches(tree, text, size):
    assert files.size_bytes(tree({"size": text}) / "size") == size


@pytest.mark.parametrize("text", ['PRETTY_NAME="Debian GNU/Linux 12 (bookworm)"\n', "ID=x\nPRETTY_NAME=Alpine\n"])
def test_the_distribution(tree, text):
    assert hardware.os_name(tree({"etc/os-release": text})) in ("Debian GNU/Linux 12 (bookworm)", "Alpine")


# -------------------------------------------------------------------------------------------------- memory, limits


def test_memory_is_read_in_bytes(tree):
    root = tree({"proc/meminfo": MEMINFO})
    assert limits.memory_bytes(root) == 16384000 * 1024
    assert limits.memory_available_bytes(root) == 8000000 * 1024


STATUS = {"proc/self/status": "Name:\tpython\nCpus_allowed:\tf\nCpus_allowed_list:\t0-3\n"}
V2 = {"proc/self/cgroup": "0::/\n", "proc/meminfo": MEMINFO}
V1 = {
    "proc/self/cgroup": "5:memory:/docker/abc\n4:cpu,cpuacct:/docker/abc\n3:cpuset:/docker/abc\n",
    "proc/meminfo": MEMINFO,
}


@pytest.mark.parametrize(
    ("contents", "version", "cpus", "memory"),
    [
        pytest.param({"proc/meminfo": MEMINFO}, None, 4.0, None, id="no cgroups"),
        pytest.param(
            {**V2, "sys/fs/cgroup/cpu.max": "150000 100000\n", "sys/fs/cgroup/memory.max": f"{GIB}\n"},
            2,
            1.5,
            GIB,
            id="version 2, a container with its own namespace",
        ),
        pytest.param(
            {**V2, "sys/fs/cgroup/cpu.max": "max 100000\n", "sys/fs/cgroup/memory.max": "max\n"},
            2,
            4.0,
            None,
            id="version 2, no limit",
        ),
        pytest.param(
            {
                **V2,
                "proc/self/cgroup": "0::/user.slice/session.scope\n",
                "sys/fs/cgroup/user.slice/cpu.max": "50000 100000\n",
                "sys/fs/cgroup/user.slice/memory.max": f"{2 * GIB}\n",
                "sys/fs/cgroup/user.slice/session.scope/cpu.max": "200000 100000\n",
                "sys/fs/cgroup/user.slice/session.scope/memory.max": f"{3 * GIB}\n",
                "sys/fs/cgroup/other.slice/cpu.max": "10000 100000\n",
            },
            2,
            0.5,
            2 * GIB,
            id="version 2, a slice above binds and one beside does not",
        ),
        pytest.param(
            {
                **V1,
                "sys/fs/cgroup/cpu,cpuacct/cpu.cfs_quota_us": "250000\n",
                "sys/fs/cgroup/cpu,cpuacct/cpu.cfs_period_us": "100000\n",
                "sys/fs/cgroup/memory/memory.limit_in_bytes": f"{GIB}\n",
            },
            1,
            2.5,
            GIB,
            id="version 1, a container that sees the host's path",
        ),
        pytest.param(
            {
                **V1,
                "sys/fs/cgroup/cpu,cpuacct/docker/abc/cpu.cfs_quota_us": "100000\n",
                "sys/fs/cgroup/cpu,cpuacct/docker/abc/cpu.cfs_period_us": "100000\n",
                "sys/fs/cgroup/memory/docker/abc/memory.limit_in_bytes": f"{GIB}\n",
                "sys/fs/cgroup/memory/memory.limit_in_bytes": "9223372036854771712\n",
            },
            1,
            1.0,
            GIB,
            id="version 1, on the host",
        ),
        pytest.param(
            {
                **V1,
                "sys/fs/cgroup/cpu,cpuacct/cpu.cfs_quota_us": "-1\n",
                "sys/fs/cgroup/cpu,cpuacct/cpu.cfs_period_us": "100000\n",
                "sys/fs/cgroup/memory/memory.limit_in_bytes": "9223372036854771712\n",
            },
            1,
            4.0,
            None,
            id="version 1, no limit",
        ),
        pytest.param(
            {
                "proc/self/cgroup": "4:memory:/job\n1:cpu:/\n0::/\n",
                "proc/meminfo": MEMINFO,
                "sys/fs/cgroup/cpu/cpu.cfs_quota_us": "300000\n",
                "sys/fs/cgroup/cpu/cpu.cfs_period_us": "100000\n",
                "sys/fs/cgroup/memory/job/memory.limit_in_bytes": f"{GIB}\n",
                "sys/fs/cgroup/unified/cgroup.procs": "",
            },
            1,
            3.0,
            GIB,
            id="both versions side by side",
        ),
    ],
)
def test_limits_of_cgroups(tree, contents, version, cpus, memory):
    found = limits.look(tree(STATUS | contents))
    assert (found.cgroup_version, found.cpuset) == (version, "0-3")
    assert (found.usable_cpus, found.memory_bytes) == (cpus, memory)
    assert found.cpu_quota == (None if cpus == 4.0 else cpus)
    assert ("cpu_quota" in found.absent) == (found.cpu_quota is None)


@pytest.mark.parametrize(
    ("contents", "killed"),
    [
        ({"proc/meminfo": MEMINFO}, None),
        (V2 | {"sys/fs/cgroup/memory.events": "oom 9\noom_kill 2\noom_group_kill 0\n"}, 2),
        (V1 | {"sys/fs/cgroup/memory/memory.oom_control": "oom_kill_disable 0\nunder_oom 0\noom_kill 3\n"}, 3),
        (V1 | {"sys/fs/cgroup/memory/memory.oom_control": "oom_kill_disable 0\nunder_oom 0\n"}, None),
    ],
    ids=["no cgroups", "version 2", "version 1", "version 1 before Linux 4.13"],
)
def test_what_the_kernel_killed_for_want_of_memory(tree, contents, killed):
    assert limits.killed_in_cgroup_for_memory(tree(contents)) == killed


RECORDED = sorted((ROOT / "tests/recorded/cgroup2").glob("*.json"))


@pytest.mark.parametrize("record", RECORDED, ids=lambda record: record.stem)
def test_recorded_trees_of_version_2_agree_with_the_limits_that_were_set(tree, record):
    """Of a kernel that has it, whatever this one has: tests/recorded/README.md."""
    document = json.loads(record.read_text())
    root, inspected = tree(document["files"]), document["host_config"]
    found = limits.look(root)
    assert (found.cgroup_version, found.cpuset) == (2, "0")
    if inspected is None:  # the tree that it sees has limits, which are not its own
        assert (root / "sys/fs/cgroup/cpu.max").read_text() == "50000 100000\n"
        assert {found.absent["cpu_quota"], found.absent["memory_bytes"]} == {limits.OUTSIDE}
    else:
        assert found.cpu_quota == (inspected["NanoCpus"] / 1e9 or None)
        assert found.memory_bytes == (inspected["Memory"] or None)
        assert found.usable_cpus == (found.cpu_quota or 1.0)
    assert limits.memory_bytes(root) == 236980 * 1024


def test_every_layout_is_recorded():
    assert len(RECORDED) == 5


def test_the_cpuset_binds_where_it_is_less_than_the_quota(tree):
    status = {"proc/self/status": "Cpus_allowed_list:\t2\n"}
    found = limits.look(tree(status | V2 | {"sys/fs/cgroup/cpu.max": "300000 100000\n"}))
    assert (found.cpuset, found.cpu_quota, found.usable_cpus) == ("2", 3.0, 1.0)


# ----------------------------------------------------------------------------------------------------------- disk

MOUNTS = {
    "proc/self/mountinfo": (
        "27 1 254:1 / / rw,relatime - ext4 /dev/vda1 rw\n"
        "30 27 0:25 / /pictures rw - nfs4 server:/export rw\n"
        "31 27 8:1 / /big\\040disk rw - xfs /dev/sda1 rw\n"
        "32 27 0:26 / /memory rw - ext4 /dev/hidden rw\n"
        "33 27 0:27 / /memory rw - tmpfs tmpfs rw\n"
        "34 27 0:28 / /layers rw - overlay overlay rw\n"
        "35 27 0:29 /home /home/me/tree rw - btrfs /dev/sda1 rw\n"
        "36 27 0:30 / /of-the-hosts rw - virtiofs share rw\n"
        "37 27 254:16 / /virtual rw - ext4 /dev/vdb rw\n"
        "38 27 8:16 / /of-a-cloud rw - ext4 /dev/sdb rw\n"
    ),
    # As the kernel has it: a partition's folder lies in that of its disk, and dev/block leads to it.
    "sys/devices/vda/vda1/partition": "1\n",
    "sys/devices/vda/queue/rotational": "0\n",
    "sys/devices/vdb/queue/rotational": "1\n",  # the kernel's default for such a disk
    "sys/devices/sdb/queue/rotational": "1\n",
    "sys/devices/sdb/device/vendor": "Google  \n",
    "sys/devices/sda/sda1/partition": "1\n",
    "sys/devices/sda/queue/rotational": "1\n",
}


@pytest.mark.parametrize(
    ("folder", "filesystem", "kind"),
    [
        ("/home/me/checkout/data", "ext4", "solid state"),
        ("/pictures/some", "nfs4", "network"),
        ("/big disk/data", "xfs", "rotating"),
        ("/bigger", "ext4", "solid state"),
        ("/memory/x", "tmpfs", "memory"),
        ("/layers", "overlay", None),
        ("/home/me/tree/data", "btrfs", "rotating"),
        ("/of-the-hosts", "virtiofs", None),
        ("/virtual/data", "ext4", None),
        ("/of-a-cloud", "ext4", None),
    ],
)
def test_the_disk_below_a_folder(tree, folder, filesystem, kind):
    root = tree(MOUNTS)
    (root / "sys/dev/block").mkdir(parents=True)
    (root / "sys/dev/block/254:1").symlink_to(root / "sys/devices/vda/vda1")
    (root / "sys/dev/block/254:16").symlink_to(root / "sys/devices/vdb")
    (root / "sys/dev/block/8:16").symlink_to(root / "sys/devices/sdb")
    (root / "sys/dev/block/8:1").symlink_to(root / "sys/devices/sda/sda1")
    (root / "sys/class/block").mkdir(parents=True)
    (root / "sys/class/block/sda1").symlink_to(root / "sys/devices/sda/sda1")
    mount = disk._mount(root, Path(folder))
    assert (mount.filesystem, disk._kind(root, mount)) == (filesystem, kind)


def test_in_a_virtual_machine_no_disk_is_called_rotating(tree):
    """Its kernel says so of any whose host does not tell otherwise."""
    root = tree(MOUNTS | {"proc/cpuinfo": "flags\t\t: fpu hypervisor avx2\n"})
    (root / "sys/dev/block").mkdir(parents=True)
    (root / "sys/dev/block/8:1").symlink_to(root / "sys/devices/sda/sda1")
    assert disk._kind(root, disk._mount(root, Path("/big disk"))) is None


def test_a_size_that_moves_is_no_fact(tmp_path):
    """ZFS and network file systems tell what is used and free together."""
    (tmp_path / "proc/self").mkdir(parents=True)
    for filesystem in ("zfs", "nfs4", "ext4"):
        (tmp_path / "proc/self/mountinfo").write_text(f"27 1 0:40 / / rw - {filesystem} tank rw\n")
        found = disk.look(tmp_path, tmp_path)
        assert (found.total_bytes is None) == (filesystem != "ext4")
        assert ("moves with what else is stored there" in found.absent.get("total_bytes", "")) == (filesystem != "ext4")


# ----------------------------------------------------------------------------------------------------- conditions


def test_time_of_the_cpus_in_ticks(tree):
    root = tree({"proc/stat": "cpu  100 5 50 800 40 3 2 7 90 0\ncpu0 50 5 25 400 20 3 2 0 45 0\n"})
    # Guest time is in user time; idle, disk waits and what was stolen are not busy.
    assert load.ticks(root) == load.Ticks(busy=160, stolen=7, all=1007)


def test_conditions_without_the_kernels_files_are_null_with_reasons(tmp_path):
    found = conditions.look(tmp_path, tmp_path)
    moving = {"memory_available_bytes", "cpu_hertz", "cpu_busy_share", "cpu_throttle_count", "cpu_clocks"}
    assert set(found.absent) == moving
    assert "virtual machines" in found.absent["cpu_throttle_count"]
    assert found.disk_free_bytes > 0


def never():
    time.sleep(600)


def test_a_driver_that_hangs_costs_the_cards_alone_and_is_told(monkeypatch):
    monkeypatch.setattr(hardware, "DRIVER_SECONDS", 0.3)
    monkeypatch.setattr(gpus, "facts", never)
    monkeypatch.setattr(gpus, "states", never)
    machine, moment = hardware.look(Path("/")), conditions.look(Path("/"))
    for found in (machine, moment):
        assert (found.gpus, found.gpus_reason) == ((), "the NVIDIA driver did not answer within 0.3 s")
    assert machine.cpu.logical_cpus and moment.memory_available_bytes


def test_a_file_of_the_kernel_that_hangs_is_told(monkeypatch):
    monkeypatch.setattr(conditions, "FILE_SECONDS", 2.0)  # in which those that do not hang are done
    monkeypatch.setattr(cpu, "now_hertz", lambda root: never())
    moment = conditions.look(Path("/"))
    reason = "the look at memory and clocks did not answer within 2 s"
    moving = ("memory_available_bytes", "cpu_hertz", "cpu_throttle_count", "cpu_clocks")
    assert moment.absent == dict.fromkeys(moving, reason)


def test_a_mount_that_is_gone_costs_the_disk_alone(monkeypatch):
    monkeypatch.setattr(conditions, "FILE_SECONDS", 2.0)
    monkeypatch.setattr(hardware, "FILE_SECONDS", 2.0)
    monkeypatch.setattr(os, "statvfs", lambda path: never() if path == "/tmp" else real(path))
    found, moment = hardware.look(Path("/tmp")), conditions.look(Path("/tmp"))
    reason = "the disk of /tmp did not answer within 2 s"
    assert found.disk.absent == dict.fromkeys(("filesystem", "kind", "total_bytes"), reason)
    assert moment.disk_free_bytes is None and moment.absent["disk_free_bytes"] == reason
    assert found.limits.shm_bytes and moment.cpu_busy_share is not None


@pytest.mark.parametrize(
    ("card", "warning"),
    [
        ({}, None),
        ({"temperature_celsius": 84}, "it is 84 °C hot"),
        ({"throttle_reasons": ("software power cap",)}, "its clocks are held down (software power cap)"),
        ({"other_processes": ("pid 7, python, 1.0 GiB",)}, "other processes are on it (pid 7, python, 1.0 GiB)"),
        ({"busy_share": 0.4}, "it was 40% busy"),
    ],
)
def test_a_card_that_is_hot_or_held_down_or_shared_is_warned_of(card, warning):
    plain = {"temperature_celsius": 40, "throttle_reasons": (), "other_processes": (), "busy_share": 0.0}
    state = files.unknown(GpuState, "not told", uuid="GPU-1", **(plain | card))
    moment = dataclasses.replace(CONDITIONS, gpus=(state,), gpus_reason=None)
    assert conditions.warnings(moment) == (() if warning is None else (f"GPU-1: {warning}",))


def test_what_runs_beside_this_process_is_counted():
    """By processes that are not its descendants: their parent has ended."""
    spin = f"for i in $(seq {os.cpu_count()}); do (while :; do :; done) >/dev/null 2>&1 & echo $!; done"
    begun = subprocess.run(["bash", "-c", spin], capture_output=True, text=True, check=True)
    try:
        loaded = conditions.look(Path("/"))
    finally:
        for pid in begun.stdout.split():
            os.kill(int(pid), signal.SIGKILL)
    assert loaded.cpu_busy_share > 0.9
    assert conditions.warnings(loaded)


WORKS = "import time\nwhile time.process_time() < 0.4: pass\nprint(time.process_time(), flush=True)\ninput()"


@pytest.mark.parametrize("waited_for", [True, False])
def test_what_this_process_and_its_children_take_is_not_counted(waited_for):
    """The least of some looks: a process that is put off between two readings counts what others did meanwhile."""
    assert min(abs(_miscounted(waited_for)) for _ in range(4)) < 0.2


def _miscounted(waited_for):
    """Return by how much what others took is too small, in seconds."""
    before, own, meter = load.ticks(Path("/")), time.process_time(), load.Meter()
    pipes = {"stdin": subprocess.PIPE, "stdout": subprocess.PIPE}
    with subprocess.Popen([sys.executable, "-c", WORKS], text=True, **pipes) as child:
        while time.process_time() - own < 0.4:
            pass
        taken = float(child.stdout.readline())
        if waited_for:
            child.communicate("\n")
        found, after = meter.read(), load.ticks(Path("/"))
        taken += time.process_time() - own
        child.kill()
    span = (after.all - before.all) / os.sysconf("SC_CLK_TCK")
    busy_share = (after.busy - before.busy) / (after.all - before.all)
    assert taken > 0.8
    return (busy_share - found.others_share) * span - taken


STAT = "cpu  {} 0 0 {} 0 0 0 {} 0 0\n"


@pytest.mark.parametrize(
    ("end", "throttled", "said"),
    [
        (STAT.format(1005, 9995, 100), "throttled_usec 0", ()),
        (STAT.format(1500, 9500, 100), "throttled_usec 0", ("other processes took 50% of the CPUs' time",)),
        (
            STAT.format(1000, 9700, 400),
            "throttled_usec 0",
            ("the hypervisor gave 30% of the CPUs' time to other machines (steal)",),
        ),
        (
            STAT.format(1000, 10000, 100),
            "throttled_usec 4000000",
            ("its CPU quota held it back for 4.0 s in 10.0 s, summed over the CPUs",),
        ),
    ],
)
@pytest.mark.parametrize("version", [1, 2])
def test_what_the_kernel_counted_meanwhile_is_told_by_its_name(tree, monkeypatch, end, throttled, said, version):
    folder = "sys/fs/cgroup/cpu" if version == 1 else "sys/fs/cgroup"
    if version == 1:
        throttled = throttled.replace("usec", "time").replace("000000", "000000000")
    files = {"proc/self/cgroup": "2:cpu:/" if version == 1 else "0::/", f"{folder}/cpu.stat": "nr_throttled 0\n"}
    begin = throttled.split()[0] + " 0\n"
    root = tree({**files, "proc/stat": STAT.format(1000, 9000, 100), f"{folder}/cpu.stat": begin})
    clock = iter([7.0, 17.0])
    monkeypatch.setattr(load.time, "perf_counter", lambda: next(clock))
    monkeypatch.setattr(load.processes, "cpu_seconds", lambda pids: 0.0)
    meter = load.Meter(root)
    (root / "proc/stat").write_text(end)
    (root / folder / "cpu.stat").write_text(throttled + "\n")
    assert load.warnings(meter.read()) == said


def test_a_load_without_the_kernels_files_is_null_with_reasons(tmp_path):
    found = load.Meter(tmp_path).read()
    assert set(found.absent) == {"others_share", "steal_share", "throttled_seconds"} and load.warnings(found) == ()


def test_children_are_the_same_by_the_kernels_list_and_by_all_processes_parents():
    with subprocess.Popen(["sleep", "60"]) as child:
        try:
            assert child.pid in processes.children(os.getpid())
            assert set(processes._by_parent()[os.getpid()]) == set(processes.children(os.getpid()))
        finally:
            child.kill()
