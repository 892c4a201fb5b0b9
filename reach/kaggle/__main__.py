"""A session of this checkout's face-off on Kaggle, and its pack back as a site.

python -m reach.kaggle push --accelerator NvidiaTeslaT4 [--preset kaggle] [--as kaggle]     three times, or more
python -m reach.kaggle follow                 wait for those that were pushed, and collect their packs
python -m reach.kaggle delete NAME [NAME ..]  delete kernels, which ends them and their bill
"""

import argparse
import json
import math
import os
import re
import secrets
import subprocess
import sys
import time
import zipfile
from pathlib import Path

from reach import session
from reach.kaggle import kernels, script
from reach.kaggle.kernels import Kaggle, Kernel
from stages import codec
from stages.errors import FaceoffError, run_entry
from stages.harness.params import schema
from stages.harness.sites import names

FOLDER = Path(".reach/kaggle")
KERNEL, COLLECTED = "kernel.json", "collected"
POLL_SECONDS = 20.0
MODELS = {  # what a card of that accelerator is called; of a TPU nothing can be looked at
    "NvidiaTeslaT4": "T4",
    "NvidiaTeslaP100": "P100",
    "NvidiaL4": "L4",
    "NvidiaL4X1": "L4",
    "NvidiaTeslaA100": "A100",
    "NvidiaH100": "H100",
    "NvidiaRtxPro6000": "RTX PRO 6000",
}


