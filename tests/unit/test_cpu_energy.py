"""What the host reads of the processor packages beside a cell, on a stand-in for /sys/class/powercap."""

import time
from pathlib import Path
from types import SimpleNamespace

import pytest

from stages import codec
from stages.harness.cells import cpu_energy
from stages.harness.cells.attempt import CellStage
from stages.harness.cells.cpu_energy import Packages
from stages.harness.environments.launch import Outcome, Work
from stages.harness.params import schema
from stages.harness.process.watchdog import Watch
from stages.records import Attempt, Result, Task
from tests import attempts, results


def domain(folder: Path, name: str, its: str, microjoules: int) -> Path:
    found = folder / name
    found.mkdir(parents=True, exist_ok=True)
    (found / "name").write_text(its + "\n")
    (found / "energy_uj").write_text(f"{microjoules}\n")
    (found / "max_energy_range_uj").write_text("262143328850\n")
    return found


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> SimpleNamespace:
    """Stands still until a test moves it."""
    found = SimpleNamespace(now=1000.0, set_by=0.0)
    stand_in = SimpleNamespace(time=lambda: found.now + found.set_by, monotonic=lambda: found.now)
    monkeypatch.setattr(cpu_energy, "time", stand_in)
    return found


def ran(began_at: float | None, seconds: float) -> tuple[Attempt, ...]:
    return (Attempt(0, seconds, results.LOAD, began_at),)


def test_packages_add_up_over_the_wrapping_of_their_counters_and_parts_of_them_do_not(
    tmp_path: Path, clock: SimpleNamespace
) -> None:
    first = domain(tmp_path, "intel-rapl:0", "package-0", 262_143_000_000)
    second = domain(tmp_path, "intel-rapl:1", "package-1", 5_000_000)
    others = {"intel-rapl:0:0": "core", "intel-rapl-mmio:0": "package-0", "intel-rapl:2": "psys"}
    parts = [domain(tmp_path, *each, 0) for each in others.items()]
    packages = Packages(tmp_path)
    for each, microjoules in ((first, 1_671_150), (second, 7_000_000), *((part, 9 * 10**9) for part in parts)):
        (each / "energy_uj").write_text(f"{microjoules}\n")
    clock.now = 1002.0  # 4 J in 2 s
    packages.read()
    clock.now = 1004.0  # 1 J
    (first / "energy_uj").write_text("2671150\n")
    packages.read()
    assert packages.taken(ran(1001.0, 2.0)) == (pytest.approx(2.0 + 0.5), "")
    assert packages.taken(ran(999.0, 2.0)) == packages.taken(ran(1003.0, 2.0)) == (None, cpu_energy.NOT_WITHIN)
    assert packages.taken(ran(None, 2.0)) == (None, cpu_energy.NOT_WITHIN)
    assert packages.taken(ran(1001.0, 1.0) * 2) == (None, cpu_energy.SEVERAL)


def test_what_cannot_be_read_is_a_reason(tmp_path: Path, clock: SimpleNamespace) -> None:
    assert Packages(tmp_path / "none").reason == cpu_energy.NO_COUNTER
    energy = domain(tmp_path, "intel-rapl:0", "package-0", 5) / "energy_uj"
    packages = Packages(tmp_path)
    energy.unlink()
    energy.mkdir()
    clock.now += 1
    packages.read()
    assert packages.taken(ran(1000.1, 0.1)) == (None, f"{energy}: Is a directory")
    assert Packages(tmp_path).reason == f"{energy}: Is a directory"


def test_a_clock_that_is_set_meanwhile_is_a_reason(tmp_path: Path, clock: SimpleNamespace) -> None:
    domain(tmp_path, "intel-rapl:0", "package-0", 5)
    packages = Packages(tmp_path)
    clock.now, clock.set_by = 1001.0, 60.0
    packages.read()
    assert packages.taken(ran(1000.1, 0.1)) == (None, cpu_energy.CLOCK_WAS_SET)


def test_a_long_command_keeps_few_readings_and_all_its_energy(
    tmp_path: Path, clock: SimpleNamespace, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(cpu_energy, "MOST", 8)
    energy = domain(tmp_path, "intel-rapl:0", "package-0", 0) / "energy_uj"
    packages = Packages(tmp_path)
    for second in range(1, 100):
        clock.now = 1000.0 + second
        energy.write_text(f"{second * 50_000_000}\n")
        packages.read()
    assert packages.taken(ran(1010.0, 80.0)) == (pytest.approx(80 * 50.0), "") and len(packages._ats) <= 8


class Walled:
    """What stands for a container: it runs nothing, leaves a result, and knows of no counter."""

    isolated = True

    def __init__(self, cell: CellStage, package: Path) -> None:
        self.of_cell, self.package = cell, package

    def run(self, work: Work, watch: Watch | None = None) -> Outcome:
        began_at = time.time()
        time.sleep(0.05)
        belongs = codec.read(self.of_cell.cell.task_path("train"), Task).belongs
        its = results.trained(self.of_cell.cell, attempts=ran(began_at, 0.05), belongs=belongs)
        codec.write(self.of_cell.cell.result_path("train"), its)
        (self.package / "energy_uj").write_text("9000000\n")
        return Outcome(0, False)


def test_a_cell_behind_walls_has_what_the_host_reads_beside_it(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(attempts.make(tmp_path / "project"))
    package = domain(tmp_path / "powercap", "intel-rapl:0", "package-0", 5_000_000)
    monkeypatch.setattr(cpu_energy, "FOLDER", tmp_path / "powercap")
    params = schema.load()
    stage = CellStage(params.cells()[0], "train", params)
    walled = Walled(stage, package)
    path = stage.cell.result_path("train")
    assert stage.attempt(walled) == 0  # type: ignore[arg-type]
    found = codec.read(path, Result)
    assert found.cpu_joules is not None and 0 < found.cpu_joules < 4.0 and "cpu_joules" not in found.absent
    monkeypatch.setattr(cpu_energy, "FOLDER", tmp_path / "none")
    assert stage.attempt(walled) == 0  # type: ignore[arg-type]
    found = codec.read(path, Result)
    assert found.cpu_joules is None and found.absent["cpu_joules"] == cpu_energy.NO_COUNTER
