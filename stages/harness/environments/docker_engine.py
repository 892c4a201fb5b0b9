"""The Docker engine. The one file that imports docker; its failures become FaceoffErrors that say what to do."""

import contextlib
import errno
import io
import os
import re
import signal
import sys
import tarfile
import time
from collections import deque
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import docker
import docker.constants
import docker.errors
import docker.utils
import requests.exceptions
import urllib3.exceptions
from docker.models.containers import Container
from docker.types import CancellableStream, DeviceRequest
from docker.types import Mount as DockerMount

from stages.checks import killed_for_memory
from stages.errors import FaceoffError
from stages.harness.environments import labels
from stages.harness.environments.launch import (
    KILLED,
    STOP_SECONDS,
    TRACEBACK_SECONDS,
    TRACEBACK_SIGNAL,
    About,
    BuildFailed,
    Found,
    Job,
    Outcome,
    Show,
)
from stages.harness.process.signals import masked_signals
from stages.harness.process.watchdog import Watch, watched

FAILURES = (
    docker.errors.DockerException,
    requests.exceptions.RequestException,
    urllib3.exceptions.HTTPError,  # the engine went away amid a stream of events
    ConnectionResetError,  # ... or of a container's output
)
ADVICE = {  # a part of what Docker or the system says, in lower case: what it means and what to do
    "permissionerror": "no permission on Docker's socket: have your user put into the group docker "
    "(sudo usermod -aG docker $USER), log in again",
    "filenotfounderror": "no Docker engine answers: install or start it (sudo systemctl start docker), or face off "
    "image host alone",
    "connection refused": "no Docker engine answers: start it, or correct DOCKER_HOST",
    "timed out": "the Docker engine does not answer in time: restart it, or correct DOCKER_HOST",
    "failed to resolve": "no Docker engine answers: correct DOCKER_HOST",
    "no space left on device": "the disk that holds Docker's images is full: make room, e.g. with docker system prune",
    "range of cpus": "container.cpus in params.yaml is more than this machine has",
    "could not select device driver": "Docker cannot hand out this machine's GPU: install the NVIDIA Container "
    "Toolkit, or set container.gpus: none in params.yaml",
    "nvidia-container-cli": "Docker cannot hand out this machine's GPU: see that nvidia-smi works here, or set "
    "container.gpus: none in params.yaml",
}
COLOUR = re.compile(r"\x1b\[[0-9;]*m")  # the engine puts it around what goes to stderr
READ_ONLY = os.strerror(errno.EROFS).encode()
KEPT_LINES = 50
PIDS_LIMIT = 4096  # loader processes times threads; far above any job, far below what hurts the machine


