"""What a container may use, as the probes see it inside, against Docker's own account and the system's own tools."""

import json
import uuid
from pathlib import Path

import pytest

from stages import codec, records
from stages.harness.environments.docker_engine import DockerEngine
from stages.units import listed
from tests import real_engine
from tests.project import ROOT

pytestmark = pytest.mark.engine

GIB, MIB = 2**30, 2**20
PROBE = """
import json, re, subprocess
from pathlib import Path
from stages import codec
from stages.workload.probes import conditions, hardware

codec.write(Path("/out/hardware.json"), hardware.look(Path("/out")))
codec.write(Path("/out/conditions.json"), conditions.look(Path("/out")))

def run(*command):
    return subprocess.run(command, check=True, stdout=subprocess.PIPE, universal_newlines=True).stdout

def first(*paths):
    return next((Path(each).read_text().split() for each in paths if Path(each).exists()), None)

cgroup = Path("/sys/fs/cgroup")
print(json.dumps({
    "quota": first(cgroup / "cpu.max", cgroup / "cpu/cpu.cfs_quota_us", cgroup / "cpu,cpuacct/cpu.cfs_quota_us"),
    "memory": first(cgroup / "memory.max", cgroup / "memory/memory.limit_in_bytes"),
    "shm": run("df", "-B1", "--output=size", "/dev/shm").split()[1],
    "cpuset": first(cgroup / "cpuset.cpus.effective", cgroup / "cpuset/cpuset.effective_cpus"),
    "disk": run("df", "-B1", "--output=size,fstype", "/out").split()[2:],
    "free": run("df", "-B1", "--output=avail", "/out").split()[1],
    "available": re.search(r"MemAvailable:\\s+(\\d+) kB", Path("/proc/meminfo").read_text()).group(1),
    "nproc": run("nproc"),
    "lscpu": dict(line.split(":", 1) for line in run("lscpu").splitlines() if ":" in line),
}))
"""


@pytest.fixture(scope="module")
def engine() -> DockerEngine:
    return real_engine.connect()


def look(engine: DockerEngine, folder: Path, **limits: object) -> tuple[records.Hardware, dict, dict]:
    """The probes inside a container with these limits, what its own tools say, and what `docker inspect` says."""
    container = engine._client.containers.create(
        real_engine.base(engine),
        ["python3", "-c", PROBE],
        entrypoint=[],
        volumes={str(ROOT / "stages"): {"bind": "/code/stages", "mode": "ro"}, str(folder): {"bind": "/out"}},
        environment={"PYTHONPATH": "/code", "PYTHONDONTWRITEBYTECODE": "1"},
        network_mode="none",
        labels={"faceoff": f"test-{uuid.uuid4()}"},
        **limits,
    )
    try:
        container.start()
        code = container.wait()["StatusCode"]
        assert code == 0, container.logs().decode()
        said = json.loads(container.logs(stderr=False))
        container.reload()
        return codec.read(folder / "hardware.json", records.Hardware), said, container.attrs["HostConfig"]
    finally:
        container.remove(force=True)


def test_limits_that_are_set(engine: DockerEngine, tmp_path: Path) -> None:
    found, said, inspected = look(engine, tmp_path, nano_cpus=10**9, mem_limit="2g", shm_size="256m", cpuset_cpus="0")
    limits = found.limits
    assert limits.cpu_quota == inspected["NanoCpus"] / 1e9 == 1.0
    assert limits.memory_bytes == inspected["Memory"] == 2 * GIB == int(said["memory"][0])
    assert limits.shm_bytes == inspected["ShmSize"] == 256 * MIB == int(said["shm"])
    assert limits.cpuset == inspected["CpusetCpus"] == "0" == said["cpuset"][0]
    assert limits.usable_cpus == 1.0 == float(said["nproc"])
    assert int(said["quota"][0]) == 100_000
    assert limits.absent == {}


def test_a_quota_of_part_of_a_cpu(engine: DockerEngine, tmp_path: Path) -> None:
    found, said, _ = look(engine, tmp_path, nano_cpus=int(0.5e9))
    assert found.limits.cpu_quota == found.limits.usable_cpus == 0.5
    assert int(said["quota"][0]) == 50_000


def test_no_limits(engine: DockerEngine, tmp_path: Path) -> None:
    found, said, inspected = look(engine, tmp_path)
    limits = found.limits
    assert inspected["Memory"] == inspected["NanoCpus"] == 0 and inspected["CpusetCpus"] == ""
    assert set(limits.absent) == {"cpu_quota", "memory_bytes"}
    assert limits.usable_cpus == float(said["nproc"])
    assert limits.shm_bytes == inspected["ShmSize"]
    assert limits.shm_bytes in (64 * MIB, 64 * 1024 * 1000)  # Docker's own, which the article crashed on, and Podman's


def test_the_machine_is_the_hosts_whatever_the_container_may_use(engine: DockerEngine, tmp_path: Path) -> None:
    found, said, _ = look(engine, tmp_path, nano_cpus=10**9, mem_limit="2g", cpuset_cpus="0")
    total = next(line for line in Path("/proc/meminfo").read_text().splitlines() if line.startswith("MemTotal"))
    assert found.memory_bytes == int(total.split()[1]) * 1024
    assert found.cpu.logical_cpus == len(listed(Path("/sys/devices/system/cpu/online").read_text().strip()))
    lscpu = {name.strip(): value.strip() for name, value in said["lscpu"].items()}
    assert found.cpu.model == lscpu["Model name"]
    assert found.cpu.architecture == lscpu["Architecture"]
    assert (found.cpu.sockets, found.cpu.logical_cpus) == (int(lscpu["Socket(s)"]), int(lscpu["CPU(s)"]))
    assert found.cpu.physical_cores == int(lscpu["Socket(s)"]) * int(lscpu["Core(s) per socket"])
    assert set(found.cpu.isa) <= set(lscpu["Flags"].split()) and ("avx2" in found.cpu.isa) == ("avx2" in lscpu["Flags"])
    assert [str(found.disk.total_bytes), found.disk.filesystem] == said["disk"]
    moment = codec.read(tmp_path / "conditions.json", records.Conditions)
    assert moment.disk_free_bytes == pytest.approx(int(said["free"]), abs=4 * GIB)  # others write and run meanwhile
    assert moment.memory_available_bytes == pytest.approx(int(said["available"]) * 1024, abs=4 * GIB)


def test_another_limit_is_another_environment(engine: DockerEngine, tmp_path: Path) -> None:
    def fingerprint(**limits: object) -> str:
        return codec.fingerprint(look(engine, tmp_path, **limits)[0])

    plain = fingerprint(mem_limit="1g")
    assert plain == fingerprint(mem_limit="1g")
    others = (
        {"mem_limit": "2g"},
        {"mem_limit": "1g", "shm_size": "128m"},
        {"mem_limit": "1g", "nano_cpus": 10**9},
        {"mem_limit": "1g", "cpuset_cpus": "0"},
    )
    assert len({plain, *(fingerprint(**each) for each in others)}) == 1 + len(others)
