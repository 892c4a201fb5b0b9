"""Whether the environment is still the one that the image's profile found, before a cell is measured in it.

Runs inside images: Python 3.7 syntax, standard library only.
"""

import dataclasses
from typing import Any, Iterator, Optional

from stages.codec import fingerprint, read
from stages.errors import FaceoffError
from stages.records import Environment, Facts, Hardware, facts_path

SHOWN_DIFFERENCES = 6


def check(image: str, hardware: Hardware, environment: Environment) -> Optional[str]:
    """The fingerprint of the image's facts; None where it has no profile. Raises FaceoffError with what differs."""
    path = facts_path(image)
    if not path.exists():
        return None
    facts = read(path, Facts)
    was = {"device": facts.device, "torch_threads": facts.torch_threads, "hardware": dataclasses.asdict(facts.hardware)}
    now = {
        "device": environment.device,
        "torch_threads": environment.torch_threads,
        "hardware": dataclasses.asdict(hardware),
    }
    differences = list(_differences(was, now))
    if differences:
        more = len(differences) - SHOWN_DIFFERENCES
        raise FaceoffError(
            "{}: the environment is another: {}{}: run `dvc repro -s -f profile@{}`, then `make repro`".format(
                path,
                "; ".join(differences[:SHOWN_DIFFERENCES]),
                "; and {} more".format(more) if more > 0 else "",
                image,
            )
        )
    return fingerprint(facts)


def _differences(was: Any, now: Any, name: str = "") -> Iterator[str]:
    """'hardware.limits.cpu_quota was 2.0, is 1.0'. What could not be read, now or then, is no difference."""
    if isinstance(was, dict) and isinstance(now, dict):
        for key in was:
            if key not in ("absent", "gpus_reason") and key in now:
                yield from _differences(was[key], now[key], "{}.{}".format(name, key) if name else key)
    elif isinstance(was, tuple) and isinstance(now, tuple) and len(was) == len(now):
        for index, (one, other) in enumerate(zip(was, now)):
            yield from _differences(one, other, "{}[{}]".format(name, index))
    elif was != now and was is not None and now is not None:
        yield "{} was {}, is {}".format(name, _shown(was), _shown(now))


def _shown(value: Any) -> str:
    if isinstance(value, tuple):
        return "{} of them".format(len(value))
    return repr(value)
