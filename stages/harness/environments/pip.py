"""Runs pip so that locks alone say what is installed and where.

Of what a shell or a pip.conf sets, only the way to a package index reaches it: a target, a constraint or a user's own
folder would make another environment of the same locks.

Standard library only, since `make` runs it before anything is installed:

    python -m stages.harness.environments.pip -r requirements.lock
"""

import ast
import os
import re
import subprocess
import sys
from collections import deque
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path

from stages.errors import FaceoffError, run_entry
from stages.units import amount
from stages.watched import Telling, is_watched

# Of the shell: what a program needs to run, to write its cache and to reach another machine.
KEPT = ("HOME", "USER", "LOGNAME", "LANG", "LANGUAGE", "TZ", "TMPDIR", "XDG_CACHE_HOME", "NETRC")
CERTIFICATES = ("SSL_CERT_FILE", "SSL_CERT_DIR", "REQUESTS_CA_BUNDLE", "CURL_CA_BUNDLE")
PROXY = re.compile(r"(HTTPS?|ALL|NO)_PROXY", re.IGNORECASE)
# Of pip's own settings: where its index is, and how to speak with it.
INDEX = ("index-url", "extra-index-url", "no-index", "find-links", "trusted-host", "cert", "client-cert", "proxy")
TRANSFER = ("cache-dir", "no-cache-dir", "timeout", "default-timeout", "retries", "keyring-provider", "use-feature")
CONFIG_FILES = ("PIP_CONFIG_FILE", "XDG_CONFIG_HOME", "XDG_CONFIG_DIRS")  # where pip looks for its pip.conf
SECTIONS = ("global", "install")  # of a pip.conf, the stronger one last
LISTED = re.compile(r"(\w+)\.([\w-]+)=(.+)")  # as `pip config list` prints a setting
KEPT_LINES = 50  # of what it prints, for why it fails
FULL = "no space left on device"
TELLS_BYTES = (24, 1)  # the first pip that prints how much of a file has come
COLLECTING = re.compile(r"(?:Collecting|Requirement already satisfied:) (\S+)")
DOWNLOADING = re.compile(r"\s*(?:Downloading|Using cached) (\S+)(?: \((.+)\))?")
PROGRESS = re.compile(r"Progress (\d+) of (\d+)")
INSTALLING = re.compile(r"Installing collected packages: (.+)")


def command(python: Path, *arguments: str) -> tuple[str, ...]:
    """Return the command that installs with that Python's pip, for `environment`."""
    bar = "raw" if is_watched() and _version(python) >= TELLS_BYTES else "off"
    quiet = ("--disable-pip-version-check", "--no-input", "--progress-bar", bar)
    return (str(python), "-uIm", "pip", "install", *quiet, *arguments)


def _version(python: Path) -> tuple[int, ...]:
    """Return the version of that environment's pip, (0,) where none is found."""
    found = [
        each.name.split("-")[1] for each in python.parent.parent.glob("lib/python3*/site-packages/pip-*.dist-info")
    ]
    return tuple(int(part) for part in found[0].split(".")[:2] if part.isdecimal()) if found else (0,)


class Steps:
    """What pip is at, from the lines that it prints."""

    def __init__(self) -> None:
        self.said, self.is_heard = "looking for packages", False
        self._packages, self._file = 0, ""

    def hear(self, line: str) -> bool:
        """Take the next line. Whether what it begins may take long."""
        collecting, downloading = COLLECTING.match(line), DOWNLOADING.match(line)
        progress, installing = PROGRESS.match(line), INSTALLING.match(line)
        self.is_heard |= collecting is not None
        if collecting:
            self._packages += 1
            self.said = f"package {self._packages}: {collecting[1]}"
        elif downloading:
            self._file = "-".join(downloading[1].rpartition("/")[2].split("-")[:2])  # name and version
            self.said = f"package {self._packages}: {self._file}" + (f" ({downloading[2]})" if downloading[2] else "")
        elif progress:
            of_all = f"{amount(int(progress[1]))} of {amount(int(progress[2]))}"
            self.said = f"package {self._packages}: {self._file}: {of_all}"
        elif installing:
            self.said = f"installing {len(installing[1].split(', '))} packages"
        return bool(downloading or installing)


