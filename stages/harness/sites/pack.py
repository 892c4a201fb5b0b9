"""Makes one zip of what a run left: definitions, metrics and report. Data, models and secrets stay where they are."""

import hashlib
import json
import os
import re
import tempfile
import zipfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from stages import codec, records, variables
from stages.errors import FaceoffError
from stages.harness.params import jobs, schema
from stages.harness.params.documents import document, read_text
from stages.harness.sites import contents, names, sessions
from stages.harness.sites.names import Index

MOST_BYTES_OF_CODE = 2**20  # of one file of a job or an image: a larger one is no definition, but data
SHORTEST_SECRET = 6  # letters of a variable's value that is searched for: 'yes' and '1' are no secrets
WHEN = (1980, 1, 1, 0, 0, 0)  # in the zip, of each file: the same run makes the same pack
SECRET_FILE = re.compile(r"(?i)kaggle\.json|credentials(\.\w+)?|id_(rsa|dsa|ecdsa|ed25519)|.*\.(pem|key|p12|pfx|kdbx)")
LOGIN = re.compile(r"://[^/@\s:'\"{}]+:[^/@\s'\"{}]+@")


def pack(path: Path | None = None) -> tuple[Path, Index, list[str]]:
    """Pack what lies here into `path`, or a file of reports/ that bears the session's name.

    Returns where it is, what it holds, and which files of the job and its images were left out, with the reason.
    """
    session = sessions.read(Path())
    wanted, left_out = _chosen(session.params)
    held = {name: Path(name).read_bytes() for name in sorted(wanted)}
    _check_secrets(session.params, held)
    for name, content in held.items():
        contents.check(name, content)
    index = Index(session.name, {name: hashlib.sha256(content).hexdigest() for name, content in held.items()})
    path = path or records.REPORT_PATH.parent / f"{session.name}.zip"
    try:
        _write(path, index, held)
    except OSError as error:
        raise FaceoffError(f"{path}: not written: {codec.refusal(error)}") from None
    return path, index, left_out


def _write(path: Path, index: Index, held: dict[str, bytes]) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(dir=path.parent, prefix=".pack-") as folder:
        half, described = Path(folder) / path.name, Path(folder) / names.INDEX
        codec.write(described, index)
        with zipfile.ZipFile(half, "w", zipfile.ZIP_DEFLATED) as made:
            for name, content in {names.INDEX: described.read_bytes(), **held}.items():
                member = zipfile.ZipInfo(name, WHEN)
                member.external_attr = 0o100644 << 16
                member.compress_type = zipfile.ZIP_DEFLATED
                made.writestr(member, content)
        half.replace(path)


def _chosen(params: schema.Params) -> tuple[list[str], list[str]]:
    """Return the names of all files to pack, and of those that a definition has beside them."""
    code = [*_of_jobs(params), *_of_images(params)]
    left_out, found = [], []
    for path in dict.fromkeys(code):
        problem = names.trouble(path.as_posix()) or _is_no_definition(path)
        if problem:
            left_out.append(f"{path} {problem}")
        else:
            found.append(path.as_posix())
    others = (schema.PARAMS_PATH, records.MANIFEST_PATH, records.REPORT_PATH, records.PAGE_PATH)
    there = [path.as_posix() for path in (*others, *_of_metrics(params)) if path.is_file()]
    return [*found, *(name for name in there if names.trouble(name) is None)], left_out


def _of_metrics(params: schema.Params) -> Iterator[Path]:
    """Yield the records of what params.yaml names, and nothing that an earlier one has left."""
    metrics = Path(names.METRICS_DIR)
    folders = [metrics, *(metrics / image for image in params.images)]
    for folder in folders:
        yield from sorted(folder.glob("*.*"))
    for cell in params.cells():
        yield from (cell.result_path(stage) for stage in records.STAGES)
        yield from (cell.predictions_path, cell.steps_path)
    for image in params.images:
        yield from (metrics / image / variant / "setting.json" for variant in params.variants)


def _of_jobs(params: schema.Params) -> Iterator[Path]:
    """Yield the files that the job's results depend on, and the job.yaml of others that params.yaml has a part of."""
    sections = document(read_text(schema.PARAMS_PATH), str(schema.PARAMS_PATH))
    yield from (jobs.JOBS_DIR / name / jobs.DEFINITION for name in jobs.names(Path()) if name in sections)
    folder = jobs.JOBS_DIR / params.job
    yield from (folder / each for each in jobs.digests(params.job, jobs.load(params.job, Path()), Path()))


def _of_images(params: schema.Params) -> Iterator[Path]:
    yield from (path for path in sorted(schema.DOCKER_DIR.glob("*")) if path.is_file())
    for image in dict.fromkeys((*params.images, *params.container.base_images)):
        yield from (path for path in sorted((schema.DOCKER_DIR / image).rglob("*")) if path.is_file())


def _is_no_definition(path: Path) -> str | None:
    if path.is_symlink():
        return "is a link"
    if SECRET_FILE.fullmatch(path.name):
        return "may hold a secret, by its name"
    if path.stat().st_size > MOST_BYTES_OF_CODE:
        return "is too large for a definition"
    return None


def _check_secrets(params: schema.Params, held: dict[str, bytes]) -> None:
    """Raise FaceoffError where a file holds the value of a variable that is named as secrets are, or a login."""
    for file, place, value in _secrets(params):
        in_json = json.dumps(value, ensure_ascii=False)[1:-1]
        spelled = [each.encode(errors="surrogateescape") for each in (value, in_json)]
        for name, content in held.items():
            if name == file or any(each in content for each in spelled):
                raise FaceoffError(
                    f"{name} holds the value of {place}, a secret by its name, which a pack would show: "
                    "have the job read it from a file of its own that is not below jobs/, and measure again"
                )
    for name, content in held.items():
        if LOGIN.search(content.decode(errors="replace")):
            raise FaceoffError(f"{name} holds an address with a password in it: take that out, and pack again")


def _secrets(params: schema.Params) -> Iterator[tuple[str, str, str]]:
    """Yield the file that sets a secret (which may spell it in many ways), the place, and its value; '': this shell."""
    file = str(schema.PARAMS_PATH)
    places: list[tuple[str, str, Any]] = [(file, f"{file}: env", params.env)]
    places += [(file, f"{file}: variants.{name}.env", its.env) for name, its in params.variants.items()]
    for image in dict.fromkeys((*params.images, *params.container.base_images)):
        path = schema.DOCKER_DIR / image / "image.yaml"
        places.append((str(path), f"{path}: env", document(read_text(path), str(path)).get("env")))
    # A shell's DB_PASSWORD=password is no secret, and the word is in many files.
    places.append(("", "the shell", {name: value for name, value in os.environ.items() if not value.isalpha()}))
    for file, place, env in places:
        for name, value in env.items() if hasattr(env, "items") else ():
            if variables.SECRET.fullmatch(str(name)) and len(str(value)) >= SHORTEST_SECRET:
                yield file, f"{name} ({place})", str(value)
