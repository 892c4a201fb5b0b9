"""Virtual environments below .venvs, a folder for each, by what it is made of: nothing is made twice.

One that was interrupted is not trusted: a stamp is written last, once its torch imports.
"""

import contextlib
import dataclasses
import hashlib
import json
import os
import re
import shutil
import signal
import subprocess
import sys
from collections import deque
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path

from stages.errors import FaceoffError
from stages.harness.environments import pip
from stages.harness.environments.definition import Venv
from stages.harness.environments.launch import Show
from stages.harness.process.locks import held
from stages.harness.process.signals import end_with_parent
from stages.watched import Telling

FOLDER = Path(".venvs")
STAMP = "faceoff.json"
VERSION = re.compile(r"3\.\d+(\.\d+)?")  # as venv.python may say
HALF_MADE = "half made"
DIGITS = 12  # of an environment's name
KEPT_LINES = 50
DOWNLOAD_ADVICE = "see that HTTPS_PROXY, PIP_INDEX_URL and PIP_CERT are right, which are passed on to pip"
PROOF = (  # that torch is whole: a wheel may lack a library that its own packages should bring
    "import importlib.util as u; [__import__(name) for name in ('torch', 'torchvision') if u.find_spec(name)]"
)
PROBE = """\
import json, os, platform, sys
try:
    import ensurepip
except ImportError:
    ensurepip = None
base = getattr(sys, "_base_executable", None) or sys.executable
facts = [os.path.realpath(base), platform.python_version(), platform.python_implementation(), platform.machine()]
print(json.dumps(facts + [ensurepip is not None]))
"""


@dataclasses.dataclass(frozen=True)
class Source:
    """A Python that environments are made with: what it says of itself."""

    path: Path  # without links, and outside any virtual environment
    version: str
    implementation: str
    machine: str
    has_ensurepip: bool


def place(root: Path) -> Path:
    """Return the folder that all environments of the checkout are below; it need not be there yet."""
    return root / FOLDER


def made(venv: Venv, root: Path) -> Path | None:
    """Return the environment's Python, None where it is still to be made.

    Raises FaceoffError where it can't be made: no such Python, no such file.
    """
    folder = folder_of(venv, root)
    return _python(folder) if stamp(folder) else None


def make(venv: Venv, root: Path, show: Show) -> Path:
    """Make the environment unless it is there, and return its Python. Raises FaceoffError, one line."""
    source = _source(venv, root)
    folder = _folder(source, venv, root)
    if stamp(folder):
        return _python(folder)
    if not source.has_ensurepip:
        raise FaceoffError(
            f"{source.path} cannot make virtual environments, as it lacks ensurepip; on Debian and Ubuntu: "
            f"apt-get install python{_minor(source)}-venv"
        )
    with held(lock(folder), str(_said(folder))):
        if not stamp(folder):  # else another run has made it meanwhile
            with _removed_unless_whole(folder, show):
                _fill(folder, source, venv, root, show)
                size = disk_bytes(folder)
                text = json.dumps({"folder": str(folder.absolute()), "size_bytes": size})
                half = folder / f".{STAMP}"
                half.write_text(text + "\n", encoding="utf-8")
                half.replace(folder / STAMP)
    return _python(folder)


def folder_of(venv: Venv, root: Path) -> Path:
    """Return the environment's folder: its name is a hash of the Python and of the files that it is made with."""
    return _folder(_source(venv, root), venv, root)


def _folder(source: Source, venv: Venv, root: Path) -> Path:
    digest = hashlib.sha256(f"{source.path}\n{source.version}\n{source.implementation}\n{source.machine}\n".encode())
    for file in (venv.packages, venv.torch):
        digest.update(hashlib.sha256(b"" if file is None else _read(root / file)).digest())
    return place(root) / digest.hexdigest()[:DIGITS]


def lock(folder: Path) -> Path:
    """Return the file that whoever makes or removes the environment holds."""
    return folder.with_name(f"{folder.name}.lock")


