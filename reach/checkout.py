"""What of this checkout runs a face-off elsewhere: copied into a folder, or packed.

Results and data stay here, and what git ignores does: secrets that lie about, for one.
"""

import io
import os
import shutil
import subprocess
import tarfile
from pathlib import Path

from stages.errors import FaceoffError

PARTS = ("stages", "jobs", "docker", "presets", "reach", ".dvc")
FILES = ("dvc.yaml", "params.yaml", "Makefile", ".dvcignore", ".gitignore", "LICENSE")
WITHOUT_GIT = ".dvc/config.local"  # of DVC: over there is no git
CONFIG = "[core]\n    no_scm = true\n    analytics = false\n"


def files(root: Path) -> list[str]:
    """List what goes along: what git tracks, and what is new and not ignored, as it lies there."""
    command = ["git", "ls-files", "-z", "--cached", "--others", "--exclude-standard", "--", *PARTS, *FILES]
    try:
        done = subprocess.run(command, cwd=root, capture_output=True)
    except OSError as error:
        raise FaceoffError(f"cannot run git: {error.strerror}: install it") from None
    if done.returncode:
        raise FaceoffError(
            f"{root}: not a git checkout, by which is known what of it goes along: clone it with git "
            f"({done.stderr.decode(errors='replace').strip().splitlines()[-1]})"
        )
    found = sorted({*os.fsdecode(done.stdout).split("\0")} - {"", WITHOUT_GIT})
    return [name for name in found if (root / name).is_file()]


def copy(root: Path, target: Path) -> None:
    """Copy it to a folder that another machine sees; the set-up here, .venv and .venvs, is linked to."""
    for name in files(root):
        (target / name).parent.mkdir(parents=True, exist_ok=True)
        shutil.copy2(root / name, target / name)
    (target / WITHOUT_GIT).write_text(CONFIG, encoding="utf-8")
    for name in (".venv", ".venvs"):
        if (root / name).exists():
            (target / name).symlink_to((root / name).resolve())


def packed(root: Path) -> bytes:
    """Pack it into a tar.xz, which is less than half of a zip: locks of hashes are most of it."""
    made = io.BytesIO()
    with tarfile.open(fileobj=made, mode="w:xz", preset=9) as target:
        for name in files(root):
            _add(target, name, (root / name).read_bytes(), (root / name).stat().st_mode & 0o777)
        _add(target, WITHOUT_GIT, CONFIG.encode(), 0o644)
    return made.getvalue()


def _add(target: tarfile.TarFile, name: str, content: bytes, mode: int) -> None:
    member = tarfile.TarInfo(name)  # of no time and no owner: the same checkout makes the same archive
    member.size, member.mode = len(content), mode
    target.addfile(member, io.BytesIO(content))
