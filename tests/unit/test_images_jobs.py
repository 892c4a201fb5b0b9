"""What a container may see, write and use."""

import os
from pathlib import Path

import pytest

from stages.harness.environments import launch
from stages.harness.params.schema import ContainerParams

CONTAINER = ContainerParams(gpus="none", shm_size="1g", memory="512m", cpus=1.5, cpuset="0", base_images={})


@pytest.fixture
def root(tmp_path: Path) -> Path:
    root = tmp_path / "checkout"
    for name in ("stages", "data/photos", ".git", "docker"):
        (root / name).mkdir(parents=True)
    (root / "params.yaml").touch()
    return root


def test_code_and_data_are_read_only_results_writable_and_the_rest_is_not_there(root: Path) -> None:
    mounts = {mount.target.relative_to(root).name: mount.read_only for mount in launch.checkout_mounts(root)}
    assert mounts == {"stages": True, "params.yaml": True, "data": True, "metrics": False, "models": False}
    assert (root / "metrics").is_dir() and (root / "models").is_dir()  # Docker would make them, as root's


def test_a_cell_may_write_what_is_its_settings_alone(root: Path) -> None:
    mounts = {
        str(mount.target.relative_to(root)): mount.read_only
        for mount in launch.checkout_mounts(root, setting="host/fp32-bs16")
    }
    own = {"metrics/host/fp32-bs16": False, "models/host/fp32-bs16": False}
    read_only = dict.fromkeys(("stages", "params.yaml", "data", "metrics", "models"), True)
    assert mounts == read_only | own and all((root / each).is_dir() for each in own)


def test_what_the_job_reads_is_read_only_at_its_own_path(root: Path, tmp_path: Path) -> None:
    elsewhere, own = tmp_path / "dataset", root / "jobs" / "mine"
    for each in (elsewhere, own, root / "jobs" / "another"):
        each.mkdir(parents=True)
    mounts = launch.checkout_mounts(root, [own, elsewhere], "host/plain")
    assert {launch.Mount(each, each, True) for each in (own, elsewhere)} <= {*mounts}
    assert not any(mount.target.name in ("jobs", "another") for mount in mounts)


def test_data_that_is_a_link_is_mounted_where_the_link_is(root: Path, tmp_path: Path) -> None:
    elsewhere = tmp_path / "big-disk"
    (root / "data").rename(elsewhere)
    (root / "data").symlink_to(elsewhere)
    assert launch.Mount(elsewhere, root / "data", True) in launch.checkout_mounts(root)


def test_what_links_in_data_lead_to_is_mounted_read_only_at_the_place_that_they_say(root: Path, tmp_path: Path) -> None:
    """A folder, a file as in a DVC cache of links, a link by way of another link, and one that goes nowhere."""
    folder, cache, real = tmp_path / "folder", tmp_path / "cache" / "ab", tmp_path / "real"
    for each in (folder, cache, real):
        each.mkdir(parents=True)
    (cache / "cdef").touch()
    (tmp_path / "alias").symlink_to(real)
    (root / "data/photos/train").symlink_to(folder)
    (root / "data/photos/cat.0.jpg").symlink_to(cache / "cdef")
    (root / "data/photos/valid").symlink_to("../../../alias")
    (root / "data/photos/inner").symlink_to(root / "data/photos")
    (root / "data/photos/gone").symlink_to("/nowhere/at/all")
    extra = set(launch.checkout_mounts(root)[5:])
    assert extra == {
        launch.Mount(folder, folder, True),
        launch.Mount(cache, cache, True),
        launch.Mount(real, tmp_path / "alias", True),
    }


def test_limits_of_params_and_the_callers_identity_are_the_jobs(root: Path) -> None:
    job = launch.container_job("image:1", ("true",), root, (), CONTAINER, None, {}, {})
    assert (job.shm_bytes, job.memory_bytes, job.cpus, job.cpuset) == (2**30, 512 * 2**20, 1.5, "0")
    assert job.user == f"{os.getuid()}:{os.getgid()}"
    assert job.directory == root
    assert job.gpu_uuids is None
