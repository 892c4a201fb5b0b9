"""Checks that the host and images share: which cards, which drivers, how much of /dev/shm."""

import dataclasses

import pytest

from stages import checks, units
from stages.records import Check, Gpu

TORCH_1_2_FOR_10_0 = ("sm_35", "sm_50", "sm_60", "sm_70", "sm_75", "compute_50")
TODAY_FOR_13_0 = ("sm_75", "sm_80", "sm_86", "sm_90", "sm_100", "sm_120")


def make_gpu(capability: str | None, driver: str = "580.65.06") -> Gpu:
    known = {
        "name": "Card",
        "uuid": "GPU-1",
        "driver": driver,
        "driver_cuda": "13.0",
        "compute_capability": capability,
    }
    names = [field.name for field in dataclasses.fields(Gpu) if field.name not in ("absent", *known)]
    nulls = names if capability else [*names, "compute_capability"]
    return Gpu(**known, **dict.fromkeys(names), absent=dict.fromkeys(nulls, "not supported"))


@pytest.mark.parametrize(
    ("capability", "architectures", "status", "words"),
    [
        ("7.5", TORCH_1_2_FOR_10_0, "passed", "runs natively (sm_75)"),
        ("6.1", TORCH_1_2_FOR_10_0, "passed", "runs natively (sm_60)"),  # a binary runs on later minor versions
        ("7.5", ("sm_70",), "passed", "runs natively (sm_70)"),  # T4 in cuda-9.2
        ("8.0", TORCH_1_2_FOR_10_0, "warning", "runs by PTX (compute_50)"),
        ("8.0", ("sm_35", "sm_70", "sm_75"), "failed", "will not run"),
        ("7.0", TODAY_FOR_13_0, "failed", "will not run"),  # a binary runs on no earlier version
        ("8.9", TODAY_FOR_13_0, "passed", "runs natively (sm_86)"),
        ("10.3", TODAY_FOR_13_0, "passed", "runs natively (sm_100)"),
        ("12.0", TODAY_FOR_13_0, "passed", "runs natively (sm_120)"),
        ("9.0", ("sm_90a",), "passed", "runs natively (sm_90a)"),
        ("10.3", ("sm_100a",), "failed", "will not run"),  # for the features of one architecture alone
        ("8.0", (), "not checked", "torch does not say"),
        (None, TODAY_FOR_13_0, "not checked", "not supported"),
    ],
)
def test_whether_torch_runs_on_a_card(
    capability: str | None, architectures: tuple[str, ...], status: str, words: str
) -> None:
    check = checks.capability(make_gpu(capability), architectures)
    assert (check.status, words in check.found) == (status, True), check


@pytest.mark.parametrize(
    ("capability", "stated", "status"),
    [
        ("6.1", ("3.5", "7.0"), "passed"),
        ("7.5", ("3.5", "7.0"), "passed"),
        ("8.0", ("3.5", "7.5"), "failed"),
        ("3.0", ("3.5", "7.5"), "failed"),
        ("10.0", ("5.0", "9.0"), "failed"),  # numbers, not text
    ],
)
def test_whether_an_image_that_is_not_there_yet_runs_on_a_card(
    capability: str, stated: tuple[str, str], status: str
) -> None:
    assert checks.capability_in_range(make_gpu(capability), *stated).status == status


@pytest.mark.parametrize(
    ("driver", "cuda", "status"),
    [
        ("396.26", "9.2.148", "passed"),
        ("396.24", "9.2", "failed"),
        ("410.48", "10.0.130", "passed"),
        ("410.104", "10.0", "passed"),  # 104 comes after 48
        ("384.81", "10.0", "failed"),
        ("535.183.01", "12.6", "passed"),  # any driver of the major release
        ("525.60.13", "12.9", "passed"),
        ("470.82.01", "12.1", "failed"),
        ("570.86.10", "13.0", "failed"),
        ("580.65.06", "13.0", "passed"),
        ("580.65.06", "99.0", "not checked"),
    ],
)
def test_whether_a_driver_is_new_enough(driver: str, cuda: str, status: str) -> None:
    assert checks.driver(make_gpu("7.5", driver), cuda).status == status


