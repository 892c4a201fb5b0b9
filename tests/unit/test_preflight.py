"""Preflight on the host, from facts: what is refused, what is warned of, and what it says to do."""

import dataclasses

import pytest

from stages.contract import Estimate
from stages.harness.environments.definition import Build, Definition, load
from stages.harness.params import jobs, schema
from stages.harness.preflight import findings as found_by
from stages.harness.preflight import host_checks
from stages.records import Cell, Check, Image
from tests.environments import GIB, contents, gpu, hardware, machine
from tests.project import ROOT

PARAMS = schema.parse(
    """
    image: host
    images: [host, cuda-10.0]
    job: says_more
    variants: {few: {epochs: 1, learning_rate: 0.1}, many: {epochs: 9, learning_rate: 0.1}}
    repeats: [1, 2, 3]
    seed: 1
    env: {}
    container: {gpus: auto, shm_size: 1g, memory: null, cpus: null, cpuset: null, base_images: {}}
    limits: {stall_minutes: null, cell_minutes: null}
    on_failure: stop
    profile: {measure_seconds: 0}
    provider: {name: null, source: null, cpus: null, memory: null, gpu: null, gpus: null, gpu_memory: null, disk: null}
    session: {max_hours: null}
    compare: {baseline: host/few, margin: 0.02, looks: [], remeasure: 1}
    """,
    "params.yaml",
    ROOT,
)
ALL = frozenset(PARAMS.cells())
DISK = found_by.Disk("/checkout", 50 * GIB, 1, None)
DOCKER_DISK = found_by.Disk("/var/lib/docker", 50 * GIB, 2, None)
LEGACY = Definition(
    build=Build("python:3.7", "docker/legacy.lock", "docker/cuda-10.0/torch.txt"),
    expects={"python": "3.7", "cuda": "10.0"},
    compute_capabilities=("3.5", "7.5"),
    size="2.3 GB",
)
T4 = gpu("Tesla T4", compute_capability="7.5")
A100 = gpu("A100", compute_capability="8.0")
JOB = jobs.Definition("train", download="download", resumes=True)
NEEDS = Estimate(data_bytes=10**7, output_bytes=10**8, state_bytes=10**6, shm_bytes=10**7)
SILENT = found_by.JobState(JOB, {}, "jobs/mine/job.yaml has no `estimate`", False, {})
NOTHING_MEASURED = found_by.Measured(frozenset(), {}, {})


def job(definition=JOB, has_data=False, elsewhere=None, estimate=NEEDS, **changes):
    """A job that says the same of each setting."""
    needs = dataclasses.replace(estimate, **changes)
    estimates = {cell.setting: needs for cell in PARAMS.cells()}
    return found_by.JobState(definition, estimates, None, has_data, elsewhere or {})


def wanted(**changes):
    """The params above; sections are changed key by key."""
    new = {
        key: dataclasses.replace(getattr(PARAMS, key), **value) if isinstance(value, dict) else value
        for key, value in changes.items()
    }
    return dataclasses.replace(PARAMS, **new)


def image(name="cuda-10.0", definition=LEGACY, made=None, here=False):
    return found_by.ImageState(name, definition, made, here)


def made(size_bytes=2_300_000_000, **held):
    null = {"base_digest": "imported"}
    told = "faceoff/x", "sha256:1", size_bytes, "b", "sha256:0", None, "28", "runc"
    return Image("cuda-10.0", "built", "python", {}, *told, contents(**held), null)


IDLE = found_by.Moment((), GIB, {})
HOST = image("host", Definition(python=".venv/bin/python"), None, True)


def situation(*images, on=None, **changes):
    plain = found_by.Situation(
        machine=machine(on, tuple(each.uuid for each in on.gpus) if on else ()),
        has_driver=on is not None and bool(on.gpus),
        images=images or (HOST,),
        engine=None,
        engine_disk=DOCKER_DISK,
        checkout_disk=DISK,
        moment=IDLE,
        job=job(),
        measured=NOTHING_MEASURED,
    )
    return dataclasses.replace(plain, **changes)


def look(found, **changes):
    """name: check."""
    return {check.name: check for check in host_checks.look_over(wanted(**changes), found)}


def statuses(found, **changes):
    return {name: check.status for name, check in look(found, **changes).items() if check.status != "passed"}


def test_the_default_passes_on_a_small_machine_without_docker_or_gpu():
    assert statuses(situation()) == {}
    assert "Docker engine" not in look(situation())


