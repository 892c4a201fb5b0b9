"""A training that is under way, kept after every epoch, so that another process can go on where this one ended.

One file beside the cell's model folder, written whole or not at all:

    faceoff-checkpoint VERSION SHA256    of all that follows
    {"belongs": ..., "progress": ...}    JSON: what it belongs to, and what was measured so far
    the learner's state                  as torch.save writes it

It belongs where DVC would not train the cell anew: to the same cell, recipe, photos, machine, image and code. One that
does not belong, or is damaged, is named and not used. It outlives the training's end: until DVC has noted the result,
its run may yet die and be made again. After that stages/harness/cells/checkpoints.py removes it.

Runs inside images: Python 3.7 syntax, standard library and torch.
"""

import dataclasses
import hashlib
import json
import os
import sys
from pathlib import Path
from typing import Any, BinaryIO, Dict, Iterator, Optional, Tuple

import torch

from stages import codec
from stages.errors import FaceoffError
from stages.records import Cell, Conditions, Environment, Epoch, Recipe, Sitting, facts_path, image_path

VERSION = 2
MARK = "faceoff-checkpoint"
CODE = ("stages/train.py", "stages/records", "stages/codec.py", "stages/workload")
SHOWN_DIFFERENCES = 6
SHOWN_CHARACTERS = 16  # of a value; a hash is longer
CHUNK_BYTES = 2**20


@dataclasses.dataclass(frozen=True)
class Progress:
    """What was measured of a cell so far, in one sitting or several."""

    epochs: Tuple[Epoch, ...] = ()  # of all phases
    sittings: Tuple[Sitting, ...] = ()
    conditions: Tuple[Conditions, ...] = ()  # before each sitting's first epoch
    started_at: str = ""  # of the first sitting
    wall_seconds: float = 0.0  # of the sittings, each up to its last whole epoch


class Unusable(FaceoffError):
    """Why a checkpoint is not used."""


def belongings(
    cell: Cell, recipe: Recipe, dataset_sha256: str, machine_sha256: str, environment: Environment
) -> Dict[str, Any]:
    """What a checkpoint of this cell belongs to, as JSON has it."""
    told = {
        "cell": dataclasses.asdict(cell),
        "recipe": dataclasses.asdict(recipe),
        "data set": dataset_sha256,
        "machine": machine_sha256,
        "environment": dataclasses.asdict(environment),
        "image": _digest(image_path(cell.image)),
        "image's facts": _digest(facts_path(cell.image)),
        "code": _digest(*CODE),
    }
    return json.loads(json.dumps(told))


def save(path: Path, belongs: Dict[str, Any], progress: Progress, state: dict) -> None:
    """Whole or not at all. Where there is no room, say so and leave the one before: the training goes on."""
    temporary = path.with_name(path.name + ".tmp")
    try:
        with temporary.open("w+b") as file:
            file.write(_first_line("0" * 64))
            header = {"belongs": belongs, "progress": dataclasses.asdict(progress)}
            file.write(json.dumps(header, allow_nan=False).encode() + b"\n")
            torch.save(state, file)
            file.seek(len(_first_line("0" * 64)))
            digest = _digest_of(file)
            file.seek(0)
            file.write(_first_line(digest))
            file.flush()
            os.fsync(file.fileno())
        temporary.replace(path)
        codec.sync_folder(path.parent)
    except BaseException as error:
        if temporary.exists():
            temporary.unlink()
        why = error.__context__ if isinstance(error, RuntimeError) and error.__context__ else error
        if not isinstance(why, (OSError, RuntimeError)):  # RuntimeError is how torch says that a disk is full
            raise why from None
        print("faceoff: {}: not written ({}); the training goes on without it".format(path, why), file=sys.stderr)


def load(path: Path, belongs: Dict[str, Any]) -> Optional[Tuple[Progress, dict]]:
    """What was measured and the learner's state; None where there is no checkpoint of this cell. Says why on stderr."""
    if not path.exists():
        return None
    try:
        with path.open("rb") as file:
            return _read(file, belongs)
    except (FaceoffError, OSError) as error:
        print("faceoff: {} is not used: {}; the cell begins anew".format(path, error), file=sys.stderr)
        return None


def _read(file: BinaryIO, belongs: Dict[str, Any]) -> Tuple[Progress, dict]:
    mark, version, digest, *_ = (*file.readline(256).decode("ascii", "replace").split(), "", "", "")
    if mark != MARK:
        raise Unusable("damaged: it does not begin as a checkpoint does")
    if version != str(VERSION):
        raise Unusable("of another version of faceoff (format {}, now {})".format(version, VERSION))
    begin = file.tell()
    if _digest_of(file) != digest:
        raise Unusable("damaged: its sha256 is another")
    file.seek(begin)
    header = json.loads(file.readline().decode())
    differences = list(_differences(header["belongs"], belongs))
    if differences:
        more = len(differences) - SHOWN_DIFFERENCES
        differences[SHOWN_DIFFERENCES:] = ["and {} more".format(more)] if more > 0 else []
        raise Unusable("of another training ({})".format("; ".join(differences)))
    return codec.decode(Progress, header["progress"], "progress"), torch.load(file, map_location="cpu")


def _differences(was: Any, now: Any, name: str = "") -> Iterator[str]:
    """'recipe.size was 96, is 128'"""
    if isinstance(was, dict) and isinstance(now, dict):
        for key in sorted({*was, *now}):
            yield from _differences(was.get(key), now.get(key), "{}.{}".format(name, key) if name else key)
    elif was != now:
        yield "{} was {}, is {}".format(name, _shown(was), _shown(now))


def _shown(value: Any) -> str:
    text = json.dumps(value)
    return text if len(text) <= 2 * SHOWN_CHARACTERS else text[: 1 + SHOWN_CHARACTERS] + "..."


def _first_line(digest: str) -> bytes:
    return "{} {} {}\n".format(MARK, VERSION, digest).encode()


def _digest(*names: Any) -> Optional[str]:
    """sha256 of files, and of all Python files of folders, with their names; None where there is none."""
    paths = [each for name in map(Path, names) for each in ([name] if name.is_file() else sorted(name.rglob("*.py")))]
    if not paths:
        return None
    parts = ["{} {}\n".format(path.as_posix(), hashlib.sha256(path.read_bytes()).hexdigest()) for path in paths]
    return hashlib.sha256("".join(parts).encode()).hexdigest()


def _digest_of(file: BinaryIO) -> str:
    """sha256 of what follows."""
    found = hashlib.sha256()
    for chunk in iter(lambda: file.read(CHUNK_BYTES), b""):
        found.update(chunk)
    return found.hexdigest()
