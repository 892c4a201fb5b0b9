"""The Docker engine over its SDK; the docker_*.py beside it have its parts, and no other file imports docker."""

import contextlib
import functools
import io
import re
import signal
import tarfile
from collections import deque
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import docker
import docker.constants
import docker.errors
import docker.utils
from docker.models.containers import Container

from stages.checks import killed_on_machine_for_memory
from stages.errors import FaceoffError
from stages.harness.environments import (
    docker_connection,
    docker_container,
    docker_folder,
    docker_podman,
    docker_progress,
    labels,
)
from stages.harness.environments.docker_advice import FAILURES, explained, pull_advice, said
from stages.harness.environments.launch import (
    KILLED,
    STOP_SECONDS,
    About,
    BuildFailed,
    Found,
    Job,
    Outcome,
    Show,
)
from stages.harness.process.signals import masked_signals
from stages.harness.process.watchdog import Watch, watched
from stages.watched import Telling, clear

COLOUR = re.compile(r"\x1b\[[0-9;]*m")  # the engine puts it around what goes to stderr
KEPT_LINES = 50
BUILT_AS = "faceoff.built"  # label of an image that was built here: its tag
# What of `container` in params.yaml an engine may not be able to enforce, and where its info says that it can.
ENFORCED = {"memory": "MemoryLimit", "cpus": "CpuCfsQuota", "cpuset": "CPUSet", "processes": "PidsLimit"}