class DockerEngine:
    """launch.Engine over the Docker SDK."""

    def __init__(self, patience_seconds: int = docker.constants.DEFAULT_TIMEOUT_SECONDS) -> None:
        """Connect to the engine that DOCKER_HOST names, or the local one; give up on an answer after a while."""
        with _explained():
            self._client = docker.from_env(timeout=patience_seconds)

    def folder(self) -> Path:
        """Return the folder where the engine keeps its images, on the machine that it runs on."""
        with _explained():
            return Path(self._client.info()["DockerRootDir"])

    def is_local(self) -> bool:
        """Whether the engine is reached by a socket of this machine; over a network it may run on another one."""
        return str(self._client.api.base_url) == "http+docker://localhost"

    def about(self) -> About:
        with _explained():
            info = self._client.info()
        return About(str(info["ServerVersion"]), str(info["DefaultRuntime"]))

    def find(self, reference: str) -> Found | None:
        with _explained():
            try:
                image = self._client.images.get(reference)
            except docker.errors.ImageNotFound:
                return None
        return Found(str(image.id), int(image.attrs["Size"]), _digest(reference, image.attrs["RepoDigests"] or []))

    def pull(self, reference: str, show: Show) -> None:
        try:
            for event in self._client.api.pull(reference, stream=True, decode=True):
                if "error" in event:
                    raise docker.errors.DockerException(event["error"])
                if "progressDetail" not in event or not event["progressDetail"]:  # no line for every block of bytes
                    show(": ".join(filter(None, (event.get("id"), event.get("status")))))
        except FAILURES as error:
            raise FaceoffError(f"{reference} cannot be pulled: {_said(error)}; {_pull_advice(error)}") from None

    def build(
        self, files: Mapping[str, bytes], tag: str, arguments: Mapping[str, str], network: str | None, show: Show
    ) -> None:
        last_lines: deque[str] = deque(maxlen=KEPT_LINES)
        with _explained():
            events = self._client.api.build(
                fileobj=_tar(files),
                custom_context=True,
                tag=tag,
                buildargs=dict(arguments),
                network_mode=network,
                rm=True,
                forcerm=True,
                decode=True,
            )
            for event in events:
                if "error" in event:
                    raise BuildFailed(f"{tag} was not built: {' '.join(event['error'].split())}", last_lines)
                for line in filter(str.strip, COLOUR.sub("", event.get("stream", "")).splitlines()):
                    show(line)
                    last_lines.append(line)

    def run(self, job: Job, watch: Watch | None = None) -> Outcome:
        killed_before = killed_for_memory()
        with _explained(), self._staying(), self._container(job) as container:
            with watched(watch, lambda: _kill(container)) as overdue:
                exit_code, met_read_only = _go(container, job.tty)
            container.reload()
            # Docker's own word may come late: under cgroup 1 the event races with the end of the container.
            out_of_memory = exit_code == KILLED and killed_for_memory() > killed_before
            out_of_memory |= bool(container.attrs["State"]["OOMKilled"])
            return Outcome(exit_code, out_of_memory, overdue(), met_read_only=met_read_only)

    def remove_left_over(self, checkout: Path) -> None:
        with _explained():
            for each in self._client.api.containers(all=True, filters={"label": labels.checkout_label(checkout)}):
                if labels.is_gone(each["Labels"], has_ended=each["State"] in ("exited", "dead")):
                    with contextlib.suppress(docker.errors.APIError):  # another run was faster
                        self._client.api.remove_container(each["Id"], force=True, v=True)
                        print(f"faceoff: removed container {each['Names'][0][1:]}, which a killed run had left")

    @contextlib.contextmanager
    def _staying(self) -> Iterator[None]:
        """Tell an engine that goes away in the block from one that refuses."""
        try:
            yield
        except FAILURES:
            try:
                self._client.ping()
            except FAILURES:
                raise FaceoffError(
                    "the Docker engine went away while a container ran: start it and run again, which removes what is "
                    "left of the container"
                ) from None
            raise

    @contextlib.contextmanager
    def _container(self, job: Job) -> Iterator[Container]:
        """Create the job's container and, however the block ends, stop and remove it."""
        with masked_signals(signal.SIG_BLOCK):
            container = self._client.containers.create(**_create_arguments(job))
            try:
                with masked_signals(signal.SIG_UNBLOCK):
                    yield container
            finally:
                with contextlib.suppress(*FAILURES):  # too busy to stop it, or gone: the removal says which, and kills
                    container.stop(timeout=STOP_SECONDS)
                with contextlib.suppress(docker.errors.NotFound):
                    container.remove(force=True, v=True)


def _go(container: Container, tty: bool) -> tuple[int, bool]:
    """Run the container and hand on what it prints: its exit code, and whether it met a read-only place."""
    met_read_only = False
    with contextlib.closing(_attach(container, tty)) as output:
        container.start()
        if tty:
            columns, lines = os.get_terminal_size(sys.stdout.fileno())  # not COLUMNS and LINES, which may be stale
            with contextlib.suppress(docker.errors.APIError):  # it may have ended already
                container.resize(lines, columns)
        for chunk in output:
            met_read_only |= _copy(chunk)
    return int(container.wait()["StatusCode"]), met_read_only


def _kill(container: Container) -> None:
    """Have the job say where it stands, then kill it."""
    with contextlib.suppress(*FAILURES):  # it has ended meanwhile, or the engine has, which `run` notices too
        container.kill(TRACEBACK_SIGNAL)
        time.sleep(TRACEBACK_SECONDS)
        container.kill()


