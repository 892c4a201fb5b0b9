"""What Podman answers and takes unlike Docker: the parts that tests/engine can't make happen on its socket."""

from typing import Any

import pytest
from docker.types import Mount

from stages.errors import FaceoffError
from stages.harness.environments import docker_podman


def adapted(*paths: str, nano_cpus: int | None = None) -> dict[str, Any]:
    mounts = [Mount(each, each, "bind", each.endswith("data")) for each in paths]
    return docker_podman.adapt({"mounts": mounts, "nano_cpus": nano_cpus, "command": ["true"]}, cpus=2)


def test_a_path_that_podman_would_take_for_options_comes_by_the_other_way() -> None:
    found = adapted("/a:b/data", "/a,ro/models", '/a"b/data')
    assert [each["Source"] for each in found["mounts"]] == ["/a:b/data"]
    assert found["volumes"] == ["/a,ro/models:/a,ro/models:rw", '/a"b/data:/a"b/data:ro']


def test_a_path_that_it_can_take_neither_way_is_refused() -> None:
    with pytest.raises(FaceoffError, match="Podman cannot mount /a:b,c/data, whose path has a colon and a comma"):
        adapted("/a:b,c/data")


def test_more_cpus_than_there_are_are_refused_as_docker_refuses_them() -> None:
    assert adapted(nano_cpus=2 * 10**9)["nano_cpus"] == 2 * 10**9
    with pytest.raises(FaceoffError, match=r"container\.cpus in params\.yaml is more than this machine has: 2"):
        adapted(nano_cpus=2 * 10**9 + 1)


def test_rootless_podman_on_cgroup_1_says_that_it_limits_and_does_not() -> None:
    info = {"Rootless": True, "CgroupVersion": "1", "SecurityOptions": ["name=seccomp"], "MemoryLimit": True}
    assert docker_podman.security(info) == {"rootless"} and docker_podman.limits_nothing(info)
    assert not docker_podman.limits_nothing(info | {"CgroupVersion": "2"})
    assert not docker_podman.limits_nothing(info | {"Rootless": False})
    assert docker_podman.security({"SecurityOptions": []}) == set()  # Docker's has no such field
