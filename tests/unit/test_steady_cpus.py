"""What of the processors makes timings unsteady: governors, fast and slow CPUs, heat; on trees like the kernel's."""

import dataclasses
from collections.abc import Callable
from pathlib import Path

import pytest

from stages import checks, records
from stages.harness.comparison.face_off import machine_warnings
from stages.records import CoreKind, Cpu
from stages.workload.probes import conditions, cpu
from stages.workload.supervisor import results as of_stage
from tests import environments, results
from tests.supervised import Checkout

Write = Callable[[dict[int, dict[str, object]]], Path]
FOLDER = "sys/devices/system/cpu"


@pytest.fixture
def machine(tmp_path: Path) -> Write:
    """Writes what is in the folders of CPUs, by their numbers, and gives the top of the tree."""

    def write(cpus: dict[int, dict[str, object]]) -> Path:
        for number, contents in cpus.items():
            for name, text in contents.items():
                path = tmp_path / FOLDER / f"cpu{number}" / name
                path.parent.mkdir(parents=True, exist_ok=True)
                path.write_text(f"{text}\n")
        (tmp_path / FOLDER / "cpufreq").mkdir(parents=True, exist_ok=True)  # no CPU, though it begins like one
        return tmp_path

    return write


def look(root: Path) -> Cpu:
    return cpu.look(root, "x86_64")


def clocks(governor: str, driver: str, preference: str | None = None, kilohertz: int = 3_600_000) -> dict[str, object]:
    found: dict[str, object] = {"cpufreq/scaling_governor": governor, "cpufreq/scaling_driver": driver}
    found["cpufreq/cpuinfo_max_freq"] = kilohertz
    return found if preference is None else {**found, "cpufreq/energy_performance_preference": preference}


# -------------------------------------------------------------------------------------------------------- governors


@pytest.mark.parametrize(
    ("governor", "driver", "warning"),
    [
        ("performance", "acpi-cpufreq", None),
        ("performance", "intel_pstate", None),
        # With these drivers the processor chooses its clock itself: that is how distributions come.
        ("powersave", "intel_pstate", None),
        ("powersave", "amd-pstate-epp", None),
        # With those it is the lowest clock.
        ("powersave", "acpi-cpufreq", "it holds the clocks at their lowest"),
        ("powersave", "intel_cpufreq", "it holds the clocks at their lowest"),
        ("powersave", "amd-pstate", "it holds the clocks at their lowest"),
        ("schedutil", "cppc_cpufreq", "clocks follow the load"),
        ("ondemand", "acpi-cpufreq", "clocks follow the load"),
        ("conservative", "acpi-cpufreq", "clocks follow the load, slowly"),
        ("userspace", "acpi-cpufreq", "it may hold the clocks anywhere"),
    ],
)
def test_a_governor_means_what_its_driver_makes_of_it(
    machine: Write, governor: str, driver: str, warning: str | None
) -> None:
    found = look(machine(dict.fromkeys((0, 1), clocks(governor, driver))))
    assert found.governor == f"{governor} ({driver})"
    told = cpu.warnings(found, "0-1")
    assert [each.found for each in told] == (
        [] if warning is None else [f"the CPU governor is {governor} ({driver}): {warning} (at most 3.60 GHz)"]
    )
    assert all(each.advice == "cpupower frequency-set -g performance, as root" for each in told)


def test_governors_that_are_not_the_same_everywhere_are_all_told(machine: Write) -> None:
    slow = clocks("powersave", "acpi-cpufreq")
    found = look(machine({0: clocks("performance", "acpi-cpufreq"), 1: slow, 2: slow}))
    assert found.governor == "performance (acpi-cpufreq) and powersave (acpi-cpufreq)"
    (warning,) = cpu.warnings(found, "0-2")
    assert warning.found.startswith("the CPU governor is powersave (acpi-cpufreq): ")


SAVING = "the processor is to save power rather than raise its clocks (balance_power)"


