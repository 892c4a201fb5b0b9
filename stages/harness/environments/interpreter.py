"""An image that is an interpreter of this machine: one that is there, or a virtual environment made under .venvs.

Same output, exit codes and signals as a container's, the same clean environment, and none of its walls.
"""

import os
import shlex
import shutil
import subprocess
import sys
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path

from stages import codec, records
from stages.checks import killed_on_machine_for_memory
from stages.errors import FaceoffError
from stages.harness.environments import cards, contents, host, venvs
from stages.harness.environments.definition import Definition
from stages.harness.environments.launch import KILLED, OWN_ENVIRONMENT, Outcome, Show, Work, with_python
from stages.harness.params.schema import ContainerParams
from stages.harness.process.watchdog import Watch
from stages.units import listed

# Of this process's environment, what a program needs to run. All else would steer the job without a word.
KEPT = ("HOME", "USER", "LOGNAME", "LANG", "LANGUAGE", "TZ", "TMPDIR", "TERM", "PYTHONDONTWRITEBYTECODE")
KEPT_PREFIX = "LC_"
NO_CONTAINER = "it runs without a container"
NOT_OF_INTERPRETERS = ("reference", "image_id", "base", "base_id", "base_digest", "engine", "runtime")
NOT_MEASURED = "an interpreter as it is: what belongs to it is not known"
LIBRARIES = "LD_LIBRARY_PATH"


class Interpreter:
    """launch.Environment without an engine."""

    isolated = False

    def __init__(
        self,
        name: str,
        definition: Definition,
        root: Path,
        container: ContainerParams,
        find_gpus: Callable[[], tuple[str, ...] | None],
    ) -> None:
        """`root`: the checkout's absolute path. `find_gpus`: asked when something runs, not before."""
        self._name, self._definition, self._root = name, definition, root
        self._cpus = None if container.cpuset is None else frozenset(listed(container.cpuset))
        self._find_gpus = find_gpus

    def make(self, before: records.Image | None, show: Show) -> records.Image:
        """Make the virtual environment, or have it set up, unless it is there; check it, and say what it is.

        Packages may have come or gone since `before`; torch is asked again only where they have.
        """
        definition = self._definition
        if definition.venv is not None:
            python = venvs.make(definition.venv, self._root, show)
        else:
            self._set_up()
            python = self.python()
        # One in the checkout is named from there: in a clone at another place the image is the same.
        name = str(python.relative_to(self._root) if python.is_relative_to(self._root) else python)
        with contents.scratch(self._root) as folder:
            output = folder / "contents.json"
            if before is not None and before.python == name:
                codec.write(output, before.contents)
            outcome = self._run(python, contents.command(output), None, None)
            self._check_libraries(outcome.exit_code)
            found = contents.read(outcome.exit_code, output)
        contents.check(self._name, definition.expects, found)
        if before is None or before.contents != found:
            show(f"{python} holds Python {found.python}, torch {found.torch or 'not at all'}")
        size_bytes = None if definition.venv is None else venvs.size_bytes(python)
        if before is not None and (before.python, before.contents) == (name, found):
            size_bytes = before.size_bytes  # which a longer path to the checkout makes larger
        nulls = dict.fromkeys(NOT_OF_INTERPRETERS, NO_CONTAINER)
        return records.Image(
            name=self._name,
            kind="python" if definition.venv is None else "venv",
            python=name,
            env=definition.env,
            reference=None,
            image_id=None,
            size_bytes=size_bytes,
            base=None,
            base_id=None,
            base_digest=None,
            engine=None,
            runtime=None,
            contents=found,
            absent=nulls | ({"size_bytes": NOT_MEASURED} if size_bytes is None else {}),
        )

    def run(self, work: Work, watch: Watch | None = None) -> Outcome:
        """Run the command at the checkout's top. What it leaves running is ended, as it would be with its container."""
        return self._run(self.python(), work.command, self._find_gpus(), watch)

    def python(self) -> Path:
        """Return the interpreter. Raises FaceoffError where it is not there."""
        definition = self._definition
        if definition.venv is not None:
            made = venvs.made(definition.venv, self._root)
            if made is None:
                raise FaceoffError(
                    f"image {self._name} has not been made: .venv/bin/python -m stages.image {self._name}"
                )
            return made
        wanted = str(definition.python)
        if "/" in wanted:
            path = self._root / Path(wanted).expanduser()
            found = path if os.access(path, os.X_OK) and path.is_file() else None
        else:
            which = shutil.which(wanted, path=_search_path())
            found = Path(which) if which else None
        if found is None:
            raise FaceoffError(
                f"image {self._name}: no Python at {wanted}, which docker/{self._name}/image.yaml names: correct "
                "`python` there (a path from the top of the checkout, or a name on PATH), or make it"
            )
        return found

    def _set_up(self) -> None:
        if self._definition.setup is None:
            return
        command = shlex.split(self._definition.setup)
        try:
            code = subprocess.run(command, cwd=self._root, check=False).returncode
        except OSError as error:
            raise FaceoffError(f"image {self._name}: setup: cannot run {command[0]}: {error.strerror}") from None
        if code != 0:
            raise FaceoffError(
                f"image {self._name}: setup ({self._definition.setup}) ended with exit code {code}; its words are above"
            )

    def _check_libraries(self, exit_code: int) -> None:
        """Say why a Python may not start that runs in the user's shell."""
        if exit_code != 0 and os.environ.get(LIBRARIES) and LIBRARIES not in self._definition.env:
            raise FaceoffError(
                f"image {self._name}: its Python ended with exit code {exit_code}; it gets no {LIBRARIES} of this "
                f"shell, which may be what it lacks: put it under `env` in docker/{self._name}/image.yaml"
            )

    def _run(
        self, python: Path, command: tuple[str, ...], gpus: tuple[str, ...] | None, watch: Watch | None
    ) -> Outcome:
        killed_before = killed_on_machine_for_memory()
        environment = {**environment_of(python), **cards.variables(gpus), **self._definition.env}
        with host.started(with_python(command, str(python)), environment, self._root, cpus=self._cpus) as process:
            code, overdue = host.wait(process, watch)
        some_killed = code == KILLED and killed_on_machine_for_memory() > killed_before
        return Outcome(code, False, overdue, isolated=False, some_killed=some_killed)


def environment_of(python: Path) -> dict[str, str]:
    """Return what a job of this interpreter gets of the environment: what is needed to run, and no more."""
    path = os.pathsep.join((str(python.parent), _search_path()))
    return {**dict(_kept(os.environ)), **OWN_ENVIRONMENT, "PATH": path}


def _search_path() -> str:
    """Return PATH without the .venv that faceoff itself runs in: programs there are of another Python."""
    entries = os.environ.get("PATH", os.defpath).split(os.pathsep)
    if sys.prefix != sys.base_prefix:
        own = os.path.realpath(Path(sys.executable).parent)
        entries = [entry for entry in entries if os.path.realpath(entry) != own]
    return os.pathsep.join(entries)


def _kept(environment: Mapping[str, str]) -> Iterator[tuple[str, str]]:
    return ((name, each) for name, each in environment.items() if name in KEPT or name.startswith(KEPT_PREFIX))