def environment(python: Path) -> dict[str, str]:
    """Return what that Python's pip gets of this process's environment and of the pip.conf files that it finds."""
    own = clean()
    found = {f"PIP_{name.upper().replace('-', '_')}": value for name, value in _configured(python, own).items()}
    return own | found | {"PIP_CONFIG_FILE": os.devnull}


def clean() -> dict[str, str]:
    """Return what any program gets of this process's environment here."""
    kept = {name: each for name, each in os.environ.items() if name in KEPT + CERTIFICATES or name.startswith("LC_")}
    kept |= {name: each for name, each in os.environ.items() if PROXY.fullmatch(name)}
    return kept | {"PATH": os.environ.get("PATH", os.defpath)}


def _configured(python: Path, own: Mapping[str, str]) -> dict[str, str]:
    """Return pip's settings that are kept; a variable is stronger than a file, as for pip itself."""
    files = {name: os.environ[name] for name in CONFIG_FILES if name in os.environ}
    listed = subprocess.run(
        [python, "-Im", "pip", "config", "list"], env={**own, **files}, capture_output=True, text=True, errors="replace"
    )
    if listed.returncode != 0:
        words = " ".join((listed.stderr or listed.stdout).split())
        raise FaceoffError(f"pip does not read its settings: {words.removeprefix('ERROR: ')}: mend that file")
    found: dict[str, str] = {}
    for wanted in SECTIONS:
        found |= {name: value for section, name, value in _listed(listed.stdout) if section == wanted}
    return {name: value for name, value in found.items() if name in INDEX + TRANSFER} | dict(_variables())


def _listed(text: str) -> Iterator[tuple[str, str, str]]:
    for line in text.splitlines():
        match = LISTED.fullmatch(line)
        if match:
            yield match[1], match[2].replace("_", "-").lower(), str(ast.literal_eval(match[3]))


def _variables() -> Iterator[tuple[str, str]]:
    for variable, value in os.environ.items():
        name = variable.removeprefix("PIP_").replace("_", "-").lower()
        if variable.startswith("PIP_") and name in INDEX + TRANSFER and value:
            yield name, value


def why_failed(lines: Sequence[str], full: str, advice: str) -> str | None:
    """Return what pip's last lines say went wrong and what to do, in one line; None where they say nothing.

    `full`: what to say of a full disk. `advice`: what to do where something cannot be downloaded.
    """
    text = "\n".join(lines)
    if FULL in text.lower():
        return full
    unreachable = re.search(r"host='([^']+)'.*? with url: (\S+) \(Caused by (.*)", text)
    refused = re.search(r"HTTP error (\d+) while getting (\S+)", text)
    if unreachable:
        reason = re.sub(r"\[Errno -?\d+\] ", "", unreachable[3].rstrip("')\"").rpartition(": ")[2])
        return f"https://{unreachable[1]}{unreachable[2]} cannot be downloaded ({reason}); {advice}"
    if refused:
        return f"{refused[2]} cannot be downloaded (HTTP {refused[1]}); {advice}"
    errors = [line.removeprefix("ERROR: ") for line in lines if line.startswith("ERROR: ")]
    if "after connection broken by" in text:
        return f"the package index cannot be reached ({errors[-1] if errors else 'no answer'}); {advice}"
    return f"pip says: {errors[-1]}" if errors else None


def main() -> int:
    """Install, telling how far it is where somebody watches: it takes minutes."""
    python = Path(sys.executable)
    if not is_watched():
        quietly = command(python, "-qq", *sys.argv[1:])
        os.execve(python, quietly, environment(python))  # noqa: S606 - in place of this process
    steps, wanted, kept = Steps(), command(python, *sys.argv[1:]), deque[str](maxlen=KEPT_LINES)
    with subprocess.Popen(
        wanted, env=environment(python), stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, errors="replace"
    ) as process, Telling() as tell:
        for line in process.stdout or ():
            kept.append(line)
            tell(lambda: f"pip: {steps.said}", at_once=steps.hear(line))
    if process.returncode:
        text = "".join(kept)
        print(text[max(0, text.find("ERROR: ")) :], end="", file=sys.stderr)
    return process.returncode


if __name__ == "__main__":
    run_entry(main)
