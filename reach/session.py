"""One session of a face-off in this checkout: set up, run, pack what it left. What every engine of reach/ starts.

    python reach/session.py --pack FILE [--preset NAME] [--state FILE]

Standard library only: nothing is installed yet where it starts. It ends with 0 once all is measured, with 75 where the
session's time is over and another one goes on, with 128 + n after signal n, else with the code of what failed.
"""

import argparse
import datetime
import importlib.metadata
import importlib.util
import json
import os
import re
import shutil
import signal
import subprocess
import sys
from collections.abc import Mapping
from pathlib import Path
from types import FrameType

ROOT = Path(__file__).resolve().parent.parent
LOCK = ROOT / "stages/requirements.lock"
PINNED = re.compile(r"^([A-Za-z0-9._-]+)==([^ ;\\]+)( *;)?", re.MULTILINE)  # with a marker: not for every Python
TRY_LATER = 75  # stages.errors has it too, which imports once the checkout is on the path
STOPS = (signal.SIGTERM, signal.SIGINT, signal.SIGHUP)
# What a notebook sets for its own Python and its page: no progress bars, and none of its modules.
NOTEBOOK = ("MPLBACKEND", "FORCE_COLOR", "CLICOLOR", "CLICOLOR_FORCE", "PY_COLORS", "PYTHONPATH", "PYTHONHOME")
RUNNING, DONE, TIMED_OUT, STOPPED, FAILED = "running", "done", "timed-out", "stopped", "failed"


class Steps:
    """Runs commands one after the other: a signal to stop is handed on to the one that runs, and none begins later."""

    def __init__(self) -> None:
        """Listen for signals from now on."""
        self._stopped: int | None = None
        self._process: subprocess.Popen[bytes] | None = None
        for each in STOPS:
            if each != signal.SIGHUP or signal.getsignal(each) != signal.SIG_IGN:  # by nohup
                signal.signal(each, self._stop)

    def run(self, command: list[str], environment: Mapping[str, str] | None = None) -> int:
        """Run a command to its end. Its exit code, or 128 + n once signal n has come."""
        if self._stopped is None:
            environment = environment or {name: each for name, each in os.environ.items() if name not in NOTEBOOK}
            process = subprocess.Popen(command, cwd=ROOT, env=environment, stdin=subprocess.DEVNULL, process_group=0)
            self._process = process
            if self._stopped is not None:  # it came while the command was started
                process.send_signal(signal.SIGTERM)
            code = process.wait()
            self._process = None
            if self._stopped is None:
                return code if code >= 0 else 128 - code
        return 128 + self._stopped

    def _stop(self, number: int, frame: FrameType | None) -> None:
        self._stopped = number
        if self._process is not None:
            self._process.send_signal(signal.SIGTERM)


def main() -> int:
    """Run the session, and keep in its state file how it stands."""
    parser = argparse.ArgumentParser(description="One session of a face-off in this checkout.")
    parser.add_argument("--pack", type=Path, required=True, metavar="FILE", help="where the pack goes")
    parser.add_argument("--preset", metavar="NAME", help="a file of presets/, without .yaml")
    parser.add_argument("--state", type=Path, metavar="FILE", help="where to keep how it stands")
    given = parser.parse_args()
    if sys.version_info < (3, 11):
        sys.exit(f"faceoff needs Python 3.11 or newer, and {sys.executable} is {sys.version.split()[0]}")
    note(given.state, RUNNING)
    code = run(Steps(), given.preset)
    for each in STOPS:
        signal.signal(each, signal.SIG_IGN)  # what is whole is packed yet: killed there, it is still in metrics/
    packed = pack(given.pack.resolve())
    state = {0: DONE, TRY_LATER: TIMED_OUT}.get(code, STOPPED if code > 128 else FAILED)
    if state == DONE and packed:
        state, code = FAILED, packed
    note(given.state, state, code)
    return code