def _create_arguments(job: Job) -> dict[str, Any]:
    return {
        "image": job.reference,
        "command": list(job.command),
        "entrypoint": [],  # a ready-made image may have one
        "working_dir": str(job.directory),
        "mounts": [
            DockerMount(str(each.target), str(each.source), type="bind", read_only=each.read_only)
            for each in job.mounts
        ],
        "environment": dict(job.environment),
        "user": job.user,
        "device_requests": None if job.gpu_uuids is None else [_gpus(job.gpu_uuids)],
        "shm_size": job.shm_bytes,
        "mem_limit": job.memory_bytes,
        "memswap_limit": job.memory_bytes,  # equal: no swap, which would be measured as slowness
        "nano_cpus": None if job.cpus is None else int(job.cpus * 1e9),
        "cpuset_cpus": job.cpuset,
        "tty": job.tty,
        "labels": dict(job.labels),
        "init": True,
        "network_mode": "none",
        "read_only": True,
        "tmpfs": {"/tmp": "rw,exec,nosuid,nodev,mode=1777"},  # noqa: S108
        "cap_drop": ["ALL"],
        # Without the label, SELinux would keep a container from the checkout unless all of it were relabelled.
        "security_opt": ["no-new-privileges", "label=disable"],
        "pids_limit": PIDS_LIMIT,
    }


def _gpus(uuids: Sequence[str]) -> DeviceRequest:
    """Ask for these cards, or for all that there are."""
    which: dict[str, Any] = {"device_ids": list(uuids)} if uuids else {"count": -1}
    return DeviceRequest(capabilities=[["gpu"]], **which)


def _digest(reference: str, digests: Sequence[str]) -> str | None:
    """Pick the digest of the repository that the reference names, among those that the image was pulled from."""
    repository, _ = docker.utils.parse_repository_tag(reference)
    named = [each for each in digests if each.startswith(f"{repository}@")] or sorted(digests)
    return named[0].rpartition("@")[2] if named else None


def _attach(container: Container, tty: bool) -> "CancellableStream[Any]":
    """Give the output of the container as it comes: (stdout, stderr), or of a terminal, which has one stream, bytes.

    To be closed before the container is stopped: Docker waits for a reader that does not read.
    """
    return container.attach(stream=True) if tty else container.attach(stream=True, demux=True)


def _copy(chunk: bytes | tuple[bytes | None, bytes | None]) -> bool:
    """Hand on what came, and say whether it tells of a write to what is read-only."""
    out, err = (chunk, None) if isinstance(chunk, bytes) else chunk
    for data, stream in ((out, sys.stdout), (err, sys.stderr)):
        if data:
            stream.buffer.write(data)
            stream.flush()
    return any(READ_ONLY in data for data in (out, err) if data)


def _tar(files: Mapping[str, bytes]) -> io.BytesIO:
    """Pack the files as a tar archive, the same bytes for the same files: Docker's build cache compares them."""
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode="w") as archive:
        for name, content in sorted(files.items()):
            entry = tarfile.TarInfo(name)
            entry.size = len(content)
            archive.addfile(entry, io.BytesIO(content))
    buffer.seek(0)
    return buffer


@contextlib.contextmanager
def _explained() -> Iterator[None]:
    """Turn what docker and its transport raise into a FaceoffError that says what to do."""
    try:
        yield
    except FAILURES as error:
        advice = next((advice for sign, advice in ADVICE.items() if sign in str(error).lower()), None)
        text = _said(error)
        raise FaceoffError(f"Docker failed: {text}" if advice is None else f"{advice} (Docker: {text})") from None


def _said(error: Exception) -> str:
    """Return the engine's own words, in one line."""
    return " ".join(str(getattr(error, "explanation", None) or error).split())


def _pull_advice(error: Exception) -> str:
    said = _said(error).lower()
    if "denied" in said or "unauthorized" in said:
        return "log in with `docker login`, or correct the name"
    if "manifest unknown" in said or "not found" in said:
        return "the registry has no such image: correct the name"
    if "toomanyrequests" in said:
        return "wait, or log in with `docker login`"
    if "no space left" in said:
        return ADVICE["no space left on device"]
    return (
        "where that registry is out of reach, name a base image that the engine has or can get: "
        "container.base_images in params.yaml, or FACEOFF_BASE_IMAGE in the environment"
    )
