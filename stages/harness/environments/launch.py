"""What is run for an image, where it may read and write, and how it is stopped.

Environment what an image's name stands for: container.Container or interpreter.Interpreter, by select.environment
Work        one command of faceoff's, to be run in an environment
Engine      builds, pulls, finds images and runs jobs in them; docker_engine.DockerEngine is the real one
Job         one command in a container, with all that it may use
"""

import dataclasses
import os
import signal
import sys
from collections.abc import Callable, Iterable, Mapping, Sequence
from pathlib import Path
from typing import Protocol

from stages.errors import FaceoffError
from stages.harness.environments import cards
from stages.harness.params.schema import ContainerParams, size_bytes
from stages.harness.process.watchdog import Watch
from stages.records import Image

DISK_FULL = "the disk that holds Docker's images is full; make room, e.g. with docker system prune"
READ_ONLY = ("stages", "params.yaml", "data")
WRITABLE = ("metrics", "models")
STOP_SECONDS = 5  # from asking a job to end to killing it
KILLED = 128 + signal.SIGKILL
TRACEBACK_SIGNAL = signal.SIGUSR1  # at which a Python job may print where each thread is
TRACEBACK_SECONDS = 1  # for printing that
OWN_ENVIRONMENT = {"PYTHONUNBUFFERED": "1", "PYTHONFAULTHANDLER": "1"}  # of a Python that runs faceoff's own code
PYTHON_ENVIRONMENT = {**OWN_ENVIRONMENT, "PYTHONDONTWRITEBYTECODE": "1"}  # ... and of a job's, or in a container
TOKENS = (
    "KAGGLE_KEY",
    "KAGGLE_USERNAME",
    "KAGGLE_API_TOKEN",
    "KAGGLE_USER_SECRETS_TOKEN",
)  # which are for the download alone

Show = Callable[[str], None]  # takes a line of a build's or pull's output


@dataclasses.dataclass(frozen=True)
class Mount:
    """A file or folder of the host in a container."""

    source: Path  # on the host, without symbolic links
    target: Path  # in the container
    read_only: bool


@dataclasses.dataclass(frozen=True)
class Job:
    """One command and what it may use. Everything else (network, other files, privileges) it may not."""

    reference: str  # of the image
    command: tuple[str, ...]
    directory: Path
    mounts: tuple[Mount, ...]
    environment: Mapping[str, str]
    user: str  # uid:gid, who owns what it writes
    gpu_uuids: tuple[str, ...] | None  # the cards that it gets; empty: all that there are; None: no card
    shm_bytes: int
    memory_bytes: int | None
    cpus: float | None
    cpuset: str | None  # the CPUs that it may use, as the kernel lists them: '0-1,4'
    tty: bool
    labels: Mapping[str, str]


@dataclasses.dataclass(frozen=True)
class Work:
    """One command to run at the checkout's top, and what it is for; `python` as its first word is the image's."""

    command: tuple[str, ...]
    setting: str | None = None  # whose cell it is, which of results may write its own alone
    readable: tuple[Path, ...] = ()  # what it reads beside what its job does


@dataclasses.dataclass(frozen=True)
class Outcome:
    """How a command ended."""

    exit_code: int
    out_of_memory: bool  # the kernel killed a process of it for want of memory
    overdue: str | None = None  # which of schema.LimitParams it broke; it was killed for that
    isolated: bool = True  # within a container's walls and limits
    some_killed: bool = False  # it was killed, and meanwhile the kernel killed some process here for want of memory
    met_read_only: bool = False  # it said that it wrote to a folder that a container only reads


@dataclasses.dataclass(frozen=True)
class Found:
    """An image that the engine has."""

    image_id: str
    size_bytes: int
    digest: str | None  # that it was pulled by, the same at every site; None: built or imported here


@dataclasses.dataclass(frozen=True)
class About:
    """The engine itself."""

    version: str
    runtime: str  # that runs its containers
    name: str = "Docker"  # or 'Podman'
    unenforced: tuple[str, ...] = ()  # keys of `container` in params.yaml that it can't hold a container to


class BuildFailed(FaceoffError):
    """A step of the build failed; `lines` are the last that it printed."""

    def __init__(self, message: str, lines: Sequence[str]) -> None:
        super().__init__(message)
        self.lines = tuple(lines)


class ProgramMissing(FaceoffError):
    """The image has no such program on its PATH."""


class ProgramForbidden(ProgramMissing):
    """... or none that the job's user may run.

    Under another name there may be one: where a folder of PATH is closed to the user, nobody can tell what is in it.
    """


