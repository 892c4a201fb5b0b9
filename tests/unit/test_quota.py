"""More threads and workers than the CPU quota: the cause and what to set, in preflight and beside the verdict."""

import dataclasses
from typing import Any

import pytest

from stages import checks
from stages.harness.comparison import quota
from stages.harness.results.read import CellResult
from stages.records import Cell, ImageTask, Limits, Profile, Task, Variant
from stages.workload import preflight
from tests import environments, faceoffs, results
from tests.unit.test_preflight_inside import RAN


def limits(cpus: float | None, cpuset: str = "0-1") -> Limits:
    return environments.hardware(cpu_quota=cpus, cpuset=cpuset).limits


SHARE = "share a CPU quota of {}, which stops them all when it is used up"
ENV = 'env: {{OMP_NUM_THREADS: "{}"}} for the variant or in image.yaml'
CPUSET = "container.cpuset in place of container.cpus"


@pytest.mark.parametrize(
    ("cpus", "cpuset", "threads", "workers", "found", "advice"),
    [
        (1.0, "0-1", 2, 2, "2 of torch's threads and 2 workers " + SHARE.format("1"), [ENV.format(1), "fewer workers"]),
        (2.5, "0-15", 16, None, "16 of torch's threads " + SHARE.format("2.5"), [ENV.format(2)]),
        (0.5, "0-1", 1, 1, "1 of torch's threads and 1 worker " + SHARE.format("0.5"), ["fewer workers"]),
        (1.0, "0-1", None, 2, "2 workers " + SHARE.format("1"), ["fewer workers"]),  # of a job without torch
    ],
)
def test_more_than_the_quota_is_told_with_what_to_set(
    cpus: float, cpuset: str, threads: int | None, workers: int | None, found: str, advice: list[str]
) -> None:
    check = checks.crowded(limits(cpus, cpuset), threads, workers)
    assert check is not None and (check.status, check.found) == ("warning", found)
    assert check.advice == "set " + ", or ".join([*advice, CPUSET])


@pytest.mark.parametrize(
    ("cpus", "threads", "workers"),
    [(None, 8, 8), (2.0, 2, 2), (3.0, 8, 8), (1.0, 1, None), (1.0, 1, 0), (1.5, 1, 0), (1.0, None, None)],
)
def test_no_quota_or_one_that_holds_nothing_back_is_no_matter(
    cpus: float | None, threads: int | None, workers: int | None
) -> None:
    """On two CPUs, a quota of two or more binds nothing."""
    assert checks.crowded(limits(cpus), threads, workers) is None


# ------------------------------------------------------------------------------------------------ beside the verdict


def with_quota(image: str, cpus: float) -> Profile:
    plain = results.profile(image)
    held = environments.hardware(cpu_quota=cpus, usable_cpus=cpus)
    return dataclasses.replace(plain, facts=dataclasses.replace(plain.facts, hardware=held))


def of_variant(found: list[CellResult], image: str, **changes: Any) -> list[CellResult]:
    def change(train: Any) -> Any:
        variant = dataclasses.replace(train.belongs.variant, **changes)
        return dataclasses.replace(train, belongs=dataclasses.replace(train.belongs, variant=variant))

    return faceoffs.changed(found, image, change)


RUN = faceoffs.face_off(host=[10.0] * 3, mine=[11.0] * 3)
PROFILES = {image: with_quota(image, 1.0) for image in ("host", "mine")}


def test_what_all_settings_have_is_said_once() -> None:
    with_workers = faceoffs.with_facts(faceoffs.with_facts(RUN, "host", workers="2"), "mine", workers="2")
    (warning,) = quota.warnings(with_workers, PROFILES)
    assert warning.startswith("2 of torch's threads and 2 workers share a CPU quota of 1, which stops them all when ")
    assert warning.endswith(f': set {ENV.format(1)}, or fewer workers, or {CPUSET}')  # fmt: skip


def test_the_settings_that_have_it_are_named_where_others_do_not() -> None:
    one_thread = of_variant(RUN, "host", env={"OMP_NUM_THREADS": "1"})
    (warning,) = quota.warnings(one_thread, PROFILES)
    assert warning.startswith("mine/fp32-bs16: 2 of torch's threads share a CPU quota of 1, ")
    told_by_parameter = of_variant(RUN, "mine", parameters={"workers": 4})
    alone, with_four = quota.warnings(told_by_parameter, PROFILES)
    assert alone.startswith("host/fp32-bs16: 2 of torch's threads share")
    assert with_four.startswith("mine/fp32-bs16: 2 of torch's threads and 4 workers share")


def test_without_profiles_or_results_nothing_is_said() -> None:
    assert quota.warnings(RUN, {}) == ()
    assert quota.warnings(faceoffs.face_off(host=["failed"] * 3), PROFILES) == ()


# ------------------------------------------------------------------------------------------------------- in preflight


VARIANTS = {
    "plain": Variant({}, {}),
    "many": Variant({"workers": 4}, {}),
    "one": Variant({}, {"OMP_NUM_THREADS": "1"}),
}


def task_of(name: str) -> Task:
    belongs = results.belongs(Cell("host", "fp32-bs16", 1), variant=VARIANTS[name])
    return Task(Cell("host", name, 1), "train", ("true",), results.JOB, belongs, (), None, True, 0, None, 1)


def test_preflight_says_it_before_the_first_cell() -> None:
    facts = PROFILES["host"].facts
    task = ImageTask(
        "host", results.JOB, tuple(map(task_of, VARIANTS)), {}, "auto", (), None, 0.0, None, {}, True, None
    )
    by_parameters = {each.name: each.found for each in preflight.cpu_quota(task, facts, {})}
    assert by_parameters == {
        "CPU quota, plain": "2 of torch's threads " + SHARE.format("1"),
        "CPU quota, many": "2 of torch's threads and 4 workers " + SHARE.format("1"),
    }
    told = dict.fromkeys(VARIANTS, RAN._replace(facts={"workers": 2}))
    by_facts = {each.name: each.found for each in preflight.cpu_quota(task, facts, told)}
    assert by_facts == {
        "CPU quota, plain, many": "2 of torch's threads and 2 workers " + SHARE.format("1"),
        "CPU quota, one": "1 of torch's threads and 2 workers " + SHARE.format("1"),
    }
