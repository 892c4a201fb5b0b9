"""Small photo sets, on disk and in archives."""

import io
import tarfile
import zipfile
from pathlib import Path

from PIL import Image

from jobs.dogs_cats.sources.layout import FOLDERS, files


def jpeg(shade: int = 0, size: tuple[int, int] = (32, 24)) -> bytes:
    """A real JPEG; another one for every shade."""
    buffer = io.BytesIO()
    noise = bytes((index * 7 + shade * 31) % 256 for index in range(size[0] * size[1] * 3))
    Image.frombytes("RGB", size, noise).save(buffer, "JPEG")
    return buffer.getvalue()


def photo_set(each: int = 3, prefix: str = "") -> dict[str, bytes]:
    """`each` photos per folder, by their path; all different."""
    return {
        f"{prefix}{folder}/{folder[-4:-1]}.{number}.jpg": jpeg(10 * index + number)
        for index, folder in enumerate(FOLDERS)
        for number in range(each)
    }


def write_tree(root: Path, contents: dict[str, bytes]) -> Path:
    for name, content in contents.items():
        (root / name).parent.mkdir(parents=True, exist_ok=True)
        (root / name).write_bytes(content)
    return root


def tree(root: Path) -> dict[str, bytes]:
    """The photos under `root`, as `photo_set` gives them."""
    return {path.relative_to(root).as_posix(): path.read_bytes() for path in files(root)}


def zip_of(contents: dict[str, bytes], *odd: tuple[zipfile.ZipInfo, bytes], level: int = 1) -> bytes:
    """A zip of these files and of `odd` members, whose names stay as they are."""
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w", zipfile.ZIP_DEFLATED, compresslevel=level) as archive:
        for member, content in (*contents.items(), *odd):
            archive.writestr(member, content)
    return buffer.getvalue()


def odd_member(name: str, kind: bytes = tarfile.REGTYPE, link: str = "", size: int = 0) -> tarfile.TarInfo:
    member = tarfile.TarInfo(name)
    member.type, member.linkname, member.size = kind, link, size
    return member


def tgz_of(contents: dict[str, bytes], *odd: tarfile.TarInfo, level: int = 9) -> bytes:
    """A .tgz of these files and, before them, of `odd` members without content."""
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode="w:gz", compresslevel=level) as archive:
        for member in odd:
            archive.addfile(member)
        for name, content in contents.items():
            member = tarfile.TarInfo(name)
            member.size = len(content)
            archive.addfile(member, io.BytesIO(content))
    return buffer.getvalue()