def run(steps: Steps, preset: str | None) -> int:
    """Set up, and run the pipeline. The exit code of what failed, or 0."""
    python, code = harness_python(), 0
    if python is None:
        python, code = str(_venv_python()), set_up(steps)
    code = code or steps.run([python, "-m", "stages.params", *(["--preset", preset] if preset else [])])
    code = code or steps.run([python, "-m", "stages.repro"])
    return code or steps.run([python, "-m", "stages.publish"])


def pack(path: Path) -> int:
    """Pack what is whole; what nothing of is whole leaves no pack."""
    python = _venv_python()
    if not python.exists():
        python = Path(sys.executable)
    return subprocess.run([python, "-m", "stages.pack", "--output", path], cwd=ROOT, check=False).returncode


def harness_python() -> str | None:
    """Return .venv's Python, which runs every stage: this one, where it holds the lock; None: .venv is to be made."""
    made = _venv_python()
    if not made.exists():
        if lacking():
            return None
        (ROOT / ".venv").symlink_to(sys.prefix)  # where it is a virtual environment, it is known by its folder
    if not made.exists():  # it is called python3 alone
        (ROOT / ".venv").unlink()
        made.parent.mkdir(parents=True)
        made.symlink_to(sys.executable)
    return str(made)


def set_up(steps: Steps) -> int:
    """Make .venv from the lock; the exit code. One that was not made whole is removed."""
    sys.path.insert(0, str(ROOT))
    from stages.harness.environments import pip as settings  # standard library only too

    print("faceoff: setting up .venv from stages/requirements.lock", flush=True)
    folder, made = ROOT / ".venv", str(_venv_python())
    # By this Python's own pip where it has one: notebooks' Pythons often cannot put one into a new environment.
    own = importlib.util.find_spec("pip") is not None
    pip = [sys.executable, "-m", "pip", "--python", made] if own else [made, "-m", "pip"]
    install = [*pip, "install", "--quiet", "--require-hashes", "--no-deps", *_wheels(), "-r", str(LOCK)]
    code = steps.run([sys.executable, "-m", "venv", *(["--without-pip"] if own else []), str(folder)])
    code = code or steps.run(install, settings.environment(Path(pip[0])))
    code = code or steps.run([made, "-Ic", "import dvc.cli"])  # it is there, and not where a setting of pip's leads
    if code == 0:
        (folder / "harness.stamp").touch()
        return 0
    shutil.rmtree(folder, ignore_errors=True)
    if code < 128:
        print("faceoff: .venv was not set up; the words above say why: is there a package index?", file=sys.stderr)
    return code


def lacking() -> list[str]:
    """Return what of the lock this Python lacks."""
    held: dict[str, str] = {}
    for each in importlib.metadata.distributions():
        held.setdefault(_plain(each.name), each.version)  # the first on the path is what is imported
    wanted: dict[str, set[str | None]] = {}
    for name, version, marked in PINNED.findall(LOCK.read_text(encoding="utf-8")):
        wanted.setdefault(_plain(name), set()).update({version, None} if marked else {version})
    return sorted(name for name, versions in wanted.items() if held.get(name) not in versions)


def note(path: Path | None, state: str, code: int | None = None) -> None:
    """Keep how the session stands, whole or not at all: whoever follows it reads along."""
    if path is None:
        return
    now = datetime.datetime.now(datetime.timezone.utc).isoformat(timespec="seconds")
    job, restarts = os.environ.get("SLURM_JOB_ID"), os.environ.get("SLURM_RESTART_COUNT", "0")
    text = json.dumps({"state": state, "code": code, "at": now, "job": job, "restarts": int(restarts)})
    half = path.with_name(f".{path.name}.half")
    half.write_text(text + "\n", encoding="utf-8")
    half.replace(path)


def _wheels() -> list[str]:
    """Return pip's options for a machine without a network: a folder named there that has the lock's wheels."""
    folder = os.environ.get("FACEOFF_WHEELS")
    return ["--no-index", "--find-links", folder] if folder else []


def _venv_python() -> Path:
    return ROOT / ".venv/bin/python"


def _plain(name: str) -> str:
    return re.sub(r"[-_.]+", "-", name).lower()


if __name__ == "__main__":
    sys.exit(main())