MIB = 2**20


def test_too_small_a_shared_memory_says_what_to_set() -> None:
    check = checks.shared_memory("large", 183 * MIB, 64 * MIB, None, True)
    assert (check.name, check.status) == ("shared memory, large", "failed")
    assert (check.needed, check.found) == ("183 MiB in /dev/shm", "64 MiB")
    assert check.advice is not None and check.advice.startswith("container.shm_size: 192m in params.yaml")
    on_host = checks.shared_memory("large", 183 * MIB, 64 * MIB, None, False)
    assert on_host.advice is not None and on_host.advice.startswith("mount -o remount,size=192m /dev/shm as root")
    assert checks.shared_memory("large", 183 * MIB, 192 * MIB, None, True).status == "passed"
    assert checks.shared_memory("large", 183 * MIB, None, None, True).status == "not checked"


@pytest.mark.parametrize(("free_mib", "status"), [(4, "failed"), (63, "passed"), (None, "passed")])
def test_what_others_put_there_is_not_free(free_mib: int | None, status: str) -> None:
    free = None if free_mib is None else free_mib * MIB
    check = checks.shared_memory("small", 48 * MIB, 64 * MIB, free, False)
    assert check.status == status
    if status == "failed":
        assert check.found == "64 MiB, 4 MiB of it free"
        assert check.advice is not None and check.advice.startswith("delete what lies in it")


@pytest.mark.parametrize(
    ("whole_hours", "part_hours", "status"), [(0.5, 0.1, "passed"), (0.9, 0.1, "warning"), (9, 1.1, "failed")]
)
def test_a_session_must_hold_the_run_or_a_part_of_it(whole_hours: float, part_hours: float, status: str) -> None:
    check = checks.session(1.0, whole_hours * 3600, part_hours * 3600, "span", "so much")
    assert (check.status, check.needed, check.found) == (status, "so much", "1 h: session.max_hours")
    if status == "failed":
        assert check.advice is not None and check.advice.startswith("not one span would end in time")


@pytest.mark.parametrize(
    ("size_bytes", "text"),
    [(0, "0 B"), (4096, "4 KiB"), (50_541_363, "48.2 MiB"), (1023.99 * 2**20, "1 GiB"), (1.5 * 2**30, "1.5 GiB")],
)
def test_an_amount_has_its_unit(size_bytes: float, text: str) -> None:
    assert units.amount(size_bytes) == text


@pytest.mark.parametrize(
    ("statuses", "words"),
    [
        (["warning", "not checked", "not checked"], "nothing failed: 1 warning, 2 not checked"),
        (["warning", "passed", "warning"], "nothing failed: 1 passed, 2 warnings"),
        (["passed", "failed"], "1 failed, 1 passed"),
    ],
)
def test_the_last_line_counts_what_was_found(statuses, words, capsys):
    found = [Check("a", status, "b", "c", None if status == "passed" else "d") for status in statuses]
    assert checks.report(found, "preflight") == statuses.count("failed")
    assert capsys.readouterr().out.splitlines()[-1] == f"preflight: {words}"


@pytest.mark.parametrize(
    ("env", "passive"),
    [
        ({}, False),
        ({"OMP_WAIT_POLICY": " Passive "}, True),
        ({"OMP_WAIT_POLICY": "passive", "GOMP_SPINCOUNT": "1000"}, True),
        ({"OMP_WAIT_POLICY": "passive", "GOMP_SPINCOUNT": "infinity"}, False),
        ({"OMP_WAIT_POLICY": "active", "GOMP_SPINCOUNT": "1000"}, True),
        ({"OMP_WAIT_POLICY": "active", "GOMP_SPINCOUNT": "infinity"}, False),
        ({"KMP_BLOCKTIME": "0"}, False),
    ],
)
def test_threads_wait_passively_by_what_libgomp_reads_alone(env, passive):
    assert checks.waits_passively(env) == passive