class Environment(Protocol):
    """What a job runs in. Every method raises FaceoffError in one line."""

    isolated: bool  # whether what params.yaml says of containers, and their walls, hold

    def make(self, before: Image | None, show: Show) -> Image:
        """Have it there, nothing made twice; check what it holds, and say what it is: `before`, where it still is."""

    def run(self, work: Work, watch: Watch | None = None) -> Outcome:
        """Run the work, its output going to this process's as it comes. Nothing of it is left, however this ends."""


class Engine(Protocol):
    """What faceoff needs of a container engine. Every method raises FaceoffError in one line."""

    def about(self) -> About:
        """Return what the engine is."""

    def check_sees(self, checkout: Path) -> None:
        """Raise FaceoffError unless the engine sees the checkout itself; it may run elsewhere."""

    def find(self, reference: str) -> Found | None:
        """Return the image of that name, if the engine has it."""

    def pull(self, reference: str, show: Show) -> None:
        """Fetch the image from its registry."""

    def build(
        self, files: Mapping[str, bytes], tag: str, arguments: Mapping[str, str], network: str | None, show: Show
    ) -> None:
        """Build `files`, one of them the Dockerfile, as `tag`. Raises BuildFailed with the output's last lines."""

    def run(self, job: Job, watch: Watch | None = None) -> Outcome:
        """Run the job, its output going to this process's as it comes. Nothing of it is left, however this ends.

        Raises ProgramMissing or ProgramForbidden where its program does not start.
        """

    def remove_left_over(self, checkout: Path) -> None:
        """Remove the containers of this checkout whose faceoff is gone, having been killed; no other's."""


def with_python(command: tuple[str, ...], python: str) -> tuple[str, ...]:
    """Return the command with this Python in the place of `python` as its first word."""
    return (python, *command[1:]) if command[0] == "python" else command


def container_job(
    reference: str,
    command: tuple[str, ...],
    root: Path,
    mounts: tuple[Mount, ...],
    container: ContainerParams,
    gpus: tuple[str, ...] | None,
    env: Mapping[str, str],
    labels: Mapping[str, str],
) -> Job:
    """Return the job that runs `command` at `root`, the checkout's absolute path, in an image."""
    return Job(
        reference=reference,
        command=command,
        directory=root,
        mounts=mounts,
        environment={**_container_environment(), **cards.variables(gpus), **env},
        user=f"{os.getuid()}:{os.getgid()}",
        gpu_uuids=gpus,
        shm_bytes=size_bytes(container.shm_size),
        memory_bytes=None if container.memory is None else size_bytes(container.memory),
        cpus=container.cpus,
        cpuset=container.cpuset,
        tty=sys.stdout.isatty(),
        labels=labels,
    )


def checkout_mounts(root: Path, readable: Iterable[Path] = (), setting: str | None = None) -> tuple[Mount, ...]:
    """Code and data to read, metrics and models to write, each at the path that it has on the host.

    `readable`: what the job needs beside that, its own folder for example. Of metrics and models a setting's cells may
    write only what is theirs.
    """
    own = WRITABLE if setting is None else tuple(f"{name}/{setting}" for name in WRITABLE)
    for name in own:
        (root / name).mkdir(parents=True, exist_ok=True)
    shared = [root / name for name in (READ_ONLY if setting is None else READ_ONLY + WRITABLE)]
    mounts = [Mount(path.resolve(), path, True) for path in (*shared, *readable) if path.exists()]
    mounts += [Mount((root / name).resolve(), root / name, False) for name in own]
    mounts += _linked_mounts(root / "data")
    return tuple({mount.target: mount for mount in mounts}.values())


def _container_environment() -> dict[str, str]:
    # The caller's uid has no name in the image: torch asks for one, and it can write nowhere but in /tmp.
    environment = {**PYTHON_ENVIRONMENT, "HOME": "/tmp", "USER": "faceoff", "LOGNAME": "faceoff"}  # noqa: S108
    if sys.stdout.isatty():
        environment["TERM"] = os.environ.get("TERM", "xterm")
    return environment


def _linked_mounts(data: Path) -> list[Mount]:
    """Mounts, read-only, for the folders that symbolic links in `data` lead to, at the path that the link says."""
    targets: dict[Path, Path] = {}
    for folder, folders, files in os.walk(data):
        for link in (Path(folder, name) for name in (*folders, *files)):
            if link.is_symlink():
                said = Path(os.path.normpath(link.parent / link.readlink()))
                said = said if said.is_dir() else said.parent
                if said.is_dir() and data not in (said, *said.parents):
                    targets[said] = said.resolve()
    return [Mount(source, target, True) for target, source in sorted(targets.items())]
