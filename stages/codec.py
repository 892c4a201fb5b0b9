"""Records as strict JSON files of one schema version: written whole or not at all, and read with every key checked.

Runs inside images: Python 3.7 syntax, standard library only.
"""

import contextlib
import dataclasses
import difflib
import errno
import hashlib
import json
import math
import os
import re
import shutil
import tempfile
import typing
from pathlib import Path
from typing import Any, Dict, Optional, Tuple, Type, TypeVar

from stages.errors import FULL, FaceoffError, no_room

SCHEMA_VERSION = 8
BLOCK_BYTES = 2**20
# What a field's name says of its number: see `_check_number`.
AMOUNT = re.compile(r"(.+_)?(seconds|bytes|hertz|watts|joules|per_second|samples|items|steps)")
SHARE = re.compile(r"(.+_)?(share|p_value)")
MERGE_MARKER = re.compile("^<{7} ", re.MULTILINE)

Record = TypeVar("Record")


class RecordError(FaceoffError):
    """A value is not what the schema says: names the file, the key, what was expected and what was found."""


class OtherSchemaError(RecordError):
    """A record is of another schema version; `found`: which, None where it says none."""

    def __init__(self, message: str, found: Optional[int]) -> None:
        super().__init__(message)
        self.found = found


def check(key: str, value: object, holds: bool, expected: str) -> None:
    """Raise a RecordError that names `key` unless `holds`. For `__post_init__`; `decode` puts the place in front."""
    if not holds:
        raise RecordError("{}: expected {}, found {}".format(key, expected, _shown(value)))


def check_absent(record: Any, *but: str) -> None:
    """Raise RecordError unless `absent` gives a reason for every null field, `but` left out, and for no other."""
    names = [field.name for field in dataclasses.fields(record) if field.name not in but]
    nulls = sorted(name for name in names if getattr(record, name) is None)
    expected = "a reason for each null field and no other ({})".format(", ".join(nulls) or "none")
    check("absent", record.absent, sorted(record.absent) == nulls, expected)


def write(path: Path, record: Any) -> None:
    """Write the record as JSON with a digest of it, whole or not at all: a temporary file beside it, then renamed.

    Raises FaceoffError where the disk does not take it, ValueError for NaN and infinities, which JSON does not have.
    """
    write_text(path, text(record))


def text(record: Any) -> str:
    """Return the record as `write` writes it. Raises ValueError as that does."""
    document = {"schema_version": SCHEMA_VERSION, "digest": fingerprint(record)}
    document.update(dataclasses.asdict(record))
    return json.dumps(document, indent=2, allow_nan=False, ensure_ascii=False) + "\n"


def write_text(path: Path, text: str) -> None:
    """Write a text file whole or not at all. Raises FaceoffError where the disk does not take it."""
    try:
        _write_text(path, text)
    except OSError as error:
        raise FaceoffError("{}: not written: {}".format(path, refusal(error))) from None


def refusal(error: OSError) -> str:
    """Say what the disk refused, and what to do."""
    if error.errno in FULL:
        return no_room(error)
    return "{}: see to it that this user may read and write there, then run again".format(error.strerror or error)


def _write_text(path: Path, text: str) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    handle, temporary = tempfile.mkstemp(dir=str(path.parent), prefix="." + path.name + ".")
    try:
        with os.fdopen(handle, "w", encoding="utf-8", newline="") as file:
            file.write(text)
            file.flush()
            os.fsync(file.fileno())
        Path(temporary).chmod(0o644)  # mkstemp gives 0600, which another user's rerun could not read
        Path(temporary).replace(path)
        sync_folder(path.parent)
    except BaseException:
        with contextlib.suppress(FileNotFoundError):  # a signal that came when it bore its new name already
            Path(temporary).unlink()
        raise


def sync_folder(folder: Path) -> None:
    """Sync the folder to the disk, so that a new name in it outlives a power cut."""
    handle = os.open(str(folder), os.O_RDONLY)
    try:
        os.fsync(handle)
    except OSError as error:
        if error.errno != errno.EINVAL:  # of a file system that has no such thing
            raise
    finally:
        os.close(handle)


def remove(path: Path) -> None:
    """Remove what is there, if anything: a file, a link, or a folder with all that is in it."""
    if path.is_dir() and not path.is_symlink():
        shutil.rmtree(str(path), ignore_errors=True)
    elif path.exists() or path.is_symlink():
        path.unlink()


