"""What is read of the kernel's files and of the driver, on trees as machines and containers show them."""

import types

import pytest

from stages.records import Gpu
from stages.workload import probes

GIB = 2**30
MEMINFO = "MemTotal:       16384000 kB\nMemFree:         1000000 kB\n"


@pytest.fixture
def tree(tmp_path):
    """Writes a tree of files, path by path, and gives its top."""

    def write(files):
        for path, text in files.items():
            (tmp_path / path).parent.mkdir(parents=True, exist_ok=True)
            (tmp_path / path).write_text(text)
        return tmp_path

    return write


def cpuinfo(*cores):
    """/proc/cpuinfo of an x86 machine, a block per pair of package and core."""
    block = "processor\t: {}\nmodel name\t: Intel(R) Xeon(R) CPU @ 2.20GHz\nphysical id\t: {}\ncore id\t\t: {}\n\n"
    return "".join(block.format(number, *core) for number, core in enumerate(cores))


def test_two_packages_with_hyper_threads(tree):
    threads = [(package, core) for package in (0, 1) for core in (0, 1) for _ in range(2)]
    root = tree({"proc/cpuinfo": cpuinfo(*threads)})
    assert probes.cpu_name(root) == "Intel(R) Xeon(R) CPU @ 2.20GHz"
    assert (probes.logical_cpus(root), probes.physical_cores(root)) == (8, 4)


def test_an_arm_machine_has_neither_name_nor_cores(tree):
    root = tree({"proc/cpuinfo": "processor\t: 0\nBogoMIPS\t: 50.00\nCPU part\t: 0xd0c\n\nprocessor\t: 1\n"})
    assert (probes.cpu_name(root), probes.physical_cores(root), probes.logical_cpus(root)) == (None, None, 2)


def test_nothing_readable_is_unknown_and_never_a_guess(tmp_path):
    for probe in (
        probes.machine_id,
        probes.cpu_name,
        probes.logical_cpus,
        probes.physical_cores,
        probes.memory_bytes,
        probes.memory_limit_bytes,
        probes.os_name,
    ):
        assert probe(tmp_path) is None
    assert probes.usable_cpus(tmp_path, affinity=3) == 3.0


def test_the_machine_id_is_a_hash_of_its_own(tree):
    root = tree({"etc/machine-id": "3d1219c7c4c5404aaa1f6d2a48adfda4\n"})
    first = probes.machine_id(root)
    assert len(first) == 32 and "3d1219c7" not in first
    tree({"etc/machine-id": "4d1219c7c4c5404aaa1f6d2a48adfda4\n"})
    assert probes.machine_id(root) != first
    tree({"etc/machine-id": "\n"})  # as in images that are to get an id when they first start
    assert probes.machine_id(root) is None


def test_memory_is_read_in_bytes(tree):
    assert probes.memory_bytes(tree({"proc/meminfo": MEMINFO})) == 16384000 * 1024


V2 = {"proc/self/cgroup": "0::/\n", "proc/meminfo": MEMINFO}
V1 = {
    "proc/self/cgroup": "5:memory:/docker/abc\n4:cpu,cpuacct:/docker/abc\n3:cpuset:/docker/abc\n",
    "proc/meminfo": MEMINFO,
}


@pytest.mark.parametrize(
    ("files", "cpus", "memory"),
    [
        pytest.param({"proc/meminfo": MEMINFO}, 4.0, None, id="no cgroups"),
        pytest.param(
            {**V2, "sys/fs/cgroup/cpu.max": "150000 100000\n", "sys/fs/cgroup/memory.max": f"{GIB}\n"},
            1.5,
            GIB,
            id="version 2, a container with its own namespace",
        ),
        pytest.param(
            {**V2, "sys/fs/cgroup/cpu.max": "max 100000\n", "sys/fs/cgroup/memory.max": "max\n"},
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
            3.0,
            GIB,
            id="both versions side by side",
        ),
    ],
)
def test_limits_of_cgroups(tree, files, cpus, memory):
    root = tree(files)
    assert probes.usable_cpus(root, affinity=4) == cpus
    assert probes.memory_limit_bytes(root) == memory


def test_affinity_binds_where_it_is_less_than_the_quota(tree):
    assert probes.usable_cpus(tree({**V2, "sys/fs/cgroup/cpu.max": "300000 100000\n"}), affinity=1) == 1.0


@pytest.mark.parametrize("text", ['PRETTY_NAME="Debian GNU/Linux 12 (bookworm)"\n', "ID=x\nPRETTY_NAME=Alpine\n"])
def test_the_distribution(tree, text):
    assert probes.os_name(tree({"etc/os-release": text})) in ("Debian GNU/Linux 12 (bookworm)", "Alpine")


class NVMLError(Exception):
    pass


def driver(cards, text=str, capability=True, failing=None):
    """Stands in for the driver, which is the one thing here that cannot be had without a card."""

    def refuse(*_):
        raise NVMLError("refused")

    nvml = types.SimpleNamespace(
        NVMLError=NVMLError,
        closed=[],
        nvmlInit=lambda: None,
        nvmlSystemGetDriverVersion=lambda: text("580.65.06"),
        nvmlDeviceGetCount=lambda: cards,
        nvmlDeviceGetHandleByIndex=lambda index: index,
        nvmlDeviceGetName=lambda index: text("Tesla P100-PCIE-16GB"),
        nvmlDeviceGetUUID=lambda index: text(f"GPU-{index}"),
        nvmlDeviceGetMemoryInfo=lambda index: types.SimpleNamespace(total=16 * GIB),
    )
    nvml.nvmlShutdown = lambda: nvml.closed.append(True)
    if capability:
        nvml.nvmlDeviceGetCudaComputeCapability = lambda index: (6, 0)
    if failing:
        setattr(nvml, failing, refuse)
    return nvml


def test_every_card_is_read_and_the_driver_let_go():
    nvml = driver(2)
    assert probes.gpus(nvml) == (
        tuple(Gpu("Tesla P100-PCIE-16GB", f"GPU-{index}", "580.65.06", 16 * GIB, "6.0") for index in (0, 1)),
        None,
    )
    assert nvml.closed == [True]


def test_the_library_of_python_37_answers_in_bytes_and_knows_no_compute_capability():
    (gpu,), _ = probes.gpus(driver(1, text=str.encode, capability=False))
    assert gpu == Gpu("Tesla P100-PCIE-16GB", "GPU-0", "580.65.06", 16 * GIB, None)


@pytest.mark.parametrize(
    ("nvml", "reason"),
    [
        (None, "nvidia-ml-py is not installed"),
        (driver(0), "the NVIDIA driver shows no card"),
        (driver(1, failing="nvmlInit"), "no NVIDIA driver answers: refused"),
        (driver(1, failing="nvmlDeviceGetName"), "the NVIDIA driver refused: refused"),
    ],
)
def test_no_card_has_its_reason(nvml, reason):
    assert probes.gpus(nvml) == ((), reason)


def test_a_driver_that_refuses_half_way_is_let_go():
    nvml = driver(1, failing="nvmlDeviceGetName")
    probes.gpus(nvml)
    assert nvml.closed == [True]