def main() -> int:
    """Read the command line, and do what it says."""
    parser = argparse.ArgumentParser(
        prog=".venv/bin/python -m reach.kaggle",
        description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    doing = parser.add_subparsers(dest="doing", required=True)
    push = doing.add_parser("push", help="start a session")
    push.add_argument("--accelerator", required=True, help=f"none, {', '.join(MODELS)}, or another of Kaggle's")
    push.add_argument("--as", dest="site", default="kaggle-1", metavar="SITE", help="its site; kaggle-1 if not given")
    push.add_argument("--preset", metavar="NAME", help="a file of presets/, without .yaml")
    push.add_argument("--user", help="of Kaggle; if not given, KAGGLE_USERNAME or that of ~/.kaggle/kaggle.json")
    push.add_argument("--hours", type=float, help="after which Kaggle ends it; if not given, Kaggle's own limit")
    push.add_argument("--wheels", metavar="USER/SET", help="data set with the lock's wheels: it needs no internet then")
    follow = doing.add_parser("follow", help="wait, and collect")
    follow.add_argument("--once", action="store_true", help="do not wait")
    follow.add_argument("--any-accelerator", action="store_true", help="collect what ran on another one than asked for")
    delete = doing.add_parser("delete", help="end and delete kernels")
    delete.add_argument("names", nargs="+", metavar="NAME")
    given = parser.parse_args()
    if given.doing == "push":
        return _push(given)
    found = read()
    if given.doing == "delete":
        return _delete(found, given.names)
    return _follow(found, not given.once, given.any_accelerator)


def read() -> dict[Path, Kernel]:
    """Read which kernels are ours. Raises FaceoffError where there is none."""
    found = {path.parent: codec.read(path, Kernel) for path in sorted(FOLDER.glob(f"*/{KERNEL}"))}
    if not found:
        raise FaceoffError(f"{FOLDER}: no session was pushed: .venv/bin/python -m reach.kaggle push --help")
    return found


def _push(given: argparse.Namespace) -> int:
    names.check_site(given.site)
    if given.hours is not None and not 0 < given.hours < math.inf:
        raise FaceoffError(f"--hours: expected a number above 0, found {given.hours:g}", exit_code=2)
    if given.preset:
        schema.with_preset(given.preset)  # what is wrong is told here, not by a session that waits for a machine first
    else:
        schema.load()
    slug = f"faceoff-{given.site.replace('_', '-')}-{secrets.token_hex(3)}"
    kernel = Kernel(given.user or _user(), slug, given.site, given.accelerator)
    text = script.render(Path.cwd(), given.preset)
    folder = FOLDER / slug
    folder.mkdir(parents=True)
    codec.write(folder / KERNEL, kernel)
    try:
        address = Kaggle().push(kernel, text, given.hours, given.wheels)
    except FaceoffError as error:
        state = "look by `follow --once` whether it came there"
        raise FaceoffError(f"{error}; {slug}: {state}") from None
    print(f"{slug}: {address}")
    print(".venv/bin/python -m reach.kaggle follow waits for it, and collects its pack; it needs it not.")
    return 0


def _user() -> str:
    name = os.environ.get("KAGGLE_USERNAME")
    if name:
        return name
    try:
        return str(json.loads(Path("~/.kaggle/kaggle.json").expanduser().read_text(encoding="utf-8"))["username"])
    except (OSError, ValueError, KeyError, TypeError):
        raise FaceoffError("whose kernel? --user NAME, or KAGGLE_USERNAME: found neither, nor in ~/.kaggle") from None


def _follow(found: dict[Path, Kernel], wait: bool, any_accelerator: bool) -> int:
    kaggle, seen = Kaggle(), dict[Path, str]()
    open_ = {folder: kernel for folder, kernel in found.items() if not (folder / COLLECTED).exists()}
    while True:
        for folder, kernel in open_.items():
            if seen.get(folder, kernels.QUEUED) in kernels.UNDERWAY:
                state, why = kaggle.state(kernel)
                if state not in kernels.UNDERWAY and state != kernels.MISSING:
                    kaggle.fetch(kernel, folder)
                    state = _own_state(folder, state)
                if seen.get(folder) != state:
                    print(f"{kernel.slug}: {state}" + (f" ({why})" if why else ""))
                seen[folder] = state
        if not wait or not any(each in kernels.UNDERWAY for each in seen.values()):
            break
        time.sleep(POLL_SECONDS)
    codes = [
        _collect(folder, open_[folder], kaggle.machine(open_[folder]), any_accelerator)
        for folder, state in seen.items()
        if state == session.DONE
    ]
    left = [each for each in seen.values() if each not in (*kernels.UNDERWAY, session.DONE)]
    return 1 if left or any(codes) else 0


def _own_state(folder: Path, state: str) -> str:
    """Return what the session says of itself, where Kaggle says only that the script ended."""
    try:
        own = json.loads((folder / "state.json").read_text(encoding="utf-8"))["state"]
    except (OSError, ValueError, KeyError, TypeError):
        return session.FAILED if state == kernels.ENDED else state
    if own == session.RUNNING:  # it was cut off
        return session.TIMED_OUT if state == kernels.ENDED else state
    return str(own)[:20] if state != kernels.CANCELLED or own == session.DONE else state


def _collect(folder: Path, kernel: Kernel, shape: str, any_accelerator: bool) -> int:
    other = other_accelerator(kernel.accelerator, shape, cards(folder / "pack.zip"))
    if other:
        print(f"faceoff: {kernel.slug}: {other}", file=sys.stderr)
        if not any_accelerator:
            print("faceoff: it is not collected; `follow --any-accelerator` does so", file=sys.stderr)
            return 1
    command = [sys.executable, "-m", "stages.collect", str(folder / "pack.zip"), "--as", kernel.site]
    code = subprocess.run(command, check=False).returncode
    if code == 0:
        (folder / COLLECTED).touch()
        print(f"{kernel.slug}: is there still; .venv/bin/python -m reach.kaggle delete {kernel.slug}")
    return code


def other_accelerator(asked: str, shape: str, found: list[str] | None) -> str | None:
    """Say what came instead of the accelerator that was asked for; None where it is the same, or can't be looked at."""
    said = f", and Kaggle calls it {shape}" if shape and shape != asked else ""
    if found is not None and asked in MODELS:
        if not found or not all(re.search(rf"\b{MODELS[asked]}\b", each, re.IGNORECASE) for each in found):
            return f"asked for {asked}, and found {', '.join(found) or 'no GPU'}{said}"
        return None
    if found and asked == "none":
        return f"asked for no accelerator, and found {', '.join(found)}{said}"
    return f"asked for {asked}{said}" if said else None


def cards(pack: Path) -> list[str] | None:
    """Read the cards' names from a pack; None where it has none to read, which stages.collect refuses in its words."""
    try:
        with zipfile.ZipFile(pack) as opened, opened.open("metrics/machine.json") as member:
            found = json.loads(member.read(2**20))["hardware"]["gpus"]
            return [str(each["name"])[:80] for each in found]
    except (OSError, ValueError, KeyError, TypeError, zipfile.BadZipFile):
        return None


def _delete(found: dict[Path, Kernel], wanted: list[str]) -> int:
    known = {kernel.slug: (folder, kernel) for folder, kernel in found.items()}
    for name in wanted:
        if name not in known:
            raise FaceoffError(f"{name}: no kernel of this checkout: expected one of {', '.join(known)}", exit_code=2)
    for name in wanted:
        folder, kernel = known[name]
        was_there = Kaggle().delete(kernel)
        (folder / KERNEL).rename(folder / "deleted.json")
        print(f"{name}: {'deleted' if was_there else 'was not there'}")
    return 0


if __name__ == "__main__":
    run_entry(main)
