"""A job as a container of Docker's: what it is created with, what it prints, and how it is killed."""

import contextlib
import dataclasses
import errno
import os
import re
import sys
import time
from collections.abc import Collection, Sequence
from typing import Any, BinaryIO

import docker.errors
from docker.models.containers import Container
from docker.types import CancellableStream, DeviceRequest, Mount

from stages.harness.environments.docker_advice import FAILURES
from stages.harness.environments.launch import (
    TRACEBACK_SECONDS,
    TRACEBACK_SIGNAL,
    Job,
    ProgramForbidden,
    ProgramMissing,
)

READ_ONLY = os.strerror(errno.EROFS).encode()
PIDS_LIMIT = 4096  # loader processes times threads; far above any job, far below what hurts the machine
NOT_RUN = (126, 127, 1)  # exit codes of what could not be started; Podman's init has one for all
# What a container's init says where it finds no program to start, or may not start it: Docker's, and Podman's.
INIT_WORDS = re.compile(rb"(\[FATAL tini \(\d+\)\] exec .* failed|.*\(catatonit:\d+\): failed to exec pid1): .*\s*")
INIT_BEGINS = re.compile(rb"\[FATAL tini \(|.*\(catatonit:\d+\)")
WORD_SECONDS = 1.0  # by which an engine may be late to say that a process was killed for want of memory
INIT_BYTES = 4096  # more than its words come to, which may come in pieces
FORBIDDEN = os.strerror(errno.EACCES).encode()
ENGINE_WORDS = re.compile(
    r'exec: "[^"]*": ((?P<missing>executable file not found|stat .* no such file)|permission denied)'
)


def arguments(job: Job, security: Collection[str], unenforced: Collection[str]) -> dict[str, Any]:
    """Return what the container is created with; `security`: the engine's options, of what it can't limit nothing."""
    limits = {
        "mem_limit": None if "memory" in unenforced else job.memory_bytes,
        "memswap_limit": None if "memory" in unenforced else job.memory_bytes,  # equal: no swap, which would be slow
        "nano_cpus": None if "cpus" in unenforced or job.cpus is None else int(job.cpus * 1e9),
        "cpuset_cpus": None if "cpuset" in unenforced else job.cpuset,
        "pids_limit": None if "processes" in unenforced else PIDS_LIMIT,
    }
    return limits | {
        "image": job.reference,
        "command": list(job.command),
        # A ready-made image may have these of its own. A look at its health would run beside what is timed.
        "entrypoint": [],
        "healthcheck": {"test": ["NONE"]},
        "stop_signal": "SIGTERM",
        "working_dir": str(job.directory),
        "mounts": [Mount(str(each.target), str(each.source), "bind", each.read_only) for each in job.mounts],
        "environment": dict(job.environment),
        "use_config_proxy": False,  # the SDK would add config.json's proxies: a job has no network
        "user": user(job, security),
        "userns_mode": "host" if "userns" in security else None,  # the caller's uid is then the caller's in there too
        "device_requests": None if job.gpu_uuids is None else [_gpus(job.gpu_uuids)],
        "shm_size": job.shm_bytes,
        "tty": job.tty,
        "labels": dict(job.labels),
        "init": True,
        "network_mode": "none",
        "read_only": True,
        "tmpfs": {"/tmp": "rw,exec,nosuid,nodev,mode=1777"},  # noqa: S108
        "cap_drop": ["ALL"],
        # Without the label, SELinux would keep a container from the checkout unless all of it were relabelled.
        "security_opt": ["no-new-privileges", "label=disable"],
    }


def user(job: Job, security: Collection[str]) -> str:
    """Return the user as whom what the job writes is the caller's: a rootless engine's root is whoever started it."""
    return "0:0" if "rootless" in security else job.user


def _gpus(uuids: Sequence[str]) -> DeviceRequest:
    """Ask for these cards, or for all that there are."""
    which: dict[str, Any] = {"device_ids": list(uuids)} if uuids else {"count": -1}
    return DeviceRequest(capabilities=[["gpu"]], **which)


