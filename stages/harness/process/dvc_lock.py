"""dvc.lock, which says what each stage's results belong to, is short whenever DVC commits a stage, else whole.

To commit one, DVC reads and writes all of it, 3 ms of CPU for each stage in it: 2 s a stage at 600. What it does not
commit it only hands on, and what it needs to know it has read when it began. So a stage that has ended well puts the
file aside but for one entry, DVC adds that stage's, and the next stage first of all puts the two together. While a
stage is at work the file is whole, and so it is once DVC has ended well. Where a plain `dvc repro` is killed or fails
while it commits, the file stays short until the next run.

A short one says so in its first line, and for which DVC: another one has read a short file and would measure all again.
It names the stage, too.
"""

import functools
import importlib.metadata
import os
import re
import shutil
import signal
import sys
from collections.abc import Callable
from pathlib import Path

import yaml

from stages import codec
from stages.errors import FaceoffError
from stages.harness.process import locks
from stages.harness.process.signals import STOP_SIGNALS, masked_signals, stop_signals

LOCK_PATH = Path("dvc.lock")
ASIDE_PATH = Path(".dvc/tmp/faceoff.lock")  # there only while dvc.lock is short
KNOWN_DVC = "3.67.1"  # the version that this was seen to work with; with another one the file stays whole
WILL_MEND = "FACEOFF_MENDS_LOCK"  # variable: the pid of who started DVC, and makes the file whole when it has ended
LAST = "scorecard"  # the stage with which each `dvc repro` of the whole pipeline ends
# What may stand after `dvc repro` with that still so: no target, which may be the last stage, with nobody after it.
OPTIONS = {"-f", "--force", "-k", "--keep-going", "--ignore-errors", "-q", "--quiet", "-v", "--verbose"}

IS_SHORT = "# faceoff: short while DVC "
SHORT = IS_SHORT + "{} commits {}; the others are in " + f"{ASIDE_PATH}\n"
AT_WORK = re.compile(IS_SHORT + r"\S+ commits (\S+); ")
HALF_IS_LOST = (
    f"dvc.lock is of amid another run, without the other half, {ASIDE_PATH}: take a whole one from git, or run once "
    "more, which measures again what it lacks"
)
HEAD = "schema: '2.0'\nstages:\n"
ENTRY = re.compile(r"\n(?=  [^ \n])")  # the end of the line before one begins; `^` is searched for six times as long
NO_ENTRY = re.compile(r"\n ?[^ \n]")


def dvc_stage(main: Callable[[], int]) -> Callable[[], int]:
    """Make it the entry of a stage: it can be stopped, finds dvc.lock whole, and where it ends well leaves it short.

    A stage of a second DVC is refused, of this checkout or of a copy that DVC has made of it.
    """

    @functools.wraps(main)
    @stop_signals()
    def entry() -> int:
        stage = os.environ.get("DVC_STAGE")
        if stage is None:
            return main()
        with masked_signals(signal.SIG_BLOCK):
            runner = int(_stat_of_dvc()[1]) if _will_be_mended() else os.getppid()
            locks.begin_run(runner)
            _check_whole()
        code = 1
        try:
            code = main()
        finally:
            if runner == os.getppid() and (code != 0 or stage == LAST):
                locks.end_run()  # a notebook that has run DVC lives on
        if code == 0 and _is_of_whole_pipeline() and (stage != LAST or _will_be_mended()):
            with masked_signals(signal.SIG_BLOCK):
                put_aside(stage, _dvc())
                if not signal.sigpending().isdisjoint(STOP_SIGNALS):  # no other stage will come
                    _check_whole()
        return code

    return entry


def _check_whole() -> None:
    """Put dvc.lock together. Raises FaceoffError where it was short when DVC read it."""
    was = is_short()
    if was is None:
        return
    is_there = ASIDE_PATH.exists()
    put_together()
    if was == _dvc():
        return
    if is_there:
        raise FaceoffError("dvc.lock was short, for the run before was cut off; it is whole again: run once more")
    raise FaceoffError(HALF_IS_LOST)


def is_short() -> str | None:
    """Return the DVC for which dvc.lock is short; None where it is not."""
    text = LOCK_PATH.read_text(encoding="utf-8") if LOCK_PATH.exists() else ""
    return text.removeprefix(IS_SHORT).partition(" ")[0] if text.startswith(IS_SHORT) else None