def stamp(folder: Path) -> Mapping[str, object] | None:
    """Return what was noted of a whole environment; None of what is half made, was moved, or is not there."""
    noted = _noted(folder)
    if noted is None or not _is_at(folder, noted) or not _python(folder).exists():
        return None
    return noted


def lack(folder: Path) -> str:
    """Say why the environment in that folder is none that jobs can run in: a stamp is missing, or no longer true."""
    noted = _noted(folder)
    if noted is None:
        return HALF_MADE
    if not _is_at(folder, noted):
        return f"moved or copied here from {noted['folder']}, which its programs name"
    return "without the Python that it was made with"


def size_bytes(python: Path) -> int | None:
    """Return what the environment of that Python takes on disk, as it was made."""
    found = (stamp(python.parent.parent) or {}).get("size_bytes")
    return found if isinstance(found, int) else None


def folders(root: Path) -> list[Path]:
    """Return the folders of all environments that are there, whole or half made."""
    name = re.compile(rf"[0-9a-f]{{{DIGITS}}}")
    return sorted(each for each in place(root).glob("*") if name.fullmatch(each.name) and each.is_dir())


def remove(folder: Path) -> None:
    """Remove an environment, whole or half made; interrupted, what is left is half made."""
    (folder / STAMP).unlink(missing_ok=True)
    shutil.rmtree(folder)