class DockerEngine:
    """launch.Engine over the Docker SDK."""

    def __init__(self, patience_seconds: int = docker.constants.DEFAULT_TIMEOUT_SECONDS) -> None:
        """Connect to the engine that Docker's own command line would use; give up on an answer after a while."""
        config = docker_connection.Config.read()
        with explained():
            self._endpoint = docker_connection.find(config)
        self._credentials = docker_connection.Credentials(config)
        with explained(f"Docker at {self._endpoint}"):
            self._client = docker_connection.connect(self._endpoint, self._credentials, patience_seconds)

    @property
    def socket(self) -> Path | None:
        """The socket of this machine by which the engine is reached; None: over a network."""
        return self._endpoint.socket

    @functools.cached_property
    def _info(self) -> dict[str, Any]:
        with explained():
            return dict(self._client.info())

    @property
    def _security(self) -> set[str]:
        """What the engine says of its walls: 'rootless', 'userns', 'seccomp' and others."""
        options = self._info.get("SecurityOptions") or []
        return {each.partition(",")[0].removeprefix("name=") for each in options} | docker_podman.security(self._info)

    def folder(self) -> Path:
        """Return the folder where the engine keeps its images, on the machine that it runs on."""
        return Path(self._info["DockerRootDir"])

    @functools.cached_property
    def _name(self) -> str:
        with explained():
            parts = self._client.version().get("Components") or [{}]
        name = str(parts[0].get("Name") or "Engine")
        return "Docker" if name == "Engine" else name.removesuffix(" Engine")

    def about(self) -> About:
        info = self._info
        return About(
            version=str(info["ServerVersion"]),
            runtime=str(info["DefaultRuntime"]),
            name=self._name,
            unenforced=self._unenforced,
        )

    @property
    def _unenforced(self) -> tuple[str, ...]:
        """Rootless without a cgroup of its own it can limit nothing, and may refuse a container that asks for it."""
        if self._info.get("CgroupDriver") == "none" or docker_podman.limits_nothing(self._info):
            return tuple(ENFORCED)
        return tuple(key for key, field in ENFORCED.items() if not self._info.get(field, True))

    def check_sees(self, checkout: Path) -> None:
        with explained():
            docker_folder.check_sees(self._client, checkout, self._endpoint, self._name == docker_podman.NAME)

    def find(self, reference: str) -> Found | None:
        with explained():
            try:
                image = self._client.images.get(reference)
            except docker.errors.ImageNotFound:
                return None
        built = (image.labels or {}).get(BUILT_AS) == reference
        digests = image.attrs["RepoDigests"] or []
        if self._name == docker_podman.NAME:
            with explained():
                digests = docker_podman.registry_digests(self._client, str(image.id), digests)
        digest = None if built else _digest(reference, digests)
        return Found(str(image.id), int(image.attrs["Size"]), digest)

    def pull(self, reference: str, show: Show) -> None:
        try:
            self._credentials.problem = None
            events = self._client.api.pull(reference, stream=True, decode=True)
            if self._credentials.problem:
                show(f"{reference} is pulled without credentials: {self._credentials.problem}")
            layers = docker_progress.Layers(reference)
            with Telling() as tell:
                for event in events:
                    if "error" in event:
                        raise docker.errors.DockerException(event["error"])
                    if layers.hear(event):
                        tell(layers.say)
                    else:
                        clear()
                        show(": ".join(filter(None, (event.get("id"), event.get("status")))))
        except FAILURES as error:
            raise FaceoffError(f"{reference} cannot be pulled: {said(error)}; {self._pull_advice(error)}") from None

    def _pull_advice(self, error: Exception) -> str:
        without = self._credentials.problem
        return pull_advice(error) + (f" (it was pulled without credentials: {without})" if without else "")

    def build(
        self, files: Mapping[str, bytes], tag: str, arguments: Mapping[str, str], network: str | None, show: Show
    ) -> None:
        last_lines, step = deque[str](maxlen=KEPT_LINES), docker_progress.Step()
        with explained(), Telling() as tell:
            events = self._client.api.build(
                fileobj=_tar(files),
                custom_context=True,
                tag=tag,
                buildargs=dict(arguments),
                network_mode=network,
                labels={BUILT_AS: tag},  # else an engine that makes a digest for it could not be told from a registry
                rm=True,
                forcerm=True,
                decode=True,
            )
            for event in events:
                if "error" in event:
                    clear()
                    for line in last_lines:
                        if not docker_progress.STEP.match(line):  # which was shown as it began
                            show(line)
                    raise BuildFailed(f"{tag} was not built: {' '.join(event['error'].split())}", last_lines)
                for line in filter(str.strip, COLOUR.sub("", event.get("stream", "")).splitlines()):
                    last_lines.append(line)
                    if step.hear(line):
                        clear()
                        show(line)
                    tell(step.say, at_once=step.lasts)

    def run(self, job: Job, watch: Watch | None = None) -> Outcome:
        docker_connection.check_no_socket(job.mounts, self.socket)
        killed_before = killed_on_machine_for_memory()
        with explained(), self._staying(), self._container(job) as container:
            with watched(watch, lambda: docker_container.kill(container)) as overdue:
                user = docker_container.user(job, self._security)
                exit_code, met_read_only = docker_container.go(container, job, user)
            some_killed = exit_code == KILLED and killed_on_machine_for_memory() > killed_before
            out_of_memory = docker_container.out_of_memory(container, is_likely=some_killed)
            return Outcome(exit_code, out_of_memory, overdue(), met_read_only=met_read_only, some_killed=some_killed)

    def remove_left_over(self, checkout: Path) -> None:
        with explained():
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

    def _arguments(self, job: Job) -> dict[str, Any]:
        found = docker_container.arguments(job, self._security, self._unenforced)
        return docker_podman.adapt(found, int(self._info["NCPU"])) if self._name == docker_podman.NAME else found

    @contextlib.contextmanager
    def _container(self, job: Job) -> Iterator[Container]:
        """Create the job's container and, however the block ends, stop and remove it."""
        with masked_signals(signal.SIG_BLOCK):
            container = self._client.containers.create(**self._arguments(job))
            try:
                with masked_signals(signal.SIG_UNBLOCK):
                    yield container
            finally:
                with contextlib.suppress(*FAILURES):  # too busy to stop it, or gone: the removal says which, and kills
                    container.stop(timeout=STOP_SECONDS)
                with contextlib.suppress(docker.errors.NotFound):
                    container.remove(force=True, v=True)


def _digest(reference: str, digests: Sequence[str]) -> str | None:
    """Pick the digest of the repository that the reference names, among those that the image was pulled from."""
    name, _, pinned = reference.partition("@")
    repository, _ = docker.utils.parse_repository_tag(name)
    own = [each for each in digests if each.startswith((f"{repository}@", f"docker.io/{repository}@"))]
    named = [each for each in own if pinned and each.endswith(f"@{pinned}")] or own or sorted(digests)
    return named[0].rpartition("@")[2] if named else None


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