def fingerprint(record: Any) -> str:
    """sha256 of the record's content, the same wherever and however it is written."""
    return _digest(dataclasses.asdict(record))


def file_fingerprint(path: Path, kind: Any) -> Optional[str]:
    """Return the fingerprint of the record in the file; None where there is no file."""
    return fingerprint(read(path, kind)) if path.exists() else None


def digest(*paths: Path) -> str:
    """sha256 of the files, and of folders' files with their names; compiled code and what is not there are left out.

    Raises FaceoffError for what cannot be read.
    """
    found = hashlib.sha256()
    try:
        for path in paths:
            for each in sorted(path.rglob("*")) if path.is_dir() else [path]:
                if each.is_file() and each.suffix != ".pyc":
                    found.update(os.fsencode(str(each.relative_to(path.parent))) + b" " + _of_file(each) + b"\n")
    except OSError as error:
        raise FaceoffError("{}: {}".format(error.filename, refusal(error))) from None
    return found.hexdigest()


def _of_file(path: Path) -> bytes:
    found = hashlib.sha256()
    with path.open("rb") as file:
        for block in iter(lambda: file.read(BLOCK_BYTES), b""):
            found.update(block)
    return found.digest()


def _digest(document: Any) -> str:
    return hashlib.sha256(json.dumps(document, sort_keys=True).encode()).hexdigest()


def read(path: Path, kind: Type[Record]) -> Record:
    """Read a record of this kind.

    Raises RecordError, naming the file and the key, for a missing or unreadable file, another schema version, unknown
    or missing keys, values of the wrong type, and a file that was changed after it was written.
    """
    try:
        text = path.read_text(encoding="utf-8")
    except FileNotFoundError:
        raise RecordError("{}: missing; the stage that writes it has not run: run `make repro`".format(path)) from None
    except (OSError, ValueError) as error:
        raise RecordError("{}: not readable as JSON ({})".format(path, error)) from None
    return parse(text, kind, str(path))


def find(path: Path, kind: Type[Record]) -> Optional[Record]:
    """Return the record; None where there is none, or only one of another version, cut short or changed."""
    try:
        return read(path, kind)
    except RecordError:
        return None


def parse(text: str, kind: Type[Record], where: str) -> Record:
    """Return the record that the text of a file holds.

    `where`, which ends as the file's name, names it in messages.
    """
    check_merged(text, where)
    try:
        document = json.loads(text)
    except (ValueError, RecursionError) as error:
        raise RecordError("{}: not readable as JSON ({})".format(where, error)) from None
    version = document.pop("schema_version", None) if isinstance(document, dict) else None
    if type(version) is not int or version != SCHEMA_VERSION:  # True and 1.0 equal 1
        raise OtherSchemaError(
            "{}: not of schema version {}; made by another version of faceoff: measure again with "
            "`.venv/bin/dvc repro -f`".format(where, SCHEMA_VERSION),
            version if type(version) is int else None,
        )
    digest = document.pop("digest", None)
    record: Record = decode(kind, document, where)
    if digest != _digest(document):
        raise RecordError(
            "{}: digest: not that of what else the file holds: it was changed after it was written; measure again with "
            "`.venv/bin/dvc repro -f`".format(where)
        )
    return record


def check_merged(text: str, where: str, both: str = "") -> None:
    """Raise RecordError where git left both sides of a merge in the text of a file; `both`: what goes with the file."""
    marker = MERGE_MARKER.search(text)
    if marker:
        line = text.count("\n", 0, marker.start()) + 1
        raise RecordError(
            "{}: both sides of a merge are in it, from line {} on: settle that, or take one side's: "
            "git checkout --ours {}{}, or --theirs".format(where, line, where, both)
        )