def test_a_dead_engine_stops_images_that_need_one_and_no_other():
    found = situation(HOST, image(), engine="no Docker engine answers: start it")
    assert statuses(found) == {"Docker engine": "failed"}
    check = look(found)["Docker engine"]
    assert (check.needed, check.advice) == ("one, for cuda-10.0", "no Docker engine answers: start it")


@pytest.mark.parametrize(
    ("card", "status", "words"),
    [
        ("3.0", "failed", "will not run"),
        ("3.5", None, "runs natively"),
        ("7.5", None, "runs natively"),
        ("8.0", "failed", "will not run"),
        (None, "not checked", "not stated"),
    ],
)
def test_a_card_against_what_image_yaml_states_before_there_is_an_image(card, status, words):
    found = situation(image(), on=hardware(gpu("Card", compute_capability=card)))
    name = "cuda-10.0: compute capability of Card"
    assert statuses(found).get(name) == status
    assert words in look(found)[name].found


@pytest.mark.parametrize(
    ("architectures", "status", "words"),
    [
        (("sm_70", "sm_75"), None, "runs natively"),
        (("sm_70",), None, "runs natively (sm_70)"),  # a binary runs on later minor versions
        (("sm_60", "compute_60"), "warning", "runs by PTX"),
        (("sm_60",), "failed", "will not run"),
        (("sm_80",), "failed", "will not run"),
    ],
)
def test_an_image_that_was_made_is_asked_for_what_its_torch_was_compiled_for(architectures, status, words):
    found = situation(image(made=made(cuda_architectures=architectures), here=True), on=hardware(T4))
    name = "cuda-10.0: compute capability of Tesla T4"
    assert statuses(found).get(name) == status
    assert words in look(found)[name].found


def test_a_card_that_will_not_run_beside_one_that_does_is_a_warning():
    found = situation(image(), on=hardware(T4, A100))
    unused = {"GPUs left unused": "warning"}
    assert statuses(found) == {"cuda-10.0: compute capability of A100": "warning", **unused}
    assert "container.gpus" in look(found)["cuda-10.0: compute capability of A100"].advice


def test_the_first_card_is_the_one_that_jobs_take():
    found = situation(image(), on=hardware(A100, T4))
    assert statuses(found) == {"cuda-10.0: compute capability of A100": "failed", "GPUs left unused": "warning"}


def test_only_cards_that_jobs_get_are_looked_at():
    found = situation(image(), on=hardware(A100, T4), machine=machine(hardware(A100, T4), (T4.uuid,)))
    assert statuses(found) == {}


def test_no_card_is_looked_at_when_none_is_wanted():
    found = situation(image(), on=hardware(A100))
    assert statuses(found, container={"gpus": "none"}) == {}


@pytest.mark.parametrize(("version", "status"), [("396.26", "failed"), ("410.48", None), ("580.65.06", None)])
def test_the_driver_must_be_as_new_as_the_images_cuda_asks(version, status):
    card = gpu("Tesla T4", compute_capability="7.5", driver=version)
    found = situation(image(), on=hardware(card))
    assert statuses(found).get("cuda-10.0: driver of Tesla T4 for CUDA 10.0") == status


def test_a_driver_that_is_loaded_and_does_not_answer_is_a_warning():
    found = situation(has_driver=True)
    assert statuses(found, container={"gpus": "auto"}) == {"GPUs": "warning"}
    assert statuses(found, container={"gpus": "all"}) == {"GPUs": "warning"}
    assert statuses(found, container={"gpus": "none"}) == {}


def test_shared_memory_of_a_container_is_what_params_give_it_and_the_hosts_is_its_own():
    tight = situation(HOST, image(), on=hardware(shm_bytes=2**20))
    assert statuses(tight) == {f"host: shared memory, {variant}": "failed" for variant in ("few", "many")}
    assert "remount" in look(tight)["host: shared memory, few"].advice
    roomy = situation(HOST, image())
    found = statuses(roomy, container={"shm_size": "1m"})
    assert found == {f"cuda-10.0: shared memory, {variant}": "failed" for variant in ("few", "many")}
    check = look(roomy, container={"shm_size": "1m"})["cuda-10.0: shared memory, few"]
    assert check.needed == "9.5 MiB in /dev/shm"
    assert check.advice.startswith("container.shm_size: 64m in params.yaml")


