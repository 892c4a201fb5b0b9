"""Whether the environment is still the one that the image's profile found, before a cell is measured in it.

Runs inside images: Python 3.7 syntax, standard library only.
"""

import dataclasses
from typing import Any, Dict, Iterator

from stages.codec import read
from stages.errors import FaceoffError
from stages.records import DATA_DIR, Facts, facts_path
from stages.workload import contents
from stages.workload.probes import hardware

SHOWN_DIFFERENCES = 6


def check(image: str) -> None:
    """Raise FaceoffError with what differs from the image's facts: hardware, limits and installed packages."""
    path = facts_path(image)
    if not path.exists():
        return
    facts = read(path, Facts)
    installed = contents.packages()
    found = list(
        differences(
            {"hardware": dataclasses.asdict(facts.hardware)},
            {"hardware": dataclasses.asdict(hardware.look(DATA_DIR))},
        )
    )
    if contents.fingerprint(installed) != facts.contents.packages_sha256:
        found += _package_differences(facts.contents.packages, installed) or ["its packages are others"]
    if found:
        more = len(found) - SHOWN_DIFFERENCES
        raise FaceoffError(
            "{}: the environment is another: {}{}: run `dvc repro -s -f profile@{}`, then `make repro`".format(
                path,
                "; ".join(found[:SHOWN_DIFFERENCES]),
                f"; and {more} more" if more > 0 else "",
                image,
            )
        )


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


def _package_differences(was: Dict[str, str], now: Dict[str, str]) -> list:
    names = sorted({*was, *now})
    differing = ((name, was.get(name), now.get(name)) for name in names if was.get(name) != now.get(name))
    return ["{} was {}, is {}".format(name, old or "not there", new or "not there") for name, old, new in differing]


def _shown(value: Any) -> str:
    if isinstance(value, tuple):
        return f"{len(value)} of them"
    return repr(value)
