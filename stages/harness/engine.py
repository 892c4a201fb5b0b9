"""The Docker engine. The one file that imports docker; its failures become FaceoffErrors that say what to do."""

import contextlib
import io
import shutil
import signal
import sys
import tarfile
from collections.abc import Iterator, Mapping
from typing import Any

import docker.errors
import requests.exceptions
from docker.models.containers import Container
from docker.types import DeviceRequest
from docker.types import Mount as DockerMount

import docker
from stages.errors import FaceoffError
from stages.harness.jobs import STOP_SECONDS, STOP_SIGNALS, Found, Job, Outcome, Show

PIDS_LIMIT = 4096  # loader processes times threads; far above any job, far below what hurts the machine


class DockerEngine:
    """jobs.Engine over the Docker SDK."""

    def __init__(self) -> None:
        """Connect to the engine that DOCKER_HOST names, or the local one."""
        with _explained():
            self._client = docker.from_env()

    def find(self, reference: str) -> Found | None:
        with _explained():
            try:
                image = self._client.images.get(reference)
            except docker.errors.ImageNotFound:
                return None
        return Found(str(image.id), int(image.attrs["Size"]))

    def pull(self, reference: str, show: Show) -> None:
        with _explained(f"{reference} cannot be pulled"):
            for event in self._client.api.pull(reference, stream=True, decode=True):
                if "error" in event:
                    raise docker.errors.DockerException(event["error"])
                if "progress" not in event:
                    show(" ".join(filter(None, (event.get("id"), event.get("status")))))

    def build(
        self, files: Mapping[str, bytes], tag: str, arguments: Mapping[str, str], network: str | None, show: Show
    ) -> None:
        with _explained(f"{tag} cannot be built"):
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
                    raise docker.errors.DockerException(event["error"])
                for line in event.get("stream", "").splitlines():
                    show(line)

    def run(self, job: Job) -> Outcome:
        with _explained(), self._container(job) as container:
            output = _attach(container, job.tty)
            container.start()
            if job.tty:
                columns, lines = shutil.get_terminal_size()
                with contextlib.suppress(docker.errors.APIError):  # it may have ended already
                    container.resize(lines, columns)
            for out, err in output:
                _copy(out, err)
            # Without a timeout: the output may be closed while the process goes on.
            exit_code = int(container.wait()["StatusCode"])
            container.reload()
            return Outcome(exit_code, bool(container.attrs["State"]["OOMKilled"]))

    @contextlib.contextmanager
    def _container(self, job: Job) -> Iterator[Container]:
        """The job's container, created and, however the block ends, stopped and removed.

        Signals wait while it is created and removed: one in between would leave it behind.
        """
        before = signal.pthread_sigmask(signal.SIG_BLOCK, STOP_SIGNALS)
        try:
            container = self._client.containers.create(**_create_arguments(job))
            try:
                signal.pthread_sigmask(signal.SIG_SETMASK, before)
                yield container
            finally:
                signal.pthread_sigmask(signal.SIG_BLOCK, STOP_SIGNALS)
                with contextlib.suppress(docker.errors.NotFound):
                    container.stop(timeout=STOP_SECONDS)
                    container.remove(force=True, v=True)
        finally:
            signal.pthread_sigmask(signal.SIG_SETMASK, before)


def _create_arguments(job: Job) -> dict[str, Any]:
    gpus = [DeviceRequest(count=-1, capabilities=[["gpu"]])]
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
        "device_requests": gpus if job.gpus else None,
        "shm_size": job.shm_bytes,
        "mem_limit": job.memory_bytes,
        "memswap_limit": job.memory_bytes,  # equal: no swap, which would be measured as slowness
        "nano_cpus": None if job.cpus is None else int(job.cpus * 1e9),
        "tty": job.tty,
        "labels": dict(job.labels),
        "init": True,
        "network_mode": "none",
        "read_only": True,
        "tmpfs": {"/tmp": "rw,exec,nosuid,nodev,mode=1777"},  # noqa: S108
        "cap_drop": ["ALL"],
        "security_opt": ["no-new-privileges"],
        "pids_limit": PIDS_LIMIT,
    }


def _attach(container: Container, tty: bool) -> Iterator[tuple[bytes | None, bytes | None]]:
    """What comes out of the container, (stdout, stderr), as it comes; a terminal has one stream for both."""
    if tty:
        return ((chunk, None) for chunk in container.attach(stream=True))
    return iter(container.attach(stream=True, demux=True))


def _copy(out: bytes | None, err: bytes | None) -> None:
    for data, stream in ((out, sys.stdout), (err, sys.stderr)):
        if data:
            stream.buffer.write(data)
            stream.flush()


def _tar(files: Mapping[str, bytes]) -> io.BytesIO:
    """The files as a tar archive, the same bytes for the same files: Docker's build cache compares them."""
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode="w") as archive:
        for name, content in sorted(files.items()):
            entry = tarfile.TarInfo(name)
            entry.size = len(content)
            archive.addfile(entry, io.BytesIO(content))
    buffer.seek(0)
    return buffer


@contextlib.contextmanager
def _explained(doing: str = "Docker failed") -> Iterator[None]:
    """Turn what docker and its transport raise into a FaceoffError with what to do."""
    try:
        yield
    except (docker.errors.DockerException, requests.exceptions.RequestException) as error:
        raise FaceoffError(f"{doing}: {_reason(error)}") from None


def _reason(error: Exception) -> str:
    text = " ".join(str(getattr(error, "explanation", None) or error).split())
    return text
