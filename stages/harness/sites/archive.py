"""The zip of a pack, which may be hostile: every member is looked at before the first is written.

Headers are believed where they say how much a member unpacks to: zipfile writes no more of it.
"""

import hashlib
import struct
import zipfile
import zlib
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from stat import S_IFMT, S_ISREG

from stages.errors import FaceoffError
from stages.harness.sites import names
from stages.units import amount

MOST_PACKED_BYTES = 256 * 2**20
MOST_BYTES, MOST_BYTES_OF_ONE = 2**30, 64 * 2**20
MOST_TIMES_LARGER, ALWAYS_BYTES = 100, 64 * 2**20  # than the pack: JSON shrinks to a twentieth
MOST_MEMBERS = 50_000
MOST_BYTES_OF_DIRECTORY = 16 * 2**20
LOCATOR_BYTES, LOCATOR_MARK = 20, b"PK\x06\x07"
END, END_MARK, MOST_BYTES_OF_COMMENT = struct.Struct("<4s4H2LH"), b"PK\x05\x06", 2**16
KNOWN = (zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED)
ENCRYPTED = 0x1


class Refused(FaceoffError):
    """The pack is not taken, and why."""


def unpack(file: Path, folder: Path) -> dict[str, str]:
    """Write all members into the folder. Returns their names with their sha256; raises Refused for a bad pack."""
    with _opened(file) as pack:
        members = pack.infolist()
        _check(members, file.stat().st_size)
        return {each.filename: _write(pack, each, folder / each.filename) for each in members}


@contextmanager
def _opened(file: Path) -> Iterator[zipfile.ZipFile]:
    try:
        size = file.stat().st_size
        if size > MOST_PACKED_BYTES:
            raise Refused(f"{amount(size)}, and a pack has at most {amount(MOST_PACKED_BYTES)}")
        directory = _directory_bytes(file, size)
        if directory > MOST_BYTES_OF_DIRECTORY:
            raise Refused(
                f"its list of files takes {amount(directory)}: expected {amount(MOST_BYTES_OF_DIRECTORY)} at most"
            )
        with zipfile.ZipFile(file) as pack:
            yield pack
    except FileNotFoundError:
        raise Refused("no such file") from None
    except (zipfile.BadZipFile, zlib.error, EOFError, NotImplementedError, ValueError, RuntimeError) as error:
        raise Refused(f"no whole zip ({error}): fetch it again") from None
    except OSError as error:
        raise Refused(f"not to be read or laid down: {error.strerror or error}") from None


def _directory_bytes(file: Path, size: int) -> int:
    """Return how much is read of a zip, all at once, before its members are known: some say millions of them.

    It stands in the record that a zip ends with, behind which there may be a comment.
    """
    with file.open("rb") as opened:
        opened.seek(max(0, size - END.size - MOST_BYTES_OF_COMMENT))
        tail = opened.read()
    plain = tail[-END.size :]
    place = len(tail) - END.size if plain.startswith(END_MARK) and plain.endswith(bytes(2)) else tail.rfind(END_MARK)
    if place < 0 or len(tail) - place < END.size:
        return 0  # no zip, as zipfile will say
    if tail[max(0, place - LOCATOR_BYTES) : place].startswith(LOCATOR_MARK):  # then another record counts
        raise Refused("it is a zip of the kind for more than 4 GiB: expected a smaller one")
    return int(END.unpack_from(tail, place)[5])


def _check(members: list[zipfile.ZipInfo], packed_bytes: int) -> None:
    if len(members) > MOST_MEMBERS:
        raise Refused(f"it holds {len(members):,} files, and a pack at most {MOST_MEMBERS:,}")
    most = min(MOST_BYTES, max(ALWAYS_BYTES, MOST_TIMES_LARGER * packed_bytes))
    for each in members:
        problem = _trouble(each)
        if problem:
            raise Refused(f"{each.orig_filename!r:.200} {problem}")
    if sum(each.file_size for each in members) > most:
        raise Refused(f"it unpacks to more than {amount(most)}, far more than records would")
    twice = names.clash(each.filename for each in members)
    if twice is not None:
        raise Refused(f"{twice!r} is in it twice, or is a file and a folder")


def _trouble(member: zipfile.ZipInfo) -> str | None:
    if member.orig_filename != member.filename:
        return "is no plain name"
    if member.is_dir():
        return "is a folder, where files alone are expected"
    mode = S_IFMT(member.external_attr >> 16)  # 0 where the zip was not made on a Unix
    if mode and not S_ISREG(mode):
        return "is a link or a device"
    if member.flag_bits & ENCRYPTED:
        return "is encrypted"
    if member.compress_type not in KNOWN:
        return "is packed in a way that packs are not"
    if member.file_size > MOST_BYTES_OF_ONE:
        return f"unpacks to {amount(member.file_size)}, and no file of a pack has more than {amount(MOST_BYTES_OF_ONE)}"
    return names.trouble(member.filename)


def _write(pack: zipfile.ZipFile, member: zipfile.ZipInfo, path: Path) -> str:
    path.parent.mkdir(parents=True, exist_ok=True)
    digest = hashlib.sha256()
    with pack.open(member) as source, path.open("xb") as target:
        for block in iter(lambda: source.read(2**20), b""):
            digest.update(block)
            target.write(block)
    return digest.hexdigest()