def _noted(folder: Path) -> Mapping[str, object] | None:
    try:
        noted = json.loads((folder / STAMP).read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return None
    return noted if isinstance(noted, dict) and isinstance(noted.get("folder"), str) else None


def _is_at(folder: Path, noted: Mapping[str, object]) -> bool:
    """Whether it lies where it was made: its programs name that place."""
    try:
        return Path(str(noted["folder"])).samefile(folder)
    except OSError:
        return False


def _python(folder: Path) -> Path:
    return folder / "bin" / "python"


@contextlib.contextmanager
def _removed_unless_whole(folder: Path, show: Show) -> Iterator[None]:
    if folder.exists():
        why = lack(folder)
        show(f"{_said(folder)}: {'left half made by an interrupted run' if why == HALF_MADE else why}; made anew")
        remove(folder)
    try:
        yield
    except BaseException:
        shutil.rmtree(folder, ignore_errors=True)
        raise


def _fill(folder: Path, source: Source, venv: Venv, root: Path, show: Show) -> None:
    """Take the same steps as docker/Dockerfile."""
    python, plain = _python(folder), {**pip.clean(), "PIP_CONFIG_FILE": os.devnull}
    show(f"{_said(folder)}: a virtual environment of {source.path}, Python {source.version}")
    _run("venv", folder, (str(source.path), "-Im", "venv", "--without-pip", str(folder)), plain)
    _run("ensurepip", folder, (str(python), "-Im", "ensurepip", "--default-pip"), plain)
    scratch = folder / "tmp"  # of what pip downloads: there is room here, and /tmp may be memory
    scratch.mkdir()
    environment = {**pip.environment(python), "TMPDIR": str(scratch)}
    for file, options in ((venv.packages, ("--no-deps",)), (venv.torch, ("--no-warn-conflicts",))):
        if file is not None:
            show(f"{_said(folder)}: {file}")
            command = pip.command(python, "--only-binary", ":all:", *options, "-r", str(root / file))
            _run(file, folder, command, environment)
    shutil.rmtree(scratch)
    _run("import of torch", folder, (str(python), "-Ic", PROOF), plain)


def _run(what: str, folder: Path, command: Sequence[str], environment: Mapping[str, str]) -> None:
    """Run a step to its end; it ends with this process, however that ends."""
    lines, steps = deque[str](maxlen=KEPT_LINES), pip.Steps()
    with subprocess.Popen(
        command,
        env=environment,
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        errors="replace",
        process_group=0,
        preexec_fn=lambda: end_with_parent(signal.SIGKILL),
    ) as process:
        try:
            with Telling() as tell:
                for line in process.stdout or ():
                    lines.append(line.rstrip())
                    tell(lambda: f"{what}: {steps.said}", at_once=steps.hear(line))
            code = process.wait()
        except BaseException:
            with contextlib.suppress(ProcessLookupError):
                os.killpg(process.pid, signal.SIGKILL)
            raise
    if code != 0:
        full = f"the disk of {folder.parent} is full; make room on it, then run again"
        last = next((line for line in reversed(lines) if line), f"exit code {code}")
        why = pip.why_failed(lines, full, DOWNLOAD_ADVICE) or last
        raise FaceoffError(f"{_said(folder)}: the virtual environment was not made ({what}): {why}")


def _said(folder: Path) -> Path:
    return FOLDER / folder.name


def disk_bytes(folder: Path) -> int:
    """Return what the folder takes on disk, as `du` counts."""
    sizes: dict[int, int] = {}
    for above, folders, files in os.walk(folder):
        for name in (*folders, *files):
            with contextlib.suppress(FileNotFoundError):  # while one is made, files come and go
                found = Path(above, name).lstat()
                sizes[found.st_ino] = found.st_blocks * 512
    return sum(sizes.values())


def _source(venv: Venv, root: Path) -> Source:
    """Return the Python that venv.python names. Raises FaceoffError."""
    if venv.python is None:
        return _ask(Path(sys.executable))
    if not VERSION.fullmatch(venv.python):
        try:
            return _ask(root / Path(venv.python).expanduser())
        except FaceoffError as error:
            raise FaceoffError(f"venv.python {venv.python}: {error}") from None
    name = f"python{'.'.join(venv.python.split('.')[:2])}"
    problems = []
    for path in _on_path(name):
        try:
            source = _ask(path)
        except FaceoffError as error:  # pyenv puts a script there for what it may not have chosen
            problems.append(str(error))
            continue
        if f"{source.version}.".startswith(f"{venv.python}."):
            return source
        problems.append(f"{path} is {source.version}")
    there = sorted({int(each.name.removeprefix("python3.")) for each in _on_path("python3.*")})
    why = "; ".join(problems) or f"no {name} on PATH; found {', '.join(f'3.{each}' for each in there) or 'no other'}"
    raise FaceoffError(f"venv.python {venv.python}: {why}; install it, or name a version or a path that is there")


def _on_path(pattern: str) -> list[Path]:
    """Return the Pythons on PATH whose file's name is like that, in the order in which a shell looks."""
    folders = [Path(each) for each in os.environ.get("PATH", os.defpath).split(os.pathsep) if each]
    found = [path for folder in folders if folder.is_dir() for path in sorted(folder.glob(pattern))]
    return [path for path in found if re.fullmatch(r"python3\.\d+", path.name) and os.access(path, os.X_OK)]


def _ask(python: Path) -> Source:
    """Ask a Python what it is."""
    try:
        run = subprocess.run([python, "-Ic", PROBE], capture_output=True, text=True, errors="replace", check=False)
        answer = run.stdout.rstrip().rpartition("\n")[2]  # a sitecustomize of its own may have printed before
        path, version, implementation, machine, has_ensurepip = json.loads(answer)
    except OSError as error:
        raise FaceoffError(f"{python} does not run: {error.strerror}") from None
    except ValueError:
        words = next((line for line in run.stderr.splitlines() if line), f"exit code {run.returncode}")
        raise FaceoffError(f"{python} does not run: {words}") from None
    return Source(Path(path), version, implementation, machine, has_ensurepip)


def _minor(source: Source) -> str:
    return ".".join(source.version.split(".")[:2])


def _read(path: Path) -> bytes:
    try:
        return path.read_bytes()
    except OSError as error:
        raise FaceoffError(f"{path}: not readable: {error.strerror}") from None
