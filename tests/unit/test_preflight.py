"""Preflight on the host, from facts: what is refused, what is warned of, and what it says to do."""

import dataclasses

import pytest

from stages.harness.environments.images import Build, Definition, Expects
from stages.harness.params import schema
from stages.harness.preflight import findings as found_by
from stages.harness.preflight import host_checks
from stages.records import Image
from tests.environments import GIB, contents, gpu, hardware, machine
from tests.project import ROOT

PARAMS = schema.load(ROOT)
DISK = found_by.Disk("/checkout", 50 * GIB, 1, None)
DOCKER_DISK = found_by.Disk("/var/lib/docker", 50 * GIB, 2, None)
BUILD = Build("python:3.7", "docker/legacy.lock", "docker/cuda-10.0/torch.txt")
LEGACY = Definition(
    build=BUILD,
    expects=Expects(python="3.7", cuda="10.0", fastai="1.0.48"),
    compute_capabilities=("3.5", "7.5"),
    size="2.3 GB",
)
T4 = gpu("Tesla T4", compute_capability="7.5")
A100 = gpu("A100", compute_capability="8.0")


def wanted(**changes):
    """The default params; sections are changed key by key."""
    new = {
        key: dataclasses.replace(getattr(PARAMS, key), **value) if isinstance(value, dict) else value
        for key, value in changes.items()
    }
    return dataclasses.replace(PARAMS, **new)


def image(name="cuda-10.0", definition=LEGACY, made=None, here=False, fastai="1.0.48"):
    return found_by.ImageState(name, definition, made, here, fastai)


def made(size_bytes=2_300_000_000, **held):
    null = {"base_digest": "imported"}
    return Image("cuda-10.0", "faceoff/x", "sha256:1", size_bytes, "b", None, "28", "runc", contents(**held), null)


IDLE = found_by.Moment((), GIB)
HOST = image("host", Definition(run="host"), None, True, "2.8.12")


