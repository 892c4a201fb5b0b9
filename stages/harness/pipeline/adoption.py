"""Results that are whole and that dvc.lock does not know: noted in it, so that nothing has to be measured again.

DVC measures again whatever dvc.lock does not have as it is: after a merge, in a clone without that file, after a kill
between two of DVC's writes. A result says itself of what it is, and stage `setting` what it has to be of: where both
say the same, DVC's entry can be made of the files that are there.
"""

import hashlib
import json
import os
import re
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any, NamedTuple

import yaml

from stages.codec import RecordError, write_text
from stages.errors import FaceoffError
from stages.harness import formatting
from stages.harness.params.schema import PARAMS_PATH, Params
from stages.harness.pipeline.reasons import seconds
from stages.harness.process import dvc_lock
from stages.harness.results import read
from stages.records import STAGES, Cell

DVC_YAML_PATH = Path("dvc.yaml")
BEFORE_CELLS = ("download", "profile", "setting")  # stages that are noted with a cell's, where DVC knows none of them
FORCED = {"-f", "--force"}

Entry = dict[str, Any]


class Unnoted(NamedTuple):
    """Cells whose results are whole and not in dvc.lock, and what has to be in it."""

    cells: tuple[Cell, ...]
    entries: Mapping[str, Entry]  # by stage


def note(params: Params) -> None:
    """Note in dvc.lock what is whole. To be called where no DVC runs, for it reads the file when it begins."""
    found = unnoted(params)
    if not found.entries:
        return
    whole = dvc_lock.entries(_lock()) | {name: _text(name, entry) for name, entry in found.entries.items()}
    write_text(dvc_lock.LOCK_PATH, dvc_lock.HEAD + "".join(whole.values()))
    print(
        f"faceoff: {_whole(found)}, and dvc.lock did not have them: they are noted, and not measured again; to measure "
        f"anew, delete {_folder(found)}"
    )


def check_noted(params: Params) -> None:
    """Raise FaceoffError where the DVC that runs this stage would measure again what is whole, and was not told to."""
    words = Path(f"/proc/{os.getppid()}/cmdline").read_bytes().decode(errors="replace").split("\0")
    if "DVC_STAGE" not in os.environ or not FORCED.isdisjoint(words):
        return
    found = unnoted(params)
    if found.cells:
        about = formatting.seconds(sum(map(seconds, found.cells)))
        raise FaceoffError(
            f"{_whole(found)}, and dvc.lock does not have them, so that all would be measured again, about {about}: "
            f"`make repro` keeps them; to measure anew, delete {_folder(found)}"
        )


def unnoted(params: Params) -> Unnoted:
    """Return what dvc.lock lacks, or has otherwise than the files are, of cells whose results are whole."""
    cells = [cell for cell in params.cells() if cell.result_path("train").exists()]
    text = _lock()
    noted = dvc_lock.entries(text)
    if not cells or (text.strip() and not noted):  # DVC, or who mends it, says what is wrong with it
        return Unnoted((), {})
    stages = yaml.load(DVC_YAML_PATH.read_text(encoding="utf-8"), yaml.CSafeLoader)["stages"]
    try:
        lacking = {cell: dict(_lacking(cell, STAGES, stages, noted)) for cell in cells}
        if not any(lacking.values()):
            return Unnoted((), {})
        job, present = read.belongs_now(params)
    except (RecordError, yaml.YAMLError):
        return Unnoted((), {})
    found: dict[Cell, dict[str, Entry]] = {}
    for cell, entries in lacking.items():
        its = present.get((cell.image, cell.variant))
        status = read.read(cell, its, job).status if entries and its else ""
        whole = {"ok": STAGES, "trained": STAGES[:1]}.get(status, ())
        kept = {name: entry for name, entry in entries.items() if name.partition("@")[0] in whole}
        if kept:
            before = _lacking(cell, BEFORE_CELLS, stages, noted)
            found[cell] = {name: entry for name, entry in before if name not in noted} | kept
    return Unnoted(tuple(found), {name: entry for each in found.values() for name, entry in each.items()})


def _lock() -> str:
    return dvc_lock.LOCK_PATH.read_text(encoding="utf-8") if dvc_lock.LOCK_PATH.exists() else ""


def _lacking(
    cell: Cell, names: tuple[str, ...], stages: Mapping[str, Any], noted: Mapping[str, str]
) -> Iterator[tuple[str, Entry]]:
    """Yield name and entry of those stages of the cell, its setting or its image that are not noted as the files are.

    Those whose files are not all there are left out.
    """
    item = {"repeat": str(cell.repeat), "image": cell.image, "variant": cell.variant}
    for stage in names:
        values = [item[key] for key in stages[stage].get("matrix", ())]
        name = f"{stage}@{'-'.join(values)}" if values else stage
        try:
            entry = _entry(stages[stage], item)
        except FileNotFoundError:
            continue
        if name not in noted or yaml.load(noted[name], yaml.CSafeLoader)[name] != entry:
            yield name, entry


def _entry(stage: Mapping[str, Any], item: Mapping[str, str]) -> Entry:
    """Return what DVC would note of the stage, with all files as they are. Raises FileNotFoundError without one."""

    def filled(text: str) -> str:
        return re.sub(r"\$\{item\.(\w+)\}", lambda found: item[found[1]], text)

    outputs = [filled(next(iter(each))) for key in ("outs", "metrics") for each in stage.get(key, ())]
    entry: Entry = {"cmd": filled(stage["cmd"]), "deps": [_noted(each) for each in sorted(map(filled, stage["deps"]))]}
    if "params" in stage:
        params = yaml.load(PARAMS_PATH.read_text(encoding="utf-8"), yaml.CSafeLoader)
        entry["params"] = {str(PARAMS_PATH): {filled(key): _value(params, filled(key)) for key in stage["params"]}}
    return entry | {"outs": [_noted(each) for each in sorted(outputs)]}


def _value(params: Any, key: str) -> Any:
    for part in key.split("."):
        params = params.get(part) if isinstance(params, dict) else None
    return params


def _noted(path: str) -> dict[str, Any]:
    """Return what DVC notes of a file, or of a folder with all its files (dvc_data.hashfile.tree)."""
    place = Path(path)
    if not place.is_dir():
        content = place.read_bytes()
        return {"path": path, "hash": "md5", "md5": _md5(content), "size": len(content)}
    files = [each for each in place.rglob("*") if each.is_file() and each.suffix != ".pyc"]  # as in .dvcignore
    contents = {each.relative_to(place).as_posix(): each.read_bytes() for each in files}
    listing = [{"md5": _md5(contents[name]), "relpath": name} for name in sorted(contents)]
    digest = _md5(json.dumps(listing, sort_keys=True).encode()) + ".dir"
    size = sum(map(len, contents.values()))
    return {"path": path, "hash": "md5", "md5": digest, "size": size, "nfiles": len(contents)}


def _md5(content: bytes) -> str:
    return hashlib.md5(content, usedforsecurity=False).hexdigest()


def _text(name: str, entry: Entry) -> str:
    """Return the lines of dvc.lock."""
    text = yaml.dump({name: entry}, Dumper=yaml.CSafeDumper, sort_keys=False, allow_unicode=True)
    return "".join(f"  {line}\n" for line in text.splitlines())


def _whole(found: Unnoted) -> str:
    return f"results of {formatting.count(len(found.cells), 'cell')} are whole"


def _folder(found: Unnoted) -> str:
    settings = {cell.setting for cell in found.cells}
    return f"metrics/{settings.pop()}" if len(settings) == 1 else "metrics/IMAGE/VARIANT"
