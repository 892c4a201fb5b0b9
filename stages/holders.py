"""Which processes of this machine hold much of its memory or of /dev/shm, as far as /proc tells in here.

Runs everywhere: Python 3.7 syntax, standard library only.
"""

import os
import pwd
import re
from pathlib import Path
from typing import Iterator, List, NamedTuple, Optional, Tuple

from stages import variables
from stages.contract import printable
from stages.units import amount

PROC = Path("/proc")
SHM = Path("/dev/shm")  # noqa: S108 - looked at, not written to
NAME_LETTERS = 60
MUCH_SHARE = 0.1  # of what there is: who holds less is not named
SHOWN = 3  # of those, the largest


class Held(NamedTuple):
    """Memory that belongs to a process, or to a file of /dev/shm that nobody uses."""

    who: str
    used_bytes: int


def described(pid: int) -> Tuple[Optional[str], Optional[str]]:
    """Return the process's command line, cut short, and its user where that is another one; None: not known."""
    words = [each for each in _text(PROC / str(pid) / "cmdline").split("\0") if each]
    if words:
        words[0] = words[0].rpartition("/")[2]
    return printable(" ".join(_without_secrets(words)))[:NAME_LETTERS] or None, _other_user(PROC / str(pid))


def _without_secrets(words: List[str]) -> Iterator[str]:
    """Yield a command's words, '(set)' in place of what options like --hf-token say: a record is shown to others."""
    hides = False
    for word in words:
        name, equals, _ = word.partition("=")
        is_secret = variables.SECRET.fullmatch(name.lstrip("-").replace("-", "_")) is not None
        if hides:
            yield "(set)"
        else:
            yield f"{name}=(set)" if is_secret and equals else variables.LOGIN.sub("(login)", word)
        hides = is_secret and not equals and word.startswith("-")


def named(pid: int, name: Optional[str] = None) -> str:
    """'pid 17 (python train.py, of bob)'; `name`: where /proc does not tell one."""
    command, owner = described(pid)
    words = ", ".join(each for each in (command or name, owner and f"of {owner}") if each)
    return f"pid {pid}" + (f" ({words})" if words else "")


def of_memory(total_bytes: Optional[int]) -> str:
    """Return who holds much of the machine's memory: 'pid 17 (hog) holds 5 GiB of it', or nothing."""
    found = [Held(str(pid), sum(_resident(pid, "Anon", "Shmem"))) for pid in _pids()]
    much = [each for each in found if each.used_bytes >= MUCH_SHARE * (total_bytes or 2**62)]
    return _sentence([Held(named(int(each.who)), each.used_bytes) for each in much])


def of_shm() -> str:
    """Return who holds much of /dev/shm, a process or a file that no process has in its memory; or nothing."""
    try:
        status = os.statvfs(str(SHM))
        files = {each.path: each.stat().st_blocks * 512 for each in os.scandir(str(SHM)) if each.is_file()}
    except OSError:
        return ""
    found, used = [], set()
    for pid in _pids():
        mapped = set(re.findall(rf" ({SHM}/.+?)(?: \(deleted\))?$", _text(PROC / str(pid) / "maps"), re.MULTILINE))
        if mapped:
            used |= mapped
            found.append(Held(named(pid), sum(_resident(pid, "Shmem"))))
    found += [Held(_file(Path(path)), size) for path, size in files.items() if path not in used]
    return _sentence([each for each in found if each.used_bytes >= MUCH_SHARE * status.f_blocks * status.f_frsize])


def _sentence(found: List[Held]) -> str:
    largest = sorted(found, key=lambda each: -each.used_bytes)[:SHOWN]
    return ", ".join(f"{each.who} holds {amount(each.used_bytes)} of it" for each in largest)


def _file(path: Path) -> str:
    owner = _other_user(path)
    return f"the file {printable(str(path))}" + (f" (of {owner})" if owner else "")


def _resident(pid: int, *kinds: str) -> Iterator[int]:
    """Yield the bytes of each kind that the process has in memory (since Linux 4.5)."""
    text = _text(PROC / str(pid) / "status")
    for kind in kinds:
        match = re.search(rf"^Rss{kind}:\s+(\d+) kB", text, re.MULTILINE)
        yield int(match.group(1)) * 1024 if match else 0


def _pids() -> Iterator[int]:
    return (int(each.name) for each in PROC.iterdir() if each.name.isdigit() and int(each.name) != os.getpid())


def _other_user(path: Path) -> Optional[str]:
    try:
        uid = path.stat().st_uid
        return None if uid == os.getuid() else pwd.getpwuid(uid).pw_name
    except KeyError:
        return f"uid {uid}"
    except OSError:
        return None


def _text(path: Path) -> str:
    try:
        return path.read_text(encoding="utf-8", errors="replace")
    except OSError:
        return ""
