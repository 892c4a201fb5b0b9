"""Source `kaggle`: a public data set, by kagglehub, which resumes and checks. The one file that imports kagglehub."""

import dataclasses
import os
import shutil
import sys
import tarfile
import zipfile
import zlib
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import requests

from jobs.dogs_cats.sources import archives, layout
from jobs.dogs_cats.sources.http import network_reason, status_reason
from jobs.dogs_cats.sources.photos import Fetched
from stages import codec
from stages.errors import FaceoffError

OTHERWISE = "take dogs_cats.dataset.source: fastai, which has the same photos"


@dataclasses.dataclass(frozen=True)
class Kaggle:
    """What was downloaded stays in kagglehub's cache (KAGGLEHUB_CACHE) and is copied from there. Needs no account."""

    handle: str = "lingjin525/dogs-and-cats-fastai"
    promised: dict[str, int] = dataclasses.field(default_factory=layout.DOGS_CATS_PHOTOS.copy)
    classes: tuple[str, ...] = layout.CLASSES

    def identity(self) -> str:
        """Return the set's name."""
        return f"kaggle {self.handle}"

    def fetch(self, destination: Path) -> Fetched:
        """Download the set, unless it is in the cache, and copy its photos."""
        downloaded = self._download()
        versioned = downloaded.parent.name == "versions"
        name = f"kaggle {self.handle}" + (f" version {downloaded.name}" if versioned else "")
        found = layout.find(downloaded)
        again = f"delete {downloaded} and run again, or {OTHERWISE}"
        if found is None:
            raise FaceoffError(f"{name}: {downloaded} lacks {', '.join(layout.missing_folders(downloaded))}: {again}")
        layout.check_counts(found, self.promised, name, again)
        layout.copy(layout.by_name(found), destination)
        return Fetched(name)

    def _download(self) -> Path:
        """Return the folder of Kaggle's files, from the cache or the network.

        Messages name no address: a signed one is a secret.
        """
        if not sys.stderr.isatty():
            os.environ.setdefault("TQDM_MININTERVAL", "10")  # kagglehub's bar, which tqdm draws into logs as well
        import kagglehub  # here: it sets up logging, and takes 0.3 s that other sources need not pay
        from kagglehub import config, exceptions

        try:
            config.get_kaggle_credentials()
        except ValueError as error:
            raise FaceoffError(f"{error}: mend or remove it; a public set needs none") from None
        try:
            with _checked_unpacking():
                return Path(kagglehub.dataset_download(self.handle))
        except requests.HTTPError as error:
            raise FaceoffError(f"kaggle {self.handle}: {status_reason(error)}: {_advice(error)}") from None
        except requests.RequestException as error:
            raise FaceoffError(
                f"kaggle {self.handle}: {network_reason(error)}; what arrived is kept: "
                f"run again to go on, or {OTHERWISE}"
            ) from None
        except exceptions.DataCorruptionError:
            raise FaceoffError(
                f"kaggle {self.handle}: what arrived does not match Kaggle's checksum and was deleted: "
                f"run again, or {OTHERWISE}"
            ) from None
        except (exceptions.BackendError, exceptions.CredentialError, exceptions.KaggleEnvironmentError) as error:
            raise FaceoffError(f"kaggle {self.handle}: inside Kaggle: {error}: {OTHERWISE}") from None
        except archives.Refused as error:
            self._delete_archives()
            raise FaceoffError(
                f"kaggle {self.handle}: what arrived is refused ({error}) and was deleted: {OTHERWISE}"
            ) from None
        except (zipfile.BadZipFile, tarfile.TarError, EOFError, zlib.error, ValueError) as error:
            self._delete_archives()  # or kagglehub would take it for whole the next time
            raise FaceoffError(
                f"kaggle {self.handle}: what arrived is not readable ({error}) and was deleted: "
                f"run again, or {OTHERWISE}"
            ) from None
        except OSError as error:
            raise FaceoffError(f"{config.get_cache_folder()}: {codec.refusal(error)}; what arrived is kept") from None

    def _delete_archives(self) -> None:
        from kagglehub.config import get_cache_folder

        for archive in (Path(get_cache_folder()) / "datasets" / self.handle).glob("*.archive"):
            archive.unlink()


@contextmanager
def _checked_unpacking() -> Iterator[None]:
    """Have kagglehub look at an archive before it unpacks it, and leave none half unpacked on a full disk."""
    from kagglehub import http_resolver

    unpack = http_resolver._extract_archive

    def checked(archive_path: str, out_path: str) -> None:
        archives.check(Path(archive_path))
        try:
            unpack(archive_path, out_path)
        except BaseException:
            shutil.rmtree(out_path, ignore_errors=True)
            raise

    http_resolver._extract_archive = checked
    try:
        yield
    finally:
        http_resolver._extract_archive = unpack


def _advice(error: requests.HTTPError) -> str:
    if error.response.status_code in (requests.codes.unauthorized, requests.codes.forbidden):
        return (
            "a public set needs no account, but a token that is set must be valid: renew or remove it "
            f"(KAGGLE_API_TOKEN, KAGGLE_KEY or ~/.kaggle), or {OTHERWISE}"
        )
    if error.response.status_code == requests.codes.not_found:
        return f"Kaggle may have moved or deleted it: {OTHERWISE}"
    return f"run again later, or {OTHERWISE}"
