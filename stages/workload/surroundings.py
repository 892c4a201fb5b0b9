"""Whether the environment is still the one that the image's profile found, before a cell is measured in it.

Runs inside images: Python 3.7 syntax, standard library only.
"""

import dataclasses
import os
import platform
from typing import Any, Dict, Iterator, Optional

from stages import variables
from stages.codec import read
from stages.errors import TRY_LATER, FaceoffError
from stages.records import DATA_DIR, Facts, Hardware, Task, facts_path
from stages.visible_cards import VISIBLE
from stages.workload import contents, job_cards
from stages.workload.probes import gpus, hardware

SHOWN_DIFFERENCES = 6


def check(task: Task) -> None:
    """Raise FaceoffError where a card is missing, or with what differs from the image's facts.

    Compared are hardware, limits, installed packages and the variables that steer speed, a variant's own left out.
    """
    image, path = task.cell.image, facts_path(task.cell.image)
    now = hardware.look(DATA_DIR, visible=os.environ.get(VISIBLE))
    facts = read(path, Facts) if path.exists() else None  # type: Optional[Facts]
    _check_cards(task, facts, now)
    if facts is None:
        return
    installed = contents.packages()
    found = list(
        differences({"hardware": dataclasses.asdict(facts.hardware)}, {"hardware": dataclasses.asdict(now)}),
    )
    found += _changes("variable", facts.variables, variables.look(os.environ), "unset")
    found += differences(facts.contents.python, platform.python_version(), "Python")
    if contents.fingerprint(installed) != facts.contents.packages_sha256:
        found += _changes("package", facts.contents.packages, installed, "not there") or ["its packages are others"]
    if found:
        more = len(found) - SHOWN_DIFFERENCES
        raise FaceoffError(
            "{}: the environment is another: {}{}: run `.venv/bin/dvc repro -s -f profile@{}`, then "
            "`make repro`".format(
                path,
                "; ".join(found[:SHOWN_DIFFERENCES]),
                f"; and {more} more" if more > 0 else "",
                image,
            )
        )


def _check_cards(task: Task, facts: Optional[Facts], now: Hardware) -> None:
    """Raise FaceoffError where cards that were asked for are not here, or those of the profile answer no more."""
    before = () if facts is None else facts.hardware.gpus
    given = job_cards.Given.to(task)
    silent = job_cards.stopped(before, now.gpus, now.gpus_reason)
    if silent is not None and (now.gpus or gpus.has_devices() or not given.in_container):
        raise FaceoffError(
            f"{silent}; see what nvidia-smi says and mend the driver, then run again: what is measured stays as it is",
            TRY_LATER,
        )
    few = job_cards.too_few(task, now.gpus)
    if few is not None:
        raise FaceoffError(few.line)
    absent = job_cards.missing(given, now.gpus, now.gpus_reason, os.environ.get(VISIBLE))
    if absent is not None and (before or absent.is_fatal):
        raise FaceoffError(absent.line)


def differences(was: Any, now: Any, name: str = "") -> Iterator[str]:
    """Yield 'hardware.limits.cpu_quota was 2.0, is 1.0'. What could not be read, now or then, is no difference."""
    if isinstance(was, dict) and isinstance(now, dict):
        for key in was:
            if key not in ("absent", "gpus_reason") and key in now:
                yield from differences(was[key], now[key], f"{name}.{key}" if name else key)
    elif isinstance(was, tuple) and isinstance(now, tuple) and len(was) == len(now):
        for index, (one, other) in enumerate(zip(was, now)):
            yield from differences(one, other, f"{name}[{index}]")
    elif was != now and was is not None and now is not None:
        yield f"{name} was {_shown(was)}, is {_shown(now)}"


def _changes(what: str, was: Dict[str, str], now: Dict[str, str], none: str) -> list:
    """Return 'variable OMP_NUM_THREADS was 2, is unset'."""
    names = (name for name in sorted({*was, *now}) if was.get(name) != now.get(name))
    return ["{} {} was {}, is {}".format(what, name, was.get(name, none), now.get(name, none)) for name in names]


def _shown(value: Any) -> str:
    if isinstance(value, tuple):
        return f"{len(value)} of them"
    return repr(value)