def situation(*images, on=None, **changes):
    plain = found_by.Situation(
        machine=machine(on),
        has_driver=on is not None and bool(on.gpus),
        images=images or (HOST,),
        engine=None,
        engine_disk=DOCKER_DISK,
        checkout_disk=DISK,
        cache_disk=None,
        moment=IDLE,
        has_photos=False,
        has_weights=False,
        models=0,
        measured=0,
        setting_seconds={},
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
    assert statuses(found) == {"cuda-10.0: compute capability of A100": "warning"}
    assert "CUDA_VISIBLE_DEVICES" in look(found)["cuda-10.0: compute capability of A100"].advice


def test_no_card_is_looked_at_when_none_is_wanted():
    found = situation(image(), on=hardware(A100))
    assert statuses(found, container={"gpus": "none"}) == {}


@pytest.mark.parametrize(("version", "status"), [("396.26", "failed"), ("410.48", None), ("580.65.06", None)])
def test_the_driver_must_be_as_new_as_the_images_cuda_asks(version, status):
    card = gpu("Tesla T4", compute_capability="7.5", driver=version)
    found = situation(image(), on=hardware(card))
    assert statuses(found).get("cuda-10.0: driver of Tesla T4 for CUDA 10.0") == status


def test_gpus_that_are_asked_for_must_be_there():
    assert statuses(situation(), container={"gpus": "all"}) == {"GPUs": "failed"}
    assert look(situation(), container={"gpus": "all"})["GPUs"].found == "no NVIDIA driver answers"
    assert statuses(situation(), container={"gpus": "auto"}) == {}


def test_a_driver_that_is_loaded_and_does_not_answer_is_a_warning():
    found = situation(has_driver=True)
    assert statuses(found, container={"gpus": "auto"}) == {"GPUs": "warning"}
    assert statuses(found, container={"gpus": "none"}) == {}
    assert statuses(found, container={"gpus": "all"}) == {"GPUs": "failed"}


def test_shared_memory_of_a_container_is_what_params_give_it_and_the_hosts_is_its_own():
    tight = situation(HOST, image(), on=hardware(shm_bytes=2**20))
    assert statuses(tight) == {"host: shared memory, batch size 16": "failed"}
    assert "remount" in look(tight)["host: shared memory, batch size 16"].advice
    roomy = situation(HOST, image())
    found = statuses(roomy, container={"shm_size": "1m"}, batch_sizes=(16, 64))
    assert found == {f"cuda-10.0: shared memory, batch size {size}": "failed" for size in (16, 64)}
    advice = look(roomy, container={"shm_size": "1m"})["cuda-10.0: shared memory, batch size 16"].advice
    assert advice.startswith("container.shm_size: 64m in params.yaml")


def test_shared_memory_needs_the_fastai_version():
    unknown = situation(image("mine", Definition(pull="mine"), fastai=None))
    assert statuses(unknown)["mine: shared memory, batch size 16"] == "not checked"


def test_limits_above_what_the_machine_has():
    found = statuses(situation(image()), container={"cpus": 3.0, "memory": "9g"})
    assert found == {"container's CPUs": "failed", "container's memory": "warning"}
    assert statuses(situation(image()), container={"cpus": 2.0, "memory": "8g"}) == {}
    assert statuses(situation(), container={"cpus": 3.0}) == {}  # image host runs without them


def test_room_for_photos_and_models():
    full = found_by.Disk("/checkout", 10**8, 1, None)
    assert statuses(situation(checkout_disk=full)) == {"disk of the checkout": "failed"}
    check = look(situation(checkout_disk=full))["disk of the checkout"]
    assert "95.4 MiB free at /checkout" in check.found and "make room for" in check.advice
    assert (
        statuses(situation(checkout_disk=full, has_photos=True, has_weights=True, models=6)) == {}
    )  # nothing is to be written
    assert statuses(situation(checkout_disk=dataclasses.replace(full, free_bytes=10**9))) == {}
    article = {"dataset": {"source": "fastai"}, "recipe": {"arch": "resnet152"}}
    assert statuses(situation(checkout_disk=dataclasses.replace(full, free_bytes=3 * 10**9)), **article) == {
        "disk of the checkout": "failed"
    }


@pytest.mark.parametrize(("free_bytes", "status"), [(2 * 10**9, "failed"), (3 * 10**9, None), (None, "not checked")])
def test_room_for_images_that_are_not_here(free_bytes, status):
    disk = found_by.Disk("/var/lib/docker", free_bytes, 2, None if free_bytes else "another machine's")
    assert statuses(situation(image(), engine_disk=disk)).get("disk of Docker's images") == status
    assert statuses(situation(image(here=True), engine_disk=disk)) == {}


def test_what_goes_to_one_disk_adds_up():
    free = 3 * 10**9
    apart = situation(
        image(),
        checkout_disk=found_by.Disk("/checkout", free, 1, None),
        engine_disk=found_by.Disk("/var/lib/docker", free, 2, None),
    )
    together = dataclasses.replace(apart, engine_disk=found_by.Disk("/checkout/docker", free, 1, None))
    assert statuses(apart, dataset={"source": "kaggle"}) == {}
    assert statuses(together, dataset={"source": "kaggle"}) == {"disk of Docker's images": "failed"}


def test_kaggles_download_needs_room_where_its_cache_lies():
    kaggle = {"dataset": {"source": "kaggle"}}
    home = found_by.Disk("/home/me", 3 * 10**9, 3, None)
    check = look(situation(cache_disk=home), **kaggle)["disk of kagglehub's cache"]
    assert (check.status, check.needed) == ("failed", "3.1 GiB for Kaggle's archive and what comes out of it")
    same = dataclasses.replace(DISK, path="/home/me", free_bytes=int(4.5e9))
    check = look(situation(cache_disk=same, checkout_disk=same), **kaggle)["disk of kagglehub's cache"]
    assert (
        check.status == "failed"
        and ", besides " in check.needed
        and " for the checkout on the same disk" in check.needed
    )
    roomy = dataclasses.replace(home, free_bytes=5 * 10**9)
    assert statuses(situation(cache_disk=roomy), **kaggle) == {}


def test_pretrained_weights_are_counted_until_they_are_there():
    assert ", 18.2 MiB for pretrained weights, " in look(situation())["disk of the checkout"].needed
    assert ", 0 B for pretrained weights, " in look(situation(has_weights=True))["disk of the checkout"].needed


def test_of_a_users_own_folder_the_photos_count(tmp_path):
    for name in ("train/cats/1.jpg", "valid/dogs/2.jpg", "another thing/large"):
        (tmp_path / name).parent.mkdir(parents=True)
        (tmp_path / name).write_bytes(bytes(1000))
    dataset = dataclasses.replace(PARAMS.dataset, source="folder", folder=str(tmp_path))
    assert host_checks.data_bytes(dataset) == 2000


def test_a_ready_made_image_of_which_nothing_is_known_is_not_checked():
    found = situation(image("mine", Definition(pull="mine"), fastai=None), on=hardware(T4))
    expected = {"compute capability of Tesla T4", "driver of Tesla T4", "shared memory, batch size 16"}
    assert {name for name, status in statuses(found).items() if status == "not checked"} >= {
        f"mine: {name}" for name in expected
    }


def test_what_is_measured_already_is_no_part_of_the_session():
    found = situation(setting_seconds={"host/fp32-bs16": 3 * 3600}, measured=3)
    check = look(found, session={"max_hours": 12.0})["session"]
    assert (check.status, check.needed[:19]) == ("passed", "9.0 h for 3 cells, ")


def test_an_image_of_unknown_size_is_said_to_be_left_out():
    plain = dataclasses.replace(LEGACY, size=None)
    found = look(situation(image(), image("mine", plain)))["disk of Docker's images"]
    assert found.status == "not checked" and "without mine, of unknown size" in found.needed
    full = dataclasses.replace(DOCKER_DISK, free_bytes=10**9)
    found = look(situation(image(), image("mine", plain), engine_disk=full))["disk of Docker's images"]
    assert found.status == "failed"  # what is known does not fit either
    again = image("mine", plain, made=made(10**9))
    assert look(situation(again))["disk of Docker's images"].needed == "953.7 MiB for images"


def test_what_spoils_a_timing_is_a_warning():
    found = look(situation(moment=found_by.Moment(("other processes keep 80 % of the CPUs busy",), GIB)))[
        "idle machine"
    ]
    assert (found.status, found.found) == ("warning", "other processes keep 80 % of the CPUs busy")


@pytest.mark.parametrize(
    ("hours_of_a_cell", "status"),
    [(None, "not checked"), (1.5, None), (1.7, "warning"), (23.9, "warning"), (24.1, "failed")],
)
def test_the_session_must_hold_the_run(hours_of_a_cell, status):
    """6 cells of two epochs in 12 hours, of one setting of which a cell was measured. Epochs can't be split."""
    taken = {} if hours_of_a_cell is None else {"host/fp32-bs16": hours_of_a_cell * 3600}
    found = situation(setting_seconds=taken)
    assert statuses(found, session={"max_hours": 12.0}).get("session") == status
    assert "session" not in statuses(found)


def test_every_check_says_what_to_do_unless_it_passed():
    found = situation(image(), on=hardware(A100), engine="none", setting_seconds={"host/fp32-bs16": 1.0})
    for check in host_checks.look_over(wanted(session={"max_hours": 1.0}, container={"shm_size": "1m"}), found):
        assert check.needed and check.found
        assert (check.advice is None) == (check.status == "passed")
