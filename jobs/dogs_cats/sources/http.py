"""Downloads that resume and are checked."""

from collections.abc import Callable
from pathlib import Path

import requests

from jobs.dogs_cats.sources.progress import bytes_of, progress
from stages.errors import FaceoffError
from stages.units import amount

TIMEOUT_SECONDS = (10, 60)  # to connect, and between two pieces
CHUNK_BYTES = 1 << 16  # a broken connection loses at most one
RANGE_NOT_SATISFIABLE = 416


def download(url: str, target: Path, complaint: Callable[[Path], str | None], otherwise: str) -> None:
    """Fetch `url` into the file `target`, whole and checked, or not at all.

    What has arrived lies in `<target>.part`: a cut connection is taken up again as long as each brings more, and a
    later call goes on from there. `complaint` says what is wrong with the finished file, which is then deleted. Raises
    FaceoffError, which ends in `otherwise`: another way to get there.
    """
    target.parent.mkdir(parents=True, exist_ok=True)
    part = target.with_name(target.name + ".part")
    whole = False
    while not whole:
        had = _size(part)
        try:
            _fetch(url, part)
            whole = True
        except requests.HTTPError as error:
            raise FaceoffError(f"{url}: {status_reason(error)}: {otherwise}") from None
        except requests.RequestException as error:
            reason, have = network_reason(error), _size(part)
            if have <= had:
                kept = f"; the {amount(have)} that arrived are kept" if have else ""
                raise FaceoffError(f"{url}: {reason}{kept}: run again to go on, or {otherwise}") from None
            print(f"{reason} after {amount(have)}: going on from there", flush=True)
    wrong = complaint(part)
    if wrong is not None:
        part.unlink()
        raise FaceoffError(f"{url}: what arrived is damaged ({wrong}) and was deleted: run again, or {otherwise}")
    part.replace(target)


def _size(path: Path) -> int:
    return path.stat().st_size if path.exists() else 0


def _fetch(url: str, part: Path) -> None:
    """Fetch what `part` lacks of `url`."""
    have = _size(part)
    headers = {"Accept-Encoding": "identity"}  # the file's own bytes, so that sizes and ranges mean what they say
    if have:
        headers["Range"] = f"bytes={have}-"
    with requests.get(url, headers=headers, stream=True, timeout=TIMEOUT_SECONDS) as response:
        if have and response.status_code == RANGE_NOT_SATISFIABLE:
            return  # nothing is lacking: the check says whether it is whole
        response.raise_for_status()
        resumes = response.status_code == requests.codes.partial_content
        done = have if resumes else 0
        length = response.headers.get("Content-Length")
        total = None if length is None else done + int(length)
        title = f"downloading {url.rpartition('/')[2]}"
        print(f"{title}: {bytes_of(done, total)}", flush=True)  # at once: it may take minutes
        with part.open("ab" if resumes else "wb") as file, progress(title, total, bytes_of, done) as advance:
            for chunk in response.iter_content(CHUNK_BYTES):
                file.write(chunk)
                advance(len(chunk))


def status_reason(error: requests.HTTPError) -> str:
    """Say what the server's answer means."""
    status = error.response.status_code
    if status in (requests.codes.unauthorized, requests.codes.forbidden):
        return f"the server refuses it ({status})"
    if status in (requests.codes.not_found, requests.codes.gone):
        return f"it is not there ({status})"
    return f"the server answers with an error ({status})"


def network_reason(error: requests.RequestException) -> str:
    """Say what went wrong on the way, by its root cause. Never the address: a signed one is a secret."""
    if isinstance(error, requests.exceptions.ChunkedEncodingError):
        return "the connection broke off"
    if isinstance(error, requests.Timeout):
        return "no answer in time"
    root: BaseException = error
    cause = error.__cause__ or error.__context__
    while cause is not None:
        root, cause = cause, cause.__cause__ or cause.__context__
    text = root.strerror if isinstance(root, OSError) else None
    return f"no connection ({text or type(root).__name__})"