def put_aside(stage: str, dvc: str) -> None:
    """Leave one entry in dvc.lock. What is not as DVC writes it stays as it is."""
    try:
        text = LOCK_PATH.read_text(encoding="utf-8")
    except FileNotFoundError:
        return
    found = entries(text) if text.startswith(HEAD) else {}
    if not found:
        return
    one = found.get(stage) or next(iter(found.values()))  # DVC takes none without any
    codec.remove(ASIDE_PATH)
    try:
        ASIDE_PATH.hardlink_to(LOCK_PATH)
    except OSError:  # of a file system that has no such thing
        shutil.copyfile(LOCK_PATH, ASIDE_PATH)
    codec.write_text(LOCK_PATH, SHORT.format(dvc, stage) + HEAD + one)


def put_together() -> None:
    """Make dvc.lock whole, which is short."""
    aside = entries(ASIDE_PATH.read_text(encoding="utf-8")) if ASIDE_PATH.exists() else {}
    text = LOCK_PATH.read_text(encoding="utf-8")
    found = entries(text)
    if found:  # DVC may have been killed while it wrote the last one
        last, lines = found.popitem()
        at_work = AT_WORK.match(text)
        # The one that the file was left with, unless it is the stage's own, is a copy, of which a part may be lost.
        is_copy = not found and last in aside and not (at_work and at_work[1] == last)
        found.update({last: lines} if _is_complete(lines) and not is_copy else {})
    whole = {**aside, **found}
    if whole:
        codec.write_text(LOCK_PATH, HEAD + "".join(whole.values()))
    else:  # which DVC refuses
        LOCK_PATH.unlink()
    ASIDE_PATH.unlink(missing_ok=True)


def is_as_written(text: str) -> bool:
    """Whether it is a whole dvc.lock as DVC writes it, of one stage or more."""
    return text.startswith(HEAD) and bool(entries(text))


def entries(text: str) -> dict[str, str]:
    """Return the lines of each stage in a dvc.lock, by its name; none where it is not as DVC writes it."""
    _, _, body = text.partition(HEAD.removesuffix("\n"))
    first, *found = ENTRY.split(body)
    if first or NO_ENTRY.search(body):
        return {}
    found[:-1] = [each + "\n" for each in found[:-1]]
    return {each[2:].partition(":")[0]: each for each in found}


def outputs(text: str, stage: str) -> list[dict[str, object]]:
    """Return the outputs of a stage that a dvc.lock has, each by DVC's own keys. It is long, and one entry is not."""
    found = entries(text)
    stages = yaml.load(found.get(stage, "") if found else text, yaml.CSafeLoader) or {}
    entry = stages.get(stage, {}) if found else stages.get("stages", {}).get(stage, {})
    return list(entry.get("outs", ()))


def _is_complete(entry: str) -> bool:
    """Whether it goes on to the digest of an output, with which an entry ends."""
    _, _, outs = entry.partition("\n    outs:\n")
    paths, digests = (len(re.findall(f"^ +(?:- )?{key}: .+\n", outs, re.MULTILINE)) for key in ("path", "md5"))
    return bool(outs) and outs.endswith("\n") and 0 < paths == digests


def _dvc() -> str:
    """Name the process that runs this stage, by its number and when it began: numbers come again."""
    return f"{os.getppid()}@{locks.began(os.getppid())}"


def _will_be_mended() -> bool:
    """Whether somebody comes after the last stage; a variable alone may be inherited from another run."""
    return _stat_of_dvc()[1] == os.environ.get(WILL_MEND)


def _stat_of_dvc() -> list[str]:
    """Return what the kernel says of it, from its state on (man 5 proc_pid_stat)."""
    stat = Path(f"/proc/{os.getppid()}/stat").read_text(encoding="utf-8", errors="replace")
    return stat.rpartition(")")[2].split()


def _is_of_whole_pipeline() -> bool:
    """Whether a `dvc repro` runs this stage that ends with the last one, and is of a version that is known."""
    words = Path(f"/proc/{os.getppid()}/cmdline").read_bytes().decode(errors="replace").split("\0")[:-1]
    names = [Path(word).name for word in words[:-1]]
    at = next((at for at, name in enumerate(names) if (name, words[at + 1]) == ("dvc", "repro")), None)
    if at is None or not OPTIONS.issuperset(words[at + 2 :]):
        return False
    return _is_of_own_environment(words[0]) and importlib.metadata.version("dvc") == KNOWN_DVC


def _is_of_own_environment(python: str) -> bool:
    """Whether DVC runs in this Python's environment, so that its version is the one here; `python`: as it was called.

    Virtual environments are links to one interpreter: the folder of the link tells them apart.
    """
    found = shutil.which(python)
    try:
        same_interpreter = Path(f"/proc/{os.getppid()}/exe").samefile("/proc/self/exe")
    except OSError:
        return False
    return same_interpreter and found is not None and Path(found).parent.samefile(Path(sys.executable).parent)