def test_shared_memory_is_looked_at_where_the_job_says_what_it_needs():
    silent = job(shm_bytes=None)
    assert "host: shared memory, few" not in look(situation(job=silent))
    check = look(situation(job=silent))["host: shared memory"]
    assert (check.status, check.found) == ("not checked", "the job's estimate of few, many does not say")
    check = look(situation(job=SILENT))["shared memory"]
    assert (check.status, check.found) == ("not checked", "jobs/mine/job.yaml has no `estimate`")


def test_limits_above_what_the_machine_has():
    found = statuses(situation(image()), container={"cpus": 3.0, "memory": "9g"})
    assert found == {"container's CPUs": "failed", "container's memory": "warning"}
    assert statuses(situation(image()), container={"cpus": 2.0, "memory": "8g"}) == {}


def test_limits_that_the_engine_can_not_hold_a_container_to_are_told_by_their_keys():
    unable = situation(image(), unenforced=("memory", "cpus", "cpuset", "processes"))
    found = look(unable, container={"cpus": 2.0, "memory": "8g"})
    said = {
        name: (each.status, each.needed)
        for name, each in found.items()
        if each.found == "an engine that can't limit it"
    }
    assert said == {
        "container's cpus": ("warning", "2.0: container.cpus"),
        "container's memory": ("warning", "8g: container.memory"),
    }
    assert "set container.cpus to null" in found["container's cpus"].advice
    assert "an engine that can't limit it" not in {each.found for each in look(unable).values()}


def test_what_no_interpreter_is_held_to_is_told_once():
    two = situation(HOST, image("mine", Definition(python="python3"), None, True), image(here=True))
    name = "limits of host, mine"
    assert look(two)[name].status == "passed" and "none of container.shm_size, a closed" in look(two)[name].found
    both = {"cpus": 2.0, "memory": "8g"}
    check = look(two, container=both)[name]
    assert (check.status, check.needed) == ("warning", "container.memory 8g and container.cpus 2.0")
    assert "container.cpuset" in check.advice
    assert statuses(situation(), container={"cpus": 2.0}) == {"limits of host": "warning"}
    assert statuses(two, container={"cpuset": "0-1"}) == {}
    assert not [each for each in look(situation(image(here=True)), container=both) if each.startswith("limits of ")]


@pytest.mark.parametrize(
    ("cpuset", "status", "advice"),
    [("0-1", "passed", ""), ("1,0", "passed", ""), ("0-63", "failed", 'or to "0-1"'), ("4", "failed", "some of these")],
)
def test_cpus_that_an_interpreter_may_not_use_are_refused_before_it_runs(cpuset, status, advice):
    check = look(situation(), container={"cpuset": cpuset})["CPUs of host"]
    assert (check.status, check.needed) == (status, f"{cpuset}: container.cpuset") and advice in (check.advice or "")
    assert "CPUs of host" not in look(situation())  # none are chosen


def test_room_for_what_the_job_writes():
    full = found_by.Disk("/checkout", 10**8, 1, None)
    assert statuses(situation(checkout_disk=full)) == {"disk of the checkout": "failed"}
    check = look(situation(checkout_disk=full))["disk of the checkout"]
    more = "95.4 MiB for one more while a cell is measured once more"
    needed = f"9.5 MiB for the job's data, 1.1 GiB for outputs of 12 cells, {more}, 976.6 KiB for a checkpoint"
    never = look(situation(checkout_disk=full), compare={"remeasure": 0})["disk of the checkout"]
    assert never.needed == needed.replace(f"{more}, ", "")
    assert (check.needed, check.found) == (needed, "95.4 MiB free at /checkout")
    assert check.advice.startswith("make room for 1.6 GiB more")
    assert statuses(situation(checkout_disk=dataclasses.replace(full, free_bytes=2 * 10**9))) == {}
    done = found_by.Measured(ALL, {}, {})
    nothing_left = found_by.JobState(JOB, {}, None, True, {})
    assert statuses(situation(checkout_disk=full, job=nothing_left, measured=done)) == {}
    assert "disk of the checkout" not in look(situation(measured=done)), "nothing will be written"


def test_data_that_is_there_and_cells_that_are_measured_take_no_more_room():
    needed = look(situation(job=job(has_data=True)))["disk of the checkout"].needed
    assert needed.startswith("0 B for the job's data, ")
    one = found_by.Measured(frozenset([Cell("host", "few", 1)]), {"host/few": 1.0}, {})
    assert ", 1 GiB for outputs of 11 cells, " in look(situation(measured=one))["disk of the checkout"].needed


def test_of_a_job_that_downloads_nothing_and_does_not_resume_the_outputs_alone_are_counted():
    plain = job(jobs.Definition("train"))
    check = look(situation(job=plain), compare={"remeasure": 0})["disk of the checkout"]
    assert check.needed == "1.1 GiB for outputs of 12 cells"


