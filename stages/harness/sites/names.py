"""What a pack may hold, by its names; what a site may be called; and where both lie.

All of it comes from elsewhere: what is not known to be harmless is refused.
"""

import dataclasses
import re
import unicodedata
from collections.abc import Iterable
from pathlib import Path, PurePosixPath

from stages import records
from stages.errors import FaceoffError
from stages.harness.params.jobs import JOBS_DIR
from stages.harness.params.schema import DOCKER_DIR, PARAMS_PATH

SITES_DIR = Path("sites")
INDEX = "pack.json"
# What is one file, and what may lie in a folder.
FILES = (INDEX, str(PARAMS_PATH), str(records.MANIFEST_PATH), str(records.REPORT_PATH), str(records.PAGE_PATH))
METRICS_DIR = "metrics"
FOLDERS = (METRICS_DIR, str(JOBS_DIR), str(DOCKER_DIR))
OF_METRICS = (".json", ".csv")
LONGEST_NAME, LONGEST_PART, DEEPEST = 400, 120, 12
# DVC takes such files for its own wherever in a checkout they lie.
OF_DVC = re.compile(r"(?i)dvc\.(yaml|lock)|.*\.dvc")
OF_DVC_ITSELF = "workspace"
SITE_NAME = re.compile(r"[a-z0-9][a-z0-9_-]{0,62}")
SESSION_NAME = re.compile(r"\d{8}-\d{6}-[0-9a-f]{8}")
TRAINED = re.compile(r"metrics/[^/]+/[^/]+/train-\d+\.json")


@dataclasses.dataclass(frozen=True)
class Index:
    """pack.json: what else a pack holds."""

    session: str  # of SESSION_NAME: when its first training began, and a digest of what came out of it
    files: dict[str, str]  # name: sha256

    @property
    def trainings(self) -> set[str]:
        """Digests of the trainings: no two are alike, so that one which is in two packs was packed twice."""
        return {digest for name, digest in self.files.items() if TRAINED.fullmatch(name)}


def trouble(name: str) -> str | None:
    """Say why a pack may not hold a file of this name; None where it may."""
    path = PurePosixPath(name)
    if path.is_absolute() or ".." in name.split("/") or re.match(r"[A-Za-z]:", name):
        return "points outside of it"
    if len(name) > LONGEST_NAME or len(path.parts) > DEEPEST or max(map(len, path.parts), default=0) > LONGEST_PART:
        return "is longer or deeper than a pack's names are"
    if str(path) != name or "\\" in name or not name.isprintable():
        return "is no plain name"
    if any(part.startswith(".") or part.endswith((".", " ")) for part in path.parts):
        return "is hidden, or ends in a dot or a space"
    if OF_DVC.fullmatch(path.name):
        return "would be one of DVC's own files"
    in_folder = len(path.parts) > 1 and path.parts[0] in FOLDERS
    if name not in FILES and not (in_folder and (path.parts[0] != METRICS_DIR or path.suffix in OF_METRICS)):
        return f"is none of {', '.join(FILES)} and of the folders {', '.join(FOLDERS)}"
    return None


def clash(names: Iterable[str]) -> str | None:
    """Return the first name that a file system may take for one before it, or that is a folder of another."""
    seen, folders = set[str](), set[str]()
    for name in names:
        plain = unicodedata.normalize("NFC", name).casefold()
        above = {str(each) for each in PurePosixPath(plain).parents}
        if plain in seen or plain in folders or above & seen:
            return name
        seen.add(plain)
        folders |= above
    return None


def check_site(name: str, root: Path = Path()) -> None:
    """Raise FaceoffError for what no site may be called: an image's name, for experiments bear both."""
    if not SITE_NAME.fullmatch(name):
        expected = "expected at most 63 lower-case letters, digits, '_' and '-'"
        raise FaceoffError(f"no name of a site: {name!r:.80}: {expected}")
    if name == OF_DVC_ITSELF:
        raise FaceoffError(f"{name} is what DVC calls this checkout's own files: call the site otherwise")
    if (root / DOCKER_DIR / name / "image.yaml").is_file():
        raise FaceoffError(
            f"{name} is an image (docker/{name}), and `dvc metrics diff` knows images and sites by their names: call "
            f"the site otherwise, for example {name}-1"
        )


def known_sites(root: Path = Path()) -> list[str]:
    """List the sites of which a session is collected."""
    return sorted({each.parent.name for each in (root / SITES_DIR).glob("[!.]*/*") if each.is_dir()})


def session_dirs(site: str, root: Path = Path()) -> list[Path]:
    """List the folders of a site's sessions, the earliest first."""
    found = (root / SITES_DIR / site).glob("*")
    return sorted(each for each in found if SESSION_NAME.fullmatch(each.name) and each.is_dir())
