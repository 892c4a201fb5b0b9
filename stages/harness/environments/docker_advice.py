"""What the Docker engine's failures mean, in one line that says what to do."""

import contextlib
import re
from collections.abc import Iterator

import docker.errors
import requests.exceptions
import urllib3.exceptions

from stages.errors import FaceoffError

FAILURES = (
    docker.errors.DockerException,
    requests.exceptions.RequestException,
    urllib3.exceptions.HTTPError,  # the engine went away amid a stream of events
    ConnectionResetError,  # ... or of a container's output
)
DISK_FULL = "the disk that holds Docker's images is full: make room, e.g. with docker system prune"
NO_TOOLKIT = (
    "Docker cannot hand out this machine's GPU: install the NVIDIA Container Toolkit, or set container.gpus: none in "
    "params.yaml"
)
ADVICE = {  # a part of what Docker or the system says, in lower case: what it means and what to do
    "permissionerror": "no permission on Docker's socket: have your user put into the group docker "
    "(sudo usermod -aG docker $USER), log in again",
    "filenotfounderror": "no Docker engine answers: install or start it (sudo systemctl start docker), or face off "
    "images that need none (venv and python in docs/images.md)",
    "connection refused": "no Docker engine answers: start it, or correct DOCKER_HOST or the context",
    "timed out": "the Docker engine does not answer in time: restart it, or correct DOCKER_HOST or the context",
    "failed to resolve": "no Docker engine answers: correct DOCKER_HOST or the context",
    "no space left on device": DISK_FULL,
    "range of cpus": "container.cpus in params.yaml is more than this machine has",
    "requested cpus are not available": "container.cpuset in params.yaml names a CPU that this machine does not have",
    "could not select device driver": NO_TOOLKIT,
    "failed to discover gpu vendor": NO_TOOLKIT,
    "cdi device injection failed": NO_TOOLKIT,
    "unresolvable cdi devices": NO_TOOLKIT,
    "invalid runtime name: nvidia": NO_TOOLKIT,
    "nvidia-container-cli": "Docker cannot hand out this machine's GPU: see that nvidia-smi works here, or set "
    "container.gpus: none in params.yaml",
    "container-init binary not found": "Podman lacks the program that begins its containers: install catatonit",
    "requested cgroup controller": "rootless Podman may not limit that here: give its user the cgroup controllers "
    "(Delegate=cpu cpuset memory pids of user@.service), or set cpus, cpuset and memory of container in params.yaml to "
    "null",
    "cgroups in hybrid mode": 'crun does not run beside both versions of cgroups: set runtime = "runc" in Podman\'s '
    "containers.conf",
    "rlimit": "Podman wants more open files or processes than it may have here: set default_ulimits in its "
    "containers.conf (nofile and nproc, to what ulimit -Hn and -Hu say)",
}
OTHER_REGISTRY = (
    "where that registry is out of reach, name an image that the engine has or can get: as `pull` of its image.yaml, "
    "or as the base of what is built by container.base_images in params.yaml or FACEOFF_BASE_IMAGE in the environment"
)
PULL_ADVICE = {
    "denied|unauthorized": "log in with `docker login`, or correct the name",
    "manifest unknown|not found": "the registry has no such image: correct the name",
    "toomanyrequests": "wait, or log in with `docker login`",
    "no space left": DISK_FULL,
}


@contextlib.contextmanager
def explained(where: str = "Docker") -> Iterator[None]:
    """Turn what docker and its transport raise into a FaceoffError that says what to do."""
    try:
        yield
    except FAILURES as error:
        advice = next((advice for sign, advice in ADVICE.items() if sign in str(error).lower()), None)
        text = said(error)
        raise FaceoffError(f"{where} failed: {text}" if advice is None else f"{advice} ({where}: {text})") from None


def said(error: Exception) -> str:
    """Return the engine's own words, in one line."""
    return " ".join(str(getattr(error, "explanation", None) or error).split())


def pull_advice(error: Exception) -> str:
    """Say what to do about a pull that failed."""
    text = said(error).lower()
    return next((advice for signs, advice in PULL_ADVICE.items() if re.search(signs, text)), OTHER_REGISTRY)