def test_a_job_that_does_not_say_what_it_writes_is_not_checked_but_a_full_disk_is_refused():
    check = look(situation(job=SILENT))["disk of the checkout"]
    assert check.status == "not checked" and check.needed.endswith(
        "without the job's data and outputs of 12 cells and a checkpoint, of unknown size "
        "(jobs/mine/job.yaml has no `estimate`)"
    )
    check = look(situation(job=job(output_bytes=None)))["disk of the checkout"]
    assert check.status == "not checked" and "outputs of 12 cells, of unknown size (its estimate" in check.needed
    full = found_by.Disk("/checkout", 10**8, 1, None)
    assert statuses(situation(job=SILENT, checkout_disk=full))["disk of the checkout"] == "failed"


@pytest.mark.parametrize(("free_bytes", "status"), [(2 * 10**9, "failed"), (3 * 10**9, None), (None, "not checked")])
def test_room_for_images_that_are_not_here(free_bytes, status):
    disk = found_by.Disk("/var/lib/docker", free_bytes, 2, None if free_bytes else "another machine's")
    assert statuses(situation(image(), engine_disk=disk)).get("disk of Docker's images") == status
    assert statuses(situation(image(here=True), engine_disk=disk)) == {}


@pytest.mark.parametrize(("free_gb", "status"), [(14.9, "failed"), (15.1, "passed")])
def test_room_for_virtual_environments_is_for_the_downloads_of_one_too(free_gb, status):
    """Twice 5.8 GB, 2.9 GB that pip downloads for either, and a reserve of 0.5 GB; the checkout is on another disk."""
    venv = dataclasses.replace(load("torch-2.13", ROOT), size="5.8 GB")
    two = [image("torch-2.13", venv), image("torch-2.14", venv)]
    free = found_by.Disk("/checkout", round(free_gb * 10**9), None, None)
    check = look(situation(*two, checkout_disk=free))["disk of virtual environments"]
    assert (check.status, check.needed) == (
        status,
        "10.8 GiB for images, 2.7 GiB for downloads meanwhile (pip's cache keeps as much, unless PIP_NO_CACHE_DIR=1)",
    )
    here = [dataclasses.replace(each, here=True) for each in two]
    assert "disk of virtual environments" not in look(situation(*here, checkout_disk=free))


@pytest.mark.parametrize(
    ("name", "said"), [("kaggle", "21.4 GiB for images"), ("colab", "0 B for images, without colab, of unknown size")]
)
def test_the_size_of_a_providers_image_is_told_before_it_is_pulled(name, said):
    roomy = dataclasses.replace(DOCKER_DISK, free_bytes=10**11)
    found = situation(image(name, load(name, ROOT)), engine_disk=roomy)
    assert look(found)["disk of Docker's images"].needed == said
    short = statuses(
        situation(image(name, load(name, ROOT)), engine_disk=dataclasses.replace(roomy, free_bytes=10**10))
    )
    assert short["disk of Docker's images"] == ("failed" if name == "kaggle" else "not checked")


def test_what_goes_to_one_disk_adds_up():
    free = int(3.5e9)
    apart = situation(
        image(),
        checkout_disk=found_by.Disk("/checkout", free, 1, None),
        engine_disk=found_by.Disk("/var/lib/docker", free, 2, None),
    )
    together = dataclasses.replace(apart, engine_disk=found_by.Disk("/checkout/docker", free, 1, None))
    assert statuses(apart) == {}
    assert statuses(together) == {"disk of Docker's images": "failed"}


def test_what_the_job_writes_elsewhere_needs_room_where_it_lies():
    cache = {"~/.cache/mine": found_by.Disk("/home/me", 3 * 10**9, 3, None)}
    writes = job(elsewhere=cache, elsewhere_bytes={"~/.cache/mine": int(3.3e9)})
    check = look(situation(job=writes))["disk of ~/.cache/mine"]
    assert (check.status, check.needed) == ("failed", "3.1 GiB for what the job writes to ~/.cache/mine")
    same = found_by.Disk("/", int(4.5e9), 1, None)
    together = situation(job=dataclasses.replace(writes, elsewhere=dict.fromkeys(cache, same)), checkout_disk=same)
    check = look(together)["disk of ~/.cache/mine"]
    assert check.status == "failed" and check.needed.endswith(", besides 1.2 GiB for the checkout on the same disk")
    roomy = dict.fromkeys(cache, dataclasses.replace(same, device=3))
    assert statuses(situation(job=dataclasses.replace(writes, elsewhere=roomy))) == {}


