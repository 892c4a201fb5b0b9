"""Slurm by its own commands: sbatch with the script on stdin, and scontrol, which needs no accounting database."""

import dataclasses
import os
import re
import subprocess
from collections.abc import Sequence

from stages.errors import FaceoffError

SHOWN = re.compile(r"(?:^| )(JobState|Reason|NodeList|Restarts|RunTime|TimeLimit)=(\S*)")
FORGOTTEN = "Invalid job id"
LIMIT = re.compile(r"(?:(\d+)-)?(\d+):(\d+):(\d+)")
# What of this shell a session gets: what finds programs, packages and an engine. All else stays, secrets among it.
EXPORTED = (
    *("PATH", "HOME", "USER", "LOGNAME", "LANG", "TZ", "TMPDIR", "DOCKER_HOST", "PIP_INDEX_URL", "PIP_CERT"),
    *("HTTP_PROXY", "HTTPS_PROXY", "NO_PROXY", "http_proxy", "https_proxy", "no_proxy"),
)


@dataclasses.dataclass(frozen=True)
class Shown:
    """What Slurm says of a job."""

    state: str  # JobState: PENDING, RUNNING, COMPLETING, COMPLETED, ...
    reason: str
    node: str
    restarts: int
    ran_seconds: int
    limit_seconds: int | None  # None: UNLIMITED


def submit(script: str, options: Sequence[str]) -> str:
    """Hand in a job. Returns its id; raises FaceoffError with Slurm's own words where it refuses."""
    kept = {name: each for name, each in os.environ.items() if name == "SLURM_CONF" or not _of_slurm(name)}
    exported = ",".join(name for name in EXPORTED if name in os.environ)
    done = _run(["sbatch", "--parsable", f"--export={exported}", *options], script, kept)
    if done.returncode:
        raise FaceoffError(f"sbatch refused the job ({_words(done)}): change the options after --, or ask `sinfo`")
    return done.stdout.strip().split(";")[0]  # "id;cluster" where there are several


def show(job: str) -> Shown | None:
    """Ask for a job; None once Slurm has forgotten it, minutes after its end."""
    done = _run(["scontrol", "show", "job", "-o", job])
    if done.returncode:
        if FORGOTTEN in done.stderr:
            return None
        raise FaceoffError(f"scontrol does not answer ({_words(done)}): is its controller up? The jobs go on without")
    found = dict(SHOWN.findall(done.stdout.splitlines()[0]))
    return Shown(
        state=found["JobState"],
        reason=found.get("Reason", "None"),
        node=found.get("NodeList", "(null)"),
        restarts=int(found.get("Restarts", 0)),
        ran_seconds=seconds(found.get("RunTime", "")) or 0,
        limit_seconds=seconds(found.get("TimeLimit", "")),
    )


def seconds(text: str) -> int | None:
    """Read a time such as 1-02:03:04; None for UNLIMITED."""
    found = LIMIT.fullmatch(text)
    if found is None:
        return None
    days, hours, minutes, rest = (int(each or 0) for each in found.groups())
    return ((24 * days + hours) * 60 + minutes) * 60 + rest


def _of_slurm(name: str) -> bool:
    """Whether it is the setting of an outer job, which would leak into this one."""
    return name.startswith(("SLURM_", "SBATCH_"))


def _run(
    command: list[str], given: str | None = None, environment: dict[str, str] | None = None
) -> subprocess.CompletedProcess[str]:
    try:
        return subprocess.run(command, input=given, env=environment, capture_output=True, text=True, errors="replace")
    except OSError as error:
        raise FaceoffError(
            f"cannot run {command[0]}: {error.strerror}: run this where Slurm's commands are, on a login node"
        ) from None


def _words(done: subprocess.CompletedProcess[str]) -> str:
    lines = [line for line in done.stderr.splitlines() if line.strip()] or [f"exit code {done.returncode}"]
    return lines[-1].strip()