def decode(kind: Any, value: Any, where: str) -> Any:
    """Return the value as `kind`: a dataclass, str, int, float, bool, Optional, Tuple, Dict[str, …] or Union of these.

    `where` names the place in messages. Raises RecordError for anything that is not exactly of that kind; an int is
    taken for a float, a bool is never taken for a number.
    """
    origin = getattr(kind, "__origin__", None)
    if dataclasses.is_dataclass(kind):
        return _decode_dataclass(kind, value, where)
    if kind is Any:
        return value
    if type(None) in getattr(kind, "__args__", ()):  # an Optional
        return None if value is None else decode(kind.__args__[0], value, where)
    if origin is typing.Union:  # of scalars
        _expect(isinstance(value, kind.__args__), where, "text, a number, true or false", value)
        return decode(float, value, where) if type(value) is float else value
    if origin in (tuple, Tuple):
        return _decode_tuple(kind, value, where)
    if origin in (dict, Dict):
        _expect(isinstance(value, dict) and all(isinstance(key, str) for key in value), where, "a mapping", value)
        return {key: decode(kind.__args__[1], item, "{}[{!r}]".format(where, key)) for key, item in value.items()}
    if kind is float:
        _expect(_is_finite_number(value), where, "a finite number" + _number_hint(value), value)
        return float(value)
    if kind is int:
        _expect(isinstance(value, int) and not isinstance(value, bool), where, "a whole number", value)
    elif kind is bool:
        _expect(isinstance(value, bool), where, "true or false", value)
    else:
        _expect(isinstance(value, kind), where, "text" if kind is str else kind.__name__, value)
    return value


def _is_finite_number(value: Any) -> bool:
    try:
        return isinstance(value, (int, float)) and not isinstance(value, bool) and math.isfinite(value)
    except OverflowError:  # an int above what a float holds
        return False


def _number_hint(value: Any) -> str:
    """Say, for a number that came as text, how to write it: YAML takes 1e-5 for text."""
    is_exponent = isinstance(value, str) and re.fullmatch(r"[-+]?[0-9.]+[eE][-+]?[0-9]+", value)
    return ", with a point before its exponent as in 1.0e-5" if is_exponent else ""


def _decode_dataclass(kind: Any, value: Any, where: str) -> Any:
    _expect(isinstance(value, dict), where, "a mapping", value)
    hints = typing.get_type_hints(kind)
    unknown = [str(key) for key in value if key not in hints]
    if unknown:
        close = difflib.get_close_matches(unknown[0], hints, n=1)
        hint = " (did you mean {!r}?)".format(close[0]) if close else ""
        found = _shown(unknown[0])
        raise RecordError("{}: unknown key {}{}; expected {}".format(where, found, hint, ", ".join(hints)))
    required = [
        field.name
        for field in dataclasses.fields(kind)
        if field.default is dataclasses.MISSING and field.default_factory is dataclasses.MISSING
    ]
    missing = [name for name in required if name not in value]
    if missing:
        line = next(field.metadata.get("line") for field in dataclasses.fields(kind) if field.name == missing[0])
        advice = ": write `{}`".format(line) if line else ""
        raise RecordError("{}: key '{}' is missing{}".format(where, missing[0], advice))
    decoded = {name: decode(hints[name], item, join(where, name)) for name, item in value.items()}
    for name, item in decoded.items():
        if isinstance(item, (int, float)):
            _check_number(name, item, join(where, name))
    try:
        return kind(**decoded)
    except RecordError as error:
        raise RecordError(join(where, str(error))) from None


def _check_number(name: str, number: float, where: str) -> None:
    """No amount is below 0, no share outside of 0 to 1; names say what they are."""
    if AMOUNT.fullmatch(name):
        _expect(number >= 0, where, "0 or more", number)
    elif SHARE.fullmatch(name):
        _expect(0 <= number <= 1, where, "0 to 1", number)


def _decode_tuple(kind: Any, value: Any, where: str) -> Tuple[Any, ...]:
    _expect(isinstance(value, list), where, "a list", value)
    kinds = kind.__args__
    if len(kinds) == 2 and kinds[1] is Ellipsis:
        kinds = (kinds[0],) * len(value)
    _expect(len(kinds) == len(value), where, "a list of {}".format(len(kinds)), value)
    return tuple(
        decode(each, item, "{}[{}]".format(where, index)) for index, (each, item) in enumerate(zip(kinds, value))
    )


def join(where: str, key: str) -> str:
    """'params.yaml: compare' and 'margin' make 'params.yaml: compare.margin'; a file's name is set off by a colon."""
    if where.endswith((".json", ".yaml")):
        return "{}: {}".format(where, key)
    return "{}.{}".format(where, key)


def _expect(holds: bool, where: str, expected: str, found: object) -> None:
    if not holds:
        raise RecordError("{}: expected {}, found {}".format(where, expected, _shown(found)))


def _shown(value: object) -> str:
    text = repr(value)
    return text if len(text) <= 80 else text[:77] + "..."