def test_a_ready_made_image_of_which_nothing_is_known_is_not_checked():
    found = statuses(situation(image("mine", Definition(pull="mine")), on=hardware(T4)))
    expected = {f"mine: {each}": "not checked" for each in ("compute capability of Tesla T4", "driver of Tesla T4")}
    assert found == {**expected, "disk of Docker's images": "not checked"}


def test_what_is_measured_already_is_no_part_of_the_session():
    three = found_by.Measured(frozenset(PARAMS.cells()[:3]), {"host/few": 3 * 3600}, {"host/few": 3600})
    check = look(situation(measured=three), session={"max_hours": 36.0})["session"]
    assert (check.status, check.needed[:20]) == ("passed", "27.0 h for 9 cells, ")


def test_an_image_of_unknown_size_is_said_to_be_left_out():
    plain = dataclasses.replace(LEGACY, size=None)
    found = look(situation(image(), image("mine", plain)))["disk of Docker's images"]
    assert found.status == "not checked" and "without mine, of unknown size" in found.needed
    full = dataclasses.replace(DOCKER_DISK, free_bytes=10**9)
    found = look(situation(image(), image("mine", plain), engine_disk=full))["disk of Docker's images"]
    assert found.status == "failed"  # what is known does not fit either
    again = image("mine", plain, made=made(10**9))
    assert look(situation(again))["disk of Docker's images"].needed == "953.7 MiB for images"


def test_cpus_that_are_not_steady_are_a_warning_with_what_to_do():
    moment = dataclasses.replace(IDLE, cpu_warnings=(("the CPU governor is powersave", "set performance"),))
    check = look(situation(moment=moment))["steady CPUs"]
    assert (check.status, check.found, check.advice) == ("warning", "the CPU governor is powersave", "set performance")


def test_what_spoils_a_timing_is_a_warning():
    found = look(situation(moment=found_by.Moment(("other processes keep 80 % of the CPUs busy",), GIB, {})))[
        "idle machine"
    ]
    assert (found.status, found.found) == ("warning", "other processes keep 80 % of the CPUs busy")


@pytest.mark.parametrize(
    ("hours_of_a_cell", "status"),
    [(None, "not checked"), (2.3, None), (2.5, "warning"), (23.9, "warning"), (24.1, "failed")],
)
def test_the_session_must_hold_the_run(hours_of_a_cell, status):
    """4 cells of two equal spans in 12 hours; one setting was measured before. A span is done in one go."""
    seconds = {} if hours_of_a_cell is None else {"host/few": hours_of_a_cell * 3600}
    spans = {setting: each / 2 for setting, each in seconds.items()}
    found = situation(measured=found_by.Measured(frozenset(), seconds, spans))
    assert statuses(found, session={"max_hours": 12.0}, repeats=(1,)).get("session") == status
    assert "session" not in statuses(found)


def test_a_job_that_does_not_resume_needs_a_session_as_long_as_a_cell():
    found = situation(
        job=job(jobs.Definition("train")),
        measured=found_by.Measured(frozenset(), {"host/few": 3700.0}, {"host/few": 1.0}),
    )
    check = look(found, session={"max_hours": 1.0})["session"]
    assert check.status == "failed" and check.advice.startswith("not one cell would end in time")
    resumes = dataclasses.replace(found, job=job())
    assert statuses(resumes, session={"max_hours": 1.0}) == {"session": "warning"}


def test_every_check_says_what_to_do_unless_it_passed():
    found = situation(image(), on=hardware(A100), engine="none", job=SILENT)
    for check in host_checks.look_over(wanted(session={"max_hours": 1.0}, container={"shm_size": "1m"}), found):
        assert check.needed and check.found
        assert (check.advice is None) == (check.status == "passed")


def test_what_the_job_needs_of_its_card_is_handed_to_who_looked_at_it():
    asked = []

    def check(needs):
        asked.append(needs)
        return (Check("GPU memory of Tesla T4", "failed", "8 GiB", "1 GiB free", "end that process"),)

    moment = dataclasses.replace(IDLE, check_gpu_memory=check)
    found = look(situation(moment=moment, job=job(gpu_memory_bytes=8 * GIB)))
    assert found["GPU memory of Tesla T4"].status == "failed"
    assert asked == [{cell.setting: 8 * GIB for cell in PARAMS.cells()}]
