"""A training that is under way, kept after every epoch, so that another process can go on where this one ended.

One file of FACEOFF_STATE, written whole or not at all:

    dogs_cats-checkpoint VERSION SHA256    of all that follows
    {"spans": 3, ...}                      JSON: how far it is
    the learner's state                    as torch.save writes it

What it belongs to is the supervisor's affair, which empties the folder where that is another training. One that is
damaged is named and not used.

Runs inside images: Python 3.7 syntax, standard library and torch.
"""

import dataclasses
import hashlib
import json
import os
import sys
from pathlib import Path
from typing import BinaryIO, Optional, Tuple

import torch

from stages import codec
from stages.errors import FaceoffError

VERSION = 1
MARK = "dogs_cats-checkpoint"
NAME = "checkpoint"
CHUNK_BYTES = 2**20


@dataclasses.dataclass(frozen=True)
class Progress:
    """How far a training is."""

    spans: int = 0  # epochs that are done, of both phases
    phase: Optional[str] = None  # of the last of them
    done: int = 0  # of that phase
    longest_seconds: float = 0.0  # of an epoch
    peak_gpu_memory_bytes: Optional[int] = None


def save(folder: Path, progress: Progress, state: dict) -> None:
    """Write the checkpoint whole or not at all; where there is no room, say so, leave the one before, and go on."""
    path = folder / NAME
    temporary = folder / (NAME + ".tmp")
    try:
        with temporary.open("w+b") as file:
            file.write(_first_line("0" * 64))
            file.write(json.dumps(dataclasses.asdict(progress)).encode() + b"\n")
            torch.save(state, file)
            file.seek(len(_first_line("0" * 64)))
            digest = _digest_of(file)
            file.seek(0)
            file.write(_first_line(digest))
            file.flush()
            os.fsync(file.fileno())
        temporary.replace(path)
        codec.sync_folder(folder)
    except BaseException as error:
        if temporary.exists():
            temporary.unlink()
        why = error.__context__ if isinstance(error, RuntimeError) and error.__context__ else error
        if not isinstance(why, (OSError, RuntimeError)):  # RuntimeError is how torch says that a disk is full
            raise why from None
        print("{}: not written ({}); the training goes on without it".format(path, why), file=sys.stderr)


def load(folder: Path) -> Tuple[Progress, dict]:
    """Return how far an earlier process came, and its learner's state. Says on stderr why one is not used."""
    path = folder / NAME
    try:
        with path.open("rb") as file:
            return _read(file)
    except FileNotFoundError:
        pass
    except (FaceoffError, OSError) as error:
        print("{} is not used: {}; the training begins anew".format(path, error), file=sys.stderr)
    return Progress(), {}


def _read(file: BinaryIO) -> Tuple[Progress, dict]:
    mark, version, digest, *_ = (*file.readline(256).decode("ascii", "replace").split(), "", "", "")
    if mark != MARK:
        raise FaceoffError("damaged: it does not begin as a checkpoint does")
    if version != str(VERSION):
        raise FaceoffError("of another version (format {}, now {})".format(version, VERSION))
    begin = file.tell()
    if _digest_of(file) != digest:
        raise FaceoffError("damaged: its sha256 is another")
    file.seek(begin)
    progress = codec.decode(Progress, json.loads(file.readline().decode()), "progress")
    return progress, torch.load(file, map_location="cpu")


def _first_line(digest: str) -> bytes:
    return "{} {} {}\n".format(MARK, VERSION, digest).encode()


def _digest_of(file: BinaryIO) -> str:
    """Return the sha256 of what follows."""
    found = hashlib.sha256()
    for chunk in iter(lambda: file.read(CHUNK_BYTES), b""):
        found.update(chunk)
    return found.hexdigest()
