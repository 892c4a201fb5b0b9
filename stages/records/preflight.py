"""What preflight looked at, and what it found.

Runs inside images: Python 3.7 syntax, standard library only.
"""

import dataclasses
from pathlib import Path
from typing import Optional, Tuple

from stages.codec import check

PREFLIGHT_PATH = Path("metrics/preflight.json")
SESSION_PATH = Path("metrics/session.json")
CHECK_STATUSES = ("passed", "warning", "failed", "not checked")


@dataclasses.dataclass(frozen=True)
class Check:
    """One thing that preflight looked at."""

    name: str  # e.g. 'shared memory, batch size 64'
    status: str  # of CHECK_STATUSES
    needed: str  # with its unit
    found: str
    advice: Optional[str]  # what to do; None exactly where it passed

    def __post_init__(self) -> None:
        check("status", self.status, self.status in CHECK_STATUSES, "one of " + ", ".join(CHECK_STATUSES))
        holds = (self.status == "passed") == (self.advice is None)
        check("advice", self.advice, holds, "what to do, exactly where the status is not 'passed'")


@dataclasses.dataclass(frozen=True)
class Preflight:
    """metrics/preflight.json of the host, metrics/<image>/preflight.json of an image from inside."""

    image: Optional[str]  # None: the host
    checks: Tuple[Check, ...]


@dataclasses.dataclass(frozen=True)
class Session:
    """metrics/session.json: what session.max_hours of params.yaml counts from. Written in every run of the pipeline."""

    began_at: str  # UTC, ISO 8601


def preflight_path(image: str) -> Path:
    """Return where it is said what preflight found inside the image."""
    return Path("metrics") / image / "preflight.json"
