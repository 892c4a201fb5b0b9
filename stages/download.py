"""Stage `download`: the job's data, once, and a manifest of it.

    python -m stages.download

Runs the job's `download`, if it has one, which fills data/<job>. Writes data/manifest.json, a listing's digest: of
data/<job> with contents, of the folders that job.yaml names in `data` with sizes; and metrics/dataset.json, numbers.
"""

import hashlib
import json
import os
from collections.abc import Iterator
from pathlib import Path

from stages import codec, records
from stages.errors import FaceoffError, run_entry
from stages.harness.environments import commands
from stages.harness.params import jobs, schema
from stages.harness.params.schema import Params
from stages.harness.process.dvc_lock import dvc_stage
from stages.units import amount

LEFT_OUT = "downloads"  # a folder directly below data/<job>, where archives may lie
BLOCK_BYTES = 2**20


@dvc_stage
def main() -> int:
    """Have the job fill its folder, and list what is there."""
    records.MANIFEST_PATH.unlink(missing_ok=True)
    records.DATASET_PATH.unlink(missing_ok=True)
    wanted, root = schema.load(), Path.cwd()
    folders = jobs.folders(wanted.job, jobs.load(wanted.job, root), root)[1:]
    records.data_dir(wanted.job).mkdir(parents=True, exist_ok=True)
    facts = commands.download(wanted, root)
    try:
        manifest = list_data(wanted, folders)
    except OSError as error:
        raise FaceoffError(f"{error.filename or records.DATA_DIR}: {codec.refusal(error)}") from None
    numbers = {name: fact for name, fact in facts.items() if isinstance(fact, int | float)}
    dataset = {"files": manifest.files, "bytes": manifest.size_bytes, **numbers}
    codec.write_text(records.DATASET_PATH, json.dumps(dataset, indent=2) + "\n")
    codec.write(records.MANIFEST_PATH, manifest)
    print(f"data of job {wanted.job}: {manifest.files:,} files, {amount(manifest.size_bytes)}")
    return 0


def list_data(wanted: Params, folders: tuple[Path, ...]) -> records.Manifest:
    """Return the manifest of the job's own data and of folders elsewhere."""
    digest, files, size_bytes = hashlib.sha256(), 0, 0
    own = records.data_dir(wanted.job)
    for folder in (own, *folders):
        for path in walk(folder):
            _check_link(path)
            size = path.stat().st_size
            what = _sha256(path) if folder == own else str(size)
            name = path.relative_to(folder) if folder == own else path
            digest.update(os.fsencode(name) + b"\0" + what.encode() + b"\n")
            files, size_bytes = files + 1, size_bytes + size
    return records.Manifest(wanted.job, digest.hexdigest(), files, size_bytes)


def walk(folder: Path) -> Iterator[Path]:
    """Yield the files below the folder in a fixed order, symbolic links followed, each folder once."""
    seen = set[str]()
    for name, folders, files in os.walk(folder, onerror=_raise_unless_missing, followlinks=True):
        place = os.path.realpath(name)
        if place in seen:
            folders.clear()
            continue
        seen.add(place)
        folders[:] = sorted(each for each in folders if Path(name) != folder or each != LEFT_OUT)
        yield from (Path(name, each) for each in sorted(files))


def _check_link(path: Path) -> None:
    """Raise FaceoffError for a symbolic link to what is not there."""
    if path.is_symlink() and not path.exists():
        raise FaceoffError(f"{path}: a symbolic link to {os.readlink(path)}, which is not there: mend or remove it")


def _raise_unless_missing(error: OSError) -> None:
    if not isinstance(error, FileNotFoundError):
        raise error


def _sha256(path: Path) -> str:
    digest = hashlib.sha256()
    with path.open("rb") as file:
        for block in iter(lambda: file.read(BLOCK_BYTES), b""):
            digest.update(block)
    return digest.hexdigest()


if __name__ == "__main__":
    run_entry(main)
