"""docker/<image>/image.yaml: what an image is made of, or where it is."""

import dataclasses
import re
import shlex
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from stages import codec
from stages.errors import FaceoffError
from stages.harness.params.documents import document
from stages.harness.params.schema import DOCKER_DIR, IMAGE_NAME, amount_bytes, check_env

PLACE = "a path, whose `~` has a home here"
WAYS = ("build", "pull", "venv", "python")


@dataclasses.dataclass(frozen=True)
class Build:
    """What docker/Dockerfile is built with. Files are named from the top of the checkout."""

    base: str
    packages: str  # lock of everything but torch
    torch: str | None = None  # requirements file with torch's wheels


@dataclasses.dataclass(frozen=True)
class Venv:
    """What a virtual environment is made of, under .venvs. Files are named from the top of the checkout."""

    packages: str  # lock of everything but torch
    torch: str | None = None  # requirements file with torch's wheels
    python: str | None = None  # '3.12', to be found on PATH, or a path; None: the Python that runs faceoff

    def __post_init__(self) -> None:
        codec.check("python", self.python, self.python is None or _is_place(self.python), "a version or " + PLACE)


@dataclasses.dataclass(frozen=True)
class Definition:
    """docker/<image>/image.yaml: exactly one of WAYS, and what is expected of it."""

    build: Build | None = None
    pull: str | None = None  # reference of a ready-made image
    venv: Venv | None = None
    python: str | None = None  # an interpreter that is there: a path, from the top of the checkout, or a name on PATH
    setup: str | None = None  # command, run at the top of the checkout, that sees to it that `python` is there
    env: dict[str, Any] = dataclasses.field(default_factory=dict)  # environment variables of all that runs in it
    expects: dict[str, Any] = dataclasses.field(default_factory=dict)  # package: version, see contents.check
    compute_capabilities: tuple[str, str] | None = None  # lowest and highest that its torch was compiled for
    size: str | None = None  # on disk, e.g. '2.3 GB'; preflight looks whether there is room for it

    def __post_init__(self) -> None:
        good = self.size is None or amount_bytes(self.size) is not None
        codec.check("size", self.size, good, "an amount with its unit, e.g. 2.3 GB")
        ways = [name for name in WAYS if getattr(self, name) is not None]
        codec.check(", ".join(WAYS), ways, len(ways) == 1, "exactly one of them")
        codec.check("python", self.python, self.python is None or _is_place(self.python), "a name on PATH or " + PLACE)
        codec.check("setup", self.setup, self.setup is None or self.python is not None, "nothing, without `python`")
        good = self.setup is None or _is_command(self.setup)
        codec.check("setup", self.setup, good, "a command, with each quote closed, without a shell")
        check_env(self.env)
        for name, version in self.expects.items():
            good = isinstance(version, str | int) and not isinstance(version, bool)
            codec.check(f"expects[{name!r:.80}]", version, good, "a version in quotes, e.g. '3.12'")
        for each in self.compute_capabilities or ():
            good = re.fullmatch(r"\d+\.\d+", each) is not None
            codec.check("compute_capabilities", each, good, "as NVIDIA writes it, e.g. '7.5'")

    @property
    def needs_engine(self) -> bool:
        """Whether it is run by a container engine; else it is an interpreter of this machine."""
        return self.build is not None or self.pull is not None

    def with_env(self, env: Mapping[str, str]) -> "Definition":
        """Return it with the variables that every image gets, below its own."""
        return dataclasses.replace(self, env={**env, **self.env})


def _is_place(text: str) -> bool:
    """Whether it can be a file's path or a program's name; `~` and `~user` are read as a shell does."""
    try:
        Path(text).expanduser()
    except RuntimeError:
        return False
    return bool(text) and "\0" not in text


def _is_command(text: str) -> bool:
    try:
        return any(shlex.split(text)[:1]) and "\0" not in text
    except ValueError:  # a quote that is not closed
        return False


def load(name: str, root: Path) -> Definition:
    """Read docker/<name>/image.yaml. Raises FaceoffError or RecordError that names the file and the key."""
    path = DOCKER_DIR / name / "image.yaml"
    if not IMAGE_NAME.fullmatch(name) or not (root / path).is_file():
        known = sorted(each.parent.name for each in (root / DOCKER_DIR).glob("*/image.yaml"))
        raise FaceoffError(f"no image '{name}': expected a folder of docker/ ({', '.join(known)})")
    text = (root / path).read_text(encoding="utf-8", errors="replace")
    definition: Definition = codec.decode(Definition, document(text, str(path)), str(path))
    return definition
