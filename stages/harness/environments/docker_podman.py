"""What Podman answers and takes unlike Docker, at the socket where it speaks Docker's language. Tried on Podman 4.3."""

from collections.abc import Mapping, Sequence
from typing import Any

import docker
from docker.types import Mount

from stages.errors import FaceoffError

NAME = "Podman"
MISREAD = ',"\n'  # Podman writes a mount as a line of CSV, and quotes nothing
OWN_API = "v4.0.0/libpod"  # which tells more than Docker's
LOCAL = "localhost/"  # how it names what came from no registry


def security(info: Mapping[str, Any]) -> set[str]:
    """Return what `info` says of its walls and SecurityOptions does not; Docker's has no such field."""
    return {"rootless"} if info.get("Rootless") else set()


def limits_nothing(info: Mapping[str, Any]) -> bool:
    """Whether it drops all limits without a word, though it says that it can hold a container to them."""
    return bool(info.get("Rootless")) and str(info.get("CgroupVersion")) == "1"


def adapt(arguments: dict[str, Any], cpus: int) -> dict[str, Any]:
    """Return a container's arguments as Podman reads them right. `cpus`: of its machine.

    A CPU quota beyond the machine it would take, and not enforce. Of an entry point that is empty it makes the image's.
    """
    if (arguments["nano_cpus"] or 0) > cpus * 1e9:
        raise FaceoffError(f"container.cpus in params.yaml is more than this machine has: {cpus}")
    return arguments | mounting(arguments["mounts"]) | {"entrypoint": arguments["command"], "command": None}


def mounting(mounts: Sequence[Mount]) -> dict[str, Any]:
    """Return the arguments of a container for these mounts.

    A path with a comma or a quote would be misread, as options of the mount even, unless it comes by the older way, to
    which a colon is a separator.
    """
    binds = [each for each in mounts if any(sign in each["Source"] + each["Target"] for sign in MISREAD)]
    for each in binds:
        if ":" in each["Source"] + each["Target"]:
            raise FaceoffError(
                f"Podman cannot mount {each['Source']}, whose path has a colon and a comma or quote: rename the "
                "folder, or choose another engine by DOCKER_HOST"
            )
    return {
        "mounts": [each for each in mounts if each not in binds],
        "volumes": [f"{each['Source']}:{each['Target']}:{'ro' if each['ReadOnly'] else 'rw'}" for each in binds],
    }


def registry_digests(client: docker.DockerClient, image_id: str, digests: Sequence[str]) -> list[str]:
    """Return those that Docker would have: of registries, and of the list that a tag leads to, if to one.

    Podman makes a digest for what was built or imported, too, and has one of the image's platform beside the list's.
    """
    found = [each for each in digests if not each.startswith(LOCAL)]
    if len(found) < 2:
        return found
    answer = client.api.get(f"{client.api.base_url}/{OWN_API}/images/{image_id.removeprefix('sha256:')}/json")
    answer.raise_for_status()
    return [each for each in found if each.endswith(f"@{answer.json()['Digest']}")] or found
