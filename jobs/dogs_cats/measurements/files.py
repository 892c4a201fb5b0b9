"""What the photos take before they reach torch: read from disk, and decoded as the learners decode them.

Runs inside images: Python 3.7 syntax; standard library and Pillow.
"""

import ctypes
import mmap
import os
import signal
import sys
import time
from pathlib import Path
from typing import Callable, Iterator, List, Union

from jobs.dogs_cats import decoding
from jobs.dogs_cats.measurements.sampling import MOST_SAMPLES, NotPossible, rates
from stages.errors import FaceoffError
from stages.units import amount

PR_SET_PDEATHSIG = 1
PHOTOS = 64  # that a sample reads, or each process decodes, at most
RESIDENT_SHARE = 0.05  # of a file's pages that may stay in memory after the kernel was told to drop them


def read_cold(photos: List[str], seconds: float) -> Iterator[Union[str, float]]:
    """Read photos from the disk: the kernel is told to drop the files' pages, and asked whether it did."""
    ends = time.perf_counter() + seconds
    for index in range(MOST_SAMPLES):
        some = _some(photos, index)
        if not all(map(_tells_pages, some)):
            raise NotPossible(
                "since Linux 5.2 the kernel tells only who owns a file or may write it which of its pages are in "
                "memory, so whether they were dropped is not known"
            )
        _drop(some)
        share = _resident_share(some)
        if share > RESIDENT_SHARE:
            raise NotPossible(
                "the kernel keeps {:.0%} of the pages that it was told to drop, so what would be read is its memory: "
                "the file system is in memory, or something else has the files open".format(share)
            )
        if index == 0:
            yield (
                "{} files of {} each in the mean, one after the other; dropped before by posix_fadvise, which "
                "leaves a cache of the disk, or of a virtual machine's host, as it is".format(
                    len(some), amount(_mean_bytes(some))
                )
            )
        began = time.perf_counter()
        read = _read(some)
        taken = time.perf_counter() - began
        yield read / taken
        if time.perf_counter() > ends:
            return


def read_warm(photos: List[str], seconds: float) -> Iterator[Union[str, float]]:
    """Read photos from the kernel's memory."""
    some = _some(photos, 0)
    yield "{} files of {} each in the mean, one after the other, just read".format(len(some), amount(_mean_bytes(some)))
    yield from rates(_read(some), lambda: _read(some), seconds)


def decode(photos: List[str], processes: int, seconds: float) -> Iterator[Union[str, float]]:
    """Open photos, decode them and make them RGB, in as many processes at once."""
    from PIL import Image

    def decode_some(paths: List[Path]) -> None:
        for path in paths:
            decoding.decode(path)

    ends = time.perf_counter() + seconds
    began = time.perf_counter()
    first = _some(photos, 0)[:4]
    decode_some(first)
    a_second_holds = max(1, int(len(first) / (time.perf_counter() - began)))
    each = _some(photos, 0)[: max(1, min(PHOTOS, int(a_second_holds * seconds / 10)))]
    with Image.open(str(first[0])) as photo:
        size = photo.size
    yield "Pillow, {} process{}, {} photos each, of {} x {} pixels the first".format(
        processes, "" if processes == 1 else "es", len(each), *size
    )
    yield from rates(
        processes * len(each), lambda: _at_once(processes, lambda: decode_some(each)), ends - time.perf_counter()
    )


def _at_once(processes: int, work: Callable[[], None]) -> None:
    """Do the work in as many children at once. They end with this process, which is killed where it takes too long."""
    children, parent = [], os.getpid()
    for _ in range(processes):
        child = os.fork()
        if child == 0:
            code = 1
            try:
                _die_with(parent)
                work()
                code = 0
            except FaceoffError as error:
                print(error, file=sys.stderr, flush=True)
            finally:
                os._exit(code)
        children.append(child)
    failed = [child for child in children if os.waitpid(child, 0)[1] != 0]
    if failed:
        raise RuntimeError("{} of {} processes failed".format(len(failed), processes))


def _die_with(parent: int) -> None:
    """Have the kernel kill this process when its parent ends, in whatever way (prctl(2))."""
    ctypes.CDLL(None).prctl(PR_SET_PDEATHSIG, signal.SIGKILL)
    if os.getppid() != parent:  # it ended before that was asked for
        os._exit(1)


def _some(photos: List[str], index: int) -> List[Path]:
    """Return a different handful for each index, spread over the whole set, as long as there are others."""
    if not photos:
        raise NotPossible("there are no photos")
    apart = max(1, len(photos) // PHOTOS)
    return [Path(photo) for photo in photos[index % apart :: apart][:PHOTOS]]


def _mean_bytes(photos: List[Path]) -> float:
    return sum(photo.stat().st_size for photo in photos) / len(photos)


def _read(photos: List[Path]) -> int:
    read = 0
    for photo in photos:
        with photo.open("rb", buffering=0) as file:
            read += len(file.read())
    return read


def _drop(photos: List[Path]) -> None:
    """Drop the files' pages; what was not written to the disk yet can't be dropped, so first that."""
    for photo in photos:
        handle = os.open(str(photo), os.O_RDONLY)
        try:
            os.fsync(handle)
            os.posix_fadvise(handle, 0, 0, os.POSIX_FADV_DONTNEED)
        finally:
            os.close(handle)


def _tells_pages(photo: Path) -> bool:
    """Say whether mincore(2) tells this user the truth of the file; of others it says that all is in memory."""
    return photo.stat().st_uid == os.geteuid() or os.access(str(photo), os.W_OK)


def _resident_share(photos: List[Path]) -> float:
    """Return the share of the files' pages that is in memory: mincore(2), which Python does not have."""
    libc = ctypes.CDLL(None, use_errno=True)
    libc.mmap.restype = ctypes.c_void_p
    libc.mmap.argtypes = [ctypes.c_void_p, ctypes.c_size_t, *[ctypes.c_int] * 3, ctypes.c_long]
    libc.mincore.argtypes = [ctypes.c_void_p, ctypes.c_size_t, ctypes.c_char_p]
    libc.munmap.argtypes = [ctypes.c_void_p, ctypes.c_size_t]
    resident = pages = 0
    for photo in photos:
        with photo.open("rb") as file:
            size = os.fstat(file.fileno()).st_size
            if not size:
                continue
            address = libc.mmap(None, size, mmap.PROT_READ, mmap.MAP_SHARED, file.fileno(), 0)
            flags = ctypes.create_string_buffer(-(-size // mmap.PAGESIZE))
            failed = libc.mincore(address, size, flags)
            libc.munmap(address, size)
            if failed:
                raise NotPossible(
                    "whether pages were dropped can't be told: mincore: {}".format(os.strerror(ctypes.get_errno()))
                )
        resident += sum(flag & 1 for flag in flags.raw)
        pages += len(flags.raw)
    return resident / max(1, pages)