@pytest.mark.parametrize(
    ("preference", "switch", "value", "told", "doubt"),
    [
        ("balance_performance", None, 0, "balance_performance", ()),
        ("balance_power", None, 0, "balance_power", (SAVING,)),
        ("balance_power", "intel_pstate/no_turbo", 1, "balance_power, no turbo", (SAVING,)),
        ("performance", "intel_pstate/no_turbo", 0, "performance, turbo", ()),
        (None, "cpufreq/boost", 0, "no turbo", ()),
        (None, "cpufreq/boost", 1, "turbo", ()),
        (None, None, 0, None, ()),
    ],
)
def test_what_a_charger_changes_is_no_fact_of_the_machine_but_a_doubt_of_the_moment(
    machine: Write, preference: str | None, switch: str | None, value: int, told: str | None, doubt: tuple[str, ...]
) -> None:
    root = machine({0: clocks("powersave", "intel_pstate")})
    before = look(root)
    machine({0: clocks("powersave", "intel_pstate", preference)})
    if switch is not None:
        (root / FOLDER / switch).parent.mkdir(exist_ok=True)
        (root / FOLDER / switch).write_text(f"{value}\n")
    assert look(root) == before and before.governor == "powersave (intel_pstate)"
    moment = conditions.look(root, root, sample_seconds=0)
    assert moment.cpu_clocks == told and (told is None) == ("cpu_clocks" in moment.absent)
    assert conditions.clocks(moment, moment) == doubt == tuple(each.found for each in cpu.saving(told))


def test_clocks_that_are_told_otherwise_while_a_cell_runs_are_a_warning_beside_it(tmp_path: Path) -> None:
    plugged, unplugged = (dataclasses.replace(results.CONDITIONS, cpu_clocks=each) for each in ("turbo", "no turbo"))
    unread = dataclasses.replace(plugged, cpu_clocks=None, absent={"cpu_clocks": "it did not answer"})
    assert conditions.clocks(plugged, unread) == conditions.clocks(plugged, plugged) == ()
    task, attempts = Checkout(tmp_path).task("train", ()), (records.Attempt(0, 1.0, results.LOAD),)
    (said,) = of_stage._warnings(task, attempts, (plugged, unplugged))
    assert said == "in training: what the processor is told of its clocks went from turbo to no turbo"


# -------------------------------------------------------------------------------------------------- fast and slow CPUs


def hybrid(capacity: bool) -> dict[int, dict[str, object]]:
    """Eight cores with two threads each, two of which are a bit faster, and eight slow ones with one thread."""
    cpus = {}
    for number in range(24):
        kilohertz = 5_300_000 if number < 4 else 5_200_000 if number < 16 else 3_900_000
        cpus[number] = clocks("performance", "intel_pstate", kilohertz=kilohertz)
        cpus[number] |= {"cpu_capacity": 1024} if capacity else {}  # with hyper-threads kernels tell one for all
    return cpus


@pytest.mark.parametrize("capacity", [False, True])
def test_fast_and_slow_cpus_are_a_warning_with_their_figures_and_what_to_set(machine: Write, capacity: bool) -> None:
    found = look(machine(hybrid(capacity)))
    assert [(each.cpus, each.max_hertz) for each in found.core_kinds] == [
        ("0-3", 5_300_000_000),
        ("4-15", 5_200_000_000),
        ("16-23", 3_900_000_000),
    ]
    (warning,) = cpu.warnings(found, "0-23")
    assert warning.found == (
        "16 fast CPUs (5.30 GHz) and 8 slow ones (3.90 GHz): where the job's threads run decides its time"
    )
    assert warning.advice == 'keep it on the fast ones: container.cpuset: "0-15" in params.yaml'


def test_a_job_that_is_kept_on_one_kind_is_warned_of_nothing(machine: Write) -> None:
    found = look(machine(hybrid(False)))
    for cpuset in ("0-15", "16-23", "2-7"):
        assert cpu.warnings(found, cpuset) == ()
    (warning,) = cpu.warnings(found, "14-17")
    assert warning.found.startswith("2 fast CPUs (5.20 GHz) and 2 slow ones (3.90 GHz)")
    assert 'container.cpuset: "14-15"' in warning.advice


def test_on_arm_the_capacity_tells_it(machine: Write) -> None:
    capacities = {0: 446, 1: 446, 2: 1024, 3: 1024}
    found = look(machine({number: {"cpu_capacity": each} for number, each in capacities.items()}))
    no_clock = {"max_hertz": "no cpufreq; virtual machines often hide it"}
    assert found.core_kinds == (CoreKind("2-3", 1024, None, no_clock), CoreKind("0-1", 446, None, no_clock))
    (warning,) = cpu.warnings(found, "0-3")
    assert warning.found.startswith("2 fast CPUs (capacity 1024) and 2 slow ones (capacity 446): ")