@dataclasses.dataclass
class Output:
    """What a container prints, handed on as it comes."""

    met_read_only: bool = False  # it told of a write to what is read-only
    has_begun: bool = False
    held: bytes = b""  # what may be its init's words, which come first and alone
    holder: BinaryIO | None = None  # where they would go

    def copy(self, chunk: bytes | tuple[bytes | None, bytes | None]) -> None:
        """Hand it on."""
        out, err = (chunk, None) if isinstance(chunk, bytes) else chunk
        for data, stream in ((out, sys.stdout), (err, sys.stderr)):
            if not data:
                continue
            if stream.buffer is self.holder or (not self.has_begun and INIT_BEGINS.match(data)):
                self.held, self.holder = self.held + data, stream.buffer
                if len(self.held) > INIT_BYTES:
                    self._let_go()
            else:
                self.met_read_only |= READ_ONLY in data
                stream.buffer.write(data)
                stream.flush()
            self.has_begun = True

    def ended(self, exit_code: int, job: Job, user: str) -> None:
        """Raise ProgramMissing or ProgramForbidden where the container's init has said so."""
        if exit_code in NOT_RUN and INIT_WORDS.fullmatch(self.held):
            raise not_run(job, user, is_forbidden=FORBIDDEN in self.held)
        self._let_go()

    def _let_go(self) -> None:
        if self.holder is not None:
            self.holder.write(self.held)
            self.holder.flush()
        self.held, self.holder = b"", None


def not_run(job: Job, user: str, is_forbidden: bool) -> ProgramMissing:
    """Return the error for a program that did not start."""
    if not is_forbidden:
        return ProgramMissing(f"{job.reference} has no program {job.command[0]} on its PATH", 127)
    uid = user.partition(":")[0]
    return ProgramForbidden(
        f"{job.command[0]} of {job.reference} may not be run by uid {uid}, as which its jobs run: it or a folder above "
        "it, as /root, is closed to that user; in a Dockerfile, install it elsewhere, or open the folders above it "
        "(RUN chmod a+rx /root)",
        126,
    )


def go(container: Container, job: Job, user: str) -> tuple[int, bool]:
    """Run the container and hand on what it prints: its exit code, and whether it met a read-only place."""
    output = Output()
    with contextlib.closing(_attach(container, job.tty)) as stream:
        try:
            container.start()
        except docker.errors.APIError as error:
            refused = ENGINE_WORDS.search(str(error))
            if refused:
                raise not_run(job, user, is_forbidden=refused["missing"] is None) from None
            raise
        if job.tty:
            columns, lines = os.get_terminal_size(sys.stdout.fileno())  # not COLUMNS and LINES, which may be stale
            with contextlib.suppress(docker.errors.APIError):  # it may have ended already
                container.resize(lines, columns)
        for chunk in stream:
            output.copy(chunk)
    exit_code = int(container.wait()["StatusCode"])
    output.ended(exit_code, job, user)
    return exit_code, output.met_read_only


def out_of_memory(container: Container, is_likely: bool) -> bool:
    """Return whether the kernel killed a process of it for want of memory, as the engine says.

    Its word may come late: under cgroup 1 the event races with the end of the container. It is waited for if it is
    likely to come.
    """
    end = time.monotonic() + (WORD_SECONDS if is_likely else 0.0)
    while True:
        container.reload()
        if container.attrs["State"]["OOMKilled"] or time.monotonic() >= end:
            return bool(container.attrs["State"]["OOMKilled"])
        time.sleep(0.1)


def _attach(container: Container, tty: bool) -> "CancellableStream[Any]":
    """Give the output of the container as it comes: (stdout, stderr), or of a terminal, which has one stream, bytes.

    To be closed before the container is stopped: Docker waits for a reader that does not read.
    """
    return container.attach(stream=True) if tty else container.attach(stream=True, demux=True)


def kill(container: Container) -> None:
    """Have the job say where it stands, then kill it."""
    with contextlib.suppress(*FAILURES):  # it has ended meanwhile, or the engine has, which `run` notices too
        container.kill(TRACEBACK_SIGNAL)
        time.sleep(TRACEBACK_SECONDS)
        container.kill()
