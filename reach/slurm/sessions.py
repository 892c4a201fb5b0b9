"""The folders of sessions, and in which of a few named states each is.

A session's folder is on the file system that the nodes share. It holds a checkout of its own, the job's log, how the
session itself says it stands, and in the end its pack. A job that comes back, requeued or handed in again, goes on.
"""

import dataclasses
import json
import math
import shlex
import shutil
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path

from reach import checkout, session
from reach.slurm import queue
from reach.slurm.queue import Shown
from stages import codec
from stages.errors import FaceoffError
from stages.harness.params.overrides import merged

SUBMITTED, STATE, LOG, PACK, CHECKOUT = "submitted.json", "state.json", "log.txt", "pack.zip", "checkout"
WARNING_SECONDS = 90  # before the limit, when Slurm warns; it may be 30 s early
WAITING, REQUEUED, CANCELLED, LOST = "waiting", "requeued", "cancelled", "lost"
UNDERWAY = (WAITING, REQUEUED, session.RUNNING)
OF_SLURM = {  # its state, and what that is here; of others the session's own word counts
    "CANCELLED": CANCELLED,
    "TIMEOUT": session.TIMED_OUT,
    "DEADLINE": session.TIMED_OUT,
    "NODE_FAIL": "node-failed",
    "BOOT_FAIL": "node-failed",
    "OUT_OF_MEMORY": "out-of-memory",
    "PREEMPTED": "preempted",
}
ENDED = (*OF_SLURM, "COMPLETED", "FAILED")


@dataclasses.dataclass(frozen=True)
class Submitted:
    """submitted.json: what was handed in, and as which jobs; the last one counts."""

    site: str
    node: str | None  # None: whichever Slurm picks
    minutes: int
    options: tuple[str, ...]  # of sbatch
    jobs: tuple[str, ...]


@dataclasses.dataclass(frozen=True)
class Standing:
    """A session's state, and a word on why."""

    state: str
    why: str = ""


def prepare(root: Path, folder: Path, site: str, count: int, preset: str | None, minutes: int) -> list[Path]:
    """Make so many folders of a site, each with a checkout whose session.max_hours is what the job gets."""
    if not (root / ".venv/harness.stamp").exists():
        raise FaceoffError(f"{root}/.venv is not set up, and nodes share it: run `make preflight` here first")
    folder.mkdir(parents=True, exist_ok=True)
    last = max((int(number) for number in _numbers(folder, site)), default=0)
    made = [folder / f"{site}-{last + 1 + index}" for index in range(count)]
    for each in made:
        each.mkdir()
        checkout.copy(root, each / CHECKOUT)
    first = made[0] / CHECKOUT / "params.yaml"
    command = [sys.executable, "-m", "stages.params", *(["--preset", preset] if preset else [])]
    done = subprocess.run(command, cwd=first.parent, capture_output=True, text=True, errors="replace")
    if done.returncode:
        for each in made:
            shutil.rmtree(each)
        raise FaceoffError((done.stderr.strip().splitlines() or ["params"])[-1].removeprefix("faceoff: "))
    hours = round(max(minutes - 2 * WARNING_SECONDS / 60, minutes / 2) / 60, 3)
    text = merged(first.read_text(encoding="utf-8"), {"session": {"max_hours": hours}})
    for each in made:
        (each / CHECKOUT / "params.yaml").write_text(text, encoding="utf-8")
    return made


def submit(folder: Path, wanted: Submitted) -> Submitted:
    """Hand in the session's next job."""
    here = str(folder).replace("%", "%%")  # % is a pattern there
    options = [
        f"--job-name=faceoff-{folder.name}",
        *(f"--{name}={here}/{LOG}" for name in ("output", "error")),
        *(f"--chdir={folder}", "--open-mode=append", "--requeue"),
        *(f"--time={wanted.minutes}", f"--signal=B:TERM@{WARNING_SECONDS}"),
        *([f"--nodelist={wanted.node}"] if wanted.node else []),
    ]
    job = queue.submit(script(folder), [*options, *wanted.options])
    kept = dataclasses.replace(wanted, jobs=(*wanted.jobs, job))
    codec.write(folder / SUBMITTED, kept)
    return kept


def script(folder: Path) -> str:
    """Write the job's script: the shell gives way to the session, so that Slurm's warning reaches it."""
    command = [".venv/bin/python", "reach/session.py", "--pack", str(folder / PACK), "--state", str(folder / STATE)]
    where = shlex.quote(str(folder / CHECKOUT))
    return f"#!/bin/bash\nunset SLURM_EXPORT_ENV\ncd {where} && exec {shlex.join(command)}\n"


def minutes(hours: float) -> int:
    """Return whole minutes, in which Slurm counts."""
    return max(1, math.ceil(hours * 60))


def read(folder: Path) -> dict[Path, Submitted]:
    """Read all sessions that were handed in. Raises FaceoffError where there is none."""
    found = {path.parent: codec.read(path, Submitted) for path in sorted(folder.glob(f"*/{SUBMITTED}"))}
    if not found:
        raise FaceoffError(f"{folder}: no session was handed in: .venv/bin/python -m reach.slurm submit --help")
    return dict(sorted(found.items(), key=lambda each: (each[1].site, _number(each[0]))))


def standing(folder: Path, wanted: Submitted) -> Standing:
    """Say how a session stands."""
    return judged(queue.show(wanted.jobs[-1]), _noted(folder), wanted.jobs[-1])


def judged(shown: Shown | None, noted: dict[str, object], job: str) -> Standing:
    """Put together what Slurm says of the job and what the session has said itself."""
    own = str(noted.get("state", "")) if noted.get("job") == job else ""
    ended = own not in ("", session.RUNNING)
    if shown is None:
        if not ended:
            return Standing(LOST, f"Slurm has forgotten job {job}, and it left no word")
        return Standing(CANCELLED if own == session.STOPPED else own, _exit(noted))
    if shown.state not in ENDED:
        if shown.state == "PENDING":
            return Standing(REQUEUED if shown.restarts else WAITING, f"Slurm: {shown.reason}")
        return Standing(session.RUNNING, f"on {shown.node}")
    if own == session.DONE:
        return Standing(own)
    if shown.state in OF_SLURM:
        return Standing(OF_SLURM[shown.state], f"Slurm: {shown.state}")
    if own == session.STOPPED:
        return Standing(session.TIMED_OUT if _at_limit(shown) else own, "a signal came")
    return Standing(own, _exit(noted)) if ended else Standing(session.FAILED, f"Slurm: {shown.reason}, no word of it")


def _at_limit(shown: Shown) -> bool:
    return shown.limit_seconds is not None and shown.ran_seconds >= shown.limit_seconds - WARNING_SECONDS - 60


def _exit(noted: dict[str, object]) -> str:
    return "" if noted.get("state") == session.DONE else f"exit code {noted.get('code')}"


def _noted(folder: Path) -> dict[str, object]:
    try:
        found = json.loads((folder / STATE).read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return {}
    return found if isinstance(found, dict) else {}


def _numbers(folder: Path, site: str) -> Sequence[str]:
    ends = (each.name.rpartition("-") for each in folder.glob(f"{site}-*"))
    return [number for name, _, number in ends if name == site and number.isdigit()]


def _number(folder: Path) -> int:
    return int(folder.name.rpartition("-")[2])
