"""Takes a pack from elsewhere: checks all of it in a folder aside, and lays it under sites/<site>/<session>."""

import dataclasses
import json
import re
import shutil
import tempfile
from collections.abc import Callable
from pathlib import Path

from stages import codec, variables
from stages.codec import RecordError
from stages.errors import FaceoffError
from stages.harness.sites import archive, compare_sites, contents, names, sessions
from stages.harness.sites.names import Index
from stages.harness.sites.sessions import Session

AGAIN = "pack it again where it was measured"
ADVICE = re.compile(r"; (made by another version of faceoff: )?(measure again with|the stage that writes it)[^)]*")
MARGIN = 0.02  # whichever: what comes out is thrown away
CHANGED = "what it holds was changed since it was packed: fetch it again, or " + AGAIN


@dataclasses.dataclass(frozen=True)
class Collected:
    """What became of a pack."""

    session: Session
    folder: Path
    is_new: bool  # False: it had been collected before


def collect(file: Path, site: str, finish: Callable[[Session, Path], None] = lambda session, folder: None) -> Collected:
    """Lay the pack down as a session of the site, once `finish` has made what is to be made of it in its folder.

    Raises FaceoffError, one line that names the file.
    """
    names.check_site(site)
    try:
        names.SITES_DIR.mkdir(exist_ok=True)
        aside = Path(tempfile.mkdtemp(dir=names.SITES_DIR, prefix=".collect-"))
    except OSError as error:
        raise FaceoffError(f"{names.SITES_DIR}: not to be written in: {codec.refusal(error)}") from None
    try:
        index = _unpacked(file, aside)
        session = _session(aside, site, index)
        folder = names.SITES_DIR / site / index.session
        is_new = not _is_there(folder, index)
        if is_new:
            _check_counted_once(folder, index)
            finish(session, aside)
            folder.parent.mkdir(parents=True, exist_ok=True)
            aside.chmod(0o755)
            aside.rename(folder)
            codec.sync_folder(folder.parent)
        return Collected(session, folder, is_new)
    except FaceoffError as error:
        said = ADVICE.sub(f"; {AGAIN}", str(error).replace(f"{aside}/", ""))
        raise FaceoffError(variables.shown(f"{file}: refused: {said}")) from None
    except OSError as error:
        raise FaceoffError(variables.shown(f"{file}: not laid down: {codec.refusal(error)}")) from None
    finally:
        shutil.rmtree(aside, ignore_errors=True)


def _unpacked(file: Path, aside: Path) -> Index:
    """Unpack and return the index, once all that it tells of is there as it tells it."""
    digests = archive.unpack(file, aside)
    if names.INDEX not in digests:
        raise FaceoffError(f"it has no {names.INDEX}: expected a zip that `.venv/bin/python -m stages.pack` made")
    index = _index(aside / names.INDEX)
    del digests[names.INDEX]
    if digests != index.files:
        odd = next(name for name in {**digests, **index.files} if digests.get(name) != index.files.get(name))
        raise FaceoffError(f"{odd!r:.200} is not what {names.INDEX} says: {CHANGED}")
    for name in digests:
        contents.check(name, (aside / name).read_bytes())
    return index


def _index(path: Path) -> Index:
    text = path.read_text(encoding="utf-8", errors="replace")
    try:
        version = json.loads(text)["schema_version"]
    except (ValueError, RecursionError, KeyError, TypeError):
        raise FaceoffError(f"{names.INDEX}: not readable: {CHANGED}") from None
    if version != codec.SCHEMA_VERSION or type(version) is not int:
        raise FaceoffError(
            f"packed by another faceoff: of schema version {version!r:.20}, expected {codec.SCHEMA_VERSION}: "
            "measure and pack it again there with this version"
        )
    try:
        index = codec.parse(text, Index, names.INDEX)
    except RecordError as error:
        raise FaceoffError(str(error)) from None
    if not names.SESSION_NAME.fullmatch(index.session):
        raise FaceoffError(f"{names.INDEX}: session: expected a name such as 20260102-030405-0a1b2c3d: {AGAIN}")
    return index


def _session(aside: Path, site: str, index: Index) -> Session:
    """Read the records as they will be read later, and compute with them. Raises FaceoffError for what is wrong."""
    try:
        session = sessions.read(aside, site)
        json.dumps(dataclasses.asdict(compare_sites.compare({site: [session]}, MARGIN)), allow_nan=False)
    except FaceoffError:
        raise
    except Exception as error:  # whoever made the pack may have made it so that a reader stumbles
        raise FaceoffError(f"its records are not readable: {type(error).__name__}: {error!s:.200}") from None
    if session.name != index.session:
        raise FaceoffError(f"its trainings are of session {session.name}, not of {index.session}: {CHANGED}")
    return session


def _is_there(folder: Path, index: Index) -> bool:
    """Whether the same pack was collected before. Raises FaceoffError where another one of the session was."""
    if not folder.exists():
        return False
    present = _present(folder)
    if present.files == index.files:
        return True
    differing = sum(present.files.get(name) != index.files.get(name) for name in {**present.files, **index.files})
    raise FaceoffError(
        f"it differs from the pack of this session that was collected before, in {differing} of its files: keep "
        f"{folder}, or remove it and collect this one"
    )


def _present(folder: Path) -> Index:
    """Return the index of a session that was collected before. Raises FaceoffError where it is not as it was."""
    try:
        return _index(folder / names.INDEX)
    except (FaceoffError, OSError):
        said = "is not readable any more: remove the folder, and collect its pack anew"
        raise FaceoffError(f"{folder / names.INDEX}, of what was collected before, {said}") from None


def _check_counted_once(folder: Path, index: Index) -> None:
    """Raise FaceoffError where a training of it is in another session already."""
    for other in sorted(names.SITES_DIR.glob("[!.]*/*/" + names.INDEX)):
        if other.parent == folder:
            continue
        twice = len(_present(other.parent).trainings & index.trainings)
        if twice:
            raise FaceoffError(
                f"{twice} of its {len(index.trainings)} trainings are in {other.parent} too, and would count twice: "
                "keep one of the two"
            )