def test_cpus_that_differ_by_a_few_per_cent_are_alike(machine: Write) -> None:
    """Some processors have one or two that reach a bit more than the others."""
    cpus = {n: clocks("performance", "amd-pstate-epp", kilohertz=5_000_000 - 40_000 * n) for n in range(8)}
    found = look(machine(cpus))
    assert len(found.core_kinds) == 8 and cpu.warnings(found, "0-7") == ()


# ------------------------------------------------------------------------------------------------------------- heat


def heated(core: int, package: int) -> dict[int, dict[str, object]]:
    """Two cores with two threads each: each thread counts what its core and its package were told."""
    throttled = {"thermal_throttle/core_throttle_count": core, "thermal_throttle/package_throttle_count": package}
    return {
        number: {
            **throttled,
            "topology/physical_package_id": 0,
            "topology/thread_siblings_list": f"{number // 2 * 2}-{number // 2 * 2 + 1}",
        }
        for number in range(4)
    }


def test_heat_is_counted_once_for_each_core_and_package(machine: Write) -> None:
    assert cpu.throttle_count(machine(heated(core=3, package=10))) == 2 * 3 + 10


def test_heat_that_held_the_cpu_back_in_between_is_a_warning(machine: Write, tmp_path: Path) -> None:
    before = conditions.look(tmp_path, machine(heated(core=3, package=10)), sample_seconds=0)
    after = conditions.look(tmp_path, machine(heated(core=4, package=25)), sample_seconds=0)
    assert conditions.heat(before, before) == ()
    assert conditions.heat(before, after) == ("heat held the CPU back 17 times",)
    assert conditions.heat(before, after, pause=True) == (
        "heat held the CPU back 17 times, the pause after it included",
    )
    assert conditions.heat(after, before) == ()  # the machine was started anew, and counts from 0


def test_a_virtual_machine_counts_none_and_says_why(machine: Write, tmp_path: Path) -> None:
    found = conditions.look(tmp_path, machine({0: {"topology/physical_package_id": 0}}), sample_seconds=0)
    assert found.cpu_throttle_count is None and "virtual machines" in found.absent["cpu_throttle_count"]
    assert conditions.heat(found, found) == ()


# --------------------------------------------------------------------------------------------------- where it is told


def test_it_is_told_once_beside_all_verdicts_and_in_preflight(machine: Write) -> None:
    found = look(machine(hybrid(False)))
    hardware = environments.hardware(core_kinds=found.core_kinds, cpuset="0-23", governor="schedutil (cppc_cpufreq)")
    warnings = machine_warnings(environments.machine(hardware), {}, cpu.warnings)
    assert warnings == (
        "the CPU governor is schedutil (cppc_cpufreq): clocks follow the load; "
        "cpupower frequency-set -g performance, as root",
        "16 fast CPUs (5.30 GHz) and 8 slow ones (3.90 GHz): where the job's threads run decides its time; "
        'keep it on the fast ones: container.cpuset: "0-15" in params.yaml',
    )
    checks_made = checks.steady(cpu.warnings(hardware.cpu, "0-23"))
    assert [(each.status, f"{each.found}; {each.advice}") for each in checks_made] == [
        ("warning", each) for each in warnings
    ]


def test_what_the_jobs_may_use_decides_not_what_the_machine_has() -> None:
    """As the images' profiles saw it: there container.cpuset is in force."""
    kinds = tuple(
        CoreKind(cpus, capacity, None, {"max_hertz": "none"}) for cpus, capacity in (("0-1", 1024), ("2-3", 446))
    )
    whole, kept = (environments.hardware(core_kinds=kinds, cpuset=cpuset) for cpuset in ("0-3", "0-1"))
    profile = dataclasses.replace(results.profile("host"), facts=environments.facts("host", kept))
    assert len(machine_warnings(environments.machine(whole), {}, cpu.warnings)) == 1
    assert machine_warnings(environments.machine(whole), {"host": profile}, cpu.warnings) == ()
