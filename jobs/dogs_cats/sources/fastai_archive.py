"""Source `fastai`: the photos of Kaggle's set, from fastai's archive."""

import dataclasses
import gzip
import hashlib
import shutil
import tarfile
import zlib
from collections.abc import Iterator
from pathlib import Path, PurePosixPath
from typing import IO, cast

from jobs.dogs_cats.sources import archives, layout
from jobs.dogs_cats.sources.http import download
from jobs.dogs_cats.sources.photos import Fetched, sha256_of
from jobs.dogs_cats.sources.progress import photos_of, progress
from stages import codec
from stages.errors import FaceoffError

PADDING_BYTES = 1 << 20  # more than any program puts after a tar archive's end
OTHERWISE = "take dogs_cats.dataset.source: kaggle, which has the same photos"


@dataclasses.dataclass(frozen=True)
class FastaiArchive:
    """dogscats.tgz. Its size, and the md5 of its first 1 MiB, are those that fastai 1.0's own list gives.

    Nobody publishes a checksum of the whole: the sha256 of the first one whose photos are all there is kept beside it,
    and no other is taken after that.
    """

    downloads_dir: Path  # the archive stays there: with it, photos can be had again without a network
    url: str = "http://files.fast.ai/data/examples/dogscats.tgz"
    size_bytes: int = 839_285_364
    first_mib_md5: str = "3e483c8d6ef2175e9d395a6027eb92b7"
    promised: dict[str, int] = dataclasses.field(default_factory=layout.DOGS_CATS_PHOTOS.copy)
    classes: tuple[str, ...] = layout.CLASSES

    def identity(self) -> str:
        """Return the archive's address."""
        return f"fastai {self.url}"

    def fetch(self, destination: Path) -> Fetched:
        """Download the archive, unless it is there, and unpack its photos."""
        archive = self.downloads_dir / self.url.rpartition("/")[2]
        if not archive.exists():
            download(self.url, archive, self._complaint, OTHERWISE)
            print(f"{archive} is kept, for the next time; it may be deleted")
        checksum = archive.with_name(f"{archive.name}.sha256")  # as sha256sum has it
        line = f"{sha256_of(archive)}  {archive.name}\n"
        try:
            if checksum.exists() and checksum.read_text(encoding="utf-8") != line:
                raise archives.Refused(f"its sha256 is not the one in {checksum}, of the first that was downloaded")
            self._unpack(archive, destination)
        except (archives.Refused, tarfile.TarError, gzip.BadGzipFile, EOFError, zlib.error) as error:
            archive.unlink()
            raise FaceoffError(
                f"{archive}: not as it should be ({error}) and deleted: run again, or {OTHERWISE}"
            ) from None
        again = f"delete {archive} and run again, or {OTHERWISE}"
        layout.check_counts(destination, self.promised, str(archive), again)
        codec.write_text(checksum, line)
        return Fetched(f"fastai {archive.name}")

    def _unpack(self, archive: Path, destination: Path) -> None:
        scratch = destination / ".unpacked"
        total = sum(self.promised.values())
        with progress(f"unpacking {archive.name}", total, photos_of) as advance:
            for _ in _extract(archive, scratch):
                advance(1)
        found = layout.find(scratch)
        if found is not None:
            for split in layout.SPLITS:
                (found / split).rename(destination / split)
        shutil.rmtree(scratch)

    def _complaint(self, path: Path) -> str | None:
        size_bytes = path.stat().st_size
        if size_bytes != self.size_bytes:
            return f"{size_bytes:,} bytes, not {self.size_bytes:,}"
        with path.open("rb") as file:
            md5 = hashlib.md5(file.read(1 << 20), usedforsecurity=False).hexdigest()
        return None if md5 == self.first_mib_md5 else f"the first MiB's md5 is {md5}, not {self.first_mib_md5}"


def _extract(archive: Path, destination: Path) -> Iterator[Path]:
    """Write the archive's photos under `destination`, in one pass; yield each that is written.

    Raises Refused or tarfile's errors for a member that is not what it should be, and gzip's, at the latest with the
    checksum at the archive's end.
    """
    destination.mkdir()
    budget = archives.Budget(archive.stat().st_size)
    with gzip.open(archive) as stream:
        with tarfile.open(fileobj=stream, mode="r|") as tar:
            for member in tar:
                budget.take(member.size)
                if _is_photo(member):
                    target = destination / member.name
                    target.parent.mkdir(parents=True, exist_ok=True)
                    source = cast(IO[bytes], tar.extractfile(member))  # None for what is no file, and this is one
                    with target.open("wb") as file:
                        shutil.copyfileobj(source, file)
                    yield target
        stream.read(PADDING_BYTES)  # up to the checksum
        if stream.read(1):
            raise archives.Refused("there is more after its end")


def _is_photo(member: tarfile.TarInfo) -> bool:
    """Whether it is a file of the four folders, at the top or one folder below; sample/ and a nested copy are deeper.

    Raises Refused for a path outside the archive, and for what is no file among the photos. Links and devices elsewhere
    do not matter, as nothing but photos is written.
    """
    archives.check_path(member.name)
    path = PurePosixPath(member.name)
    if not 3 <= len(path.parts) <= 4 or "/".join(path.parts[-3:-1]) not in layout.FOLDERS or path.name.startswith("."):
        return False
    if not (member.isfile() or member.isdir()):
        raise archives.Refused(f"{member.name!r} is a link or a device")
    return member.isfile()
