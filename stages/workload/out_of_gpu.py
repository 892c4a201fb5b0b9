"""What a command's own words tell of a card that had no more memory: as torch has worded it since 1.2, and others do.

Runs inside images: Python 3.7 syntax, standard library only.
"""

import re
from typing import NamedTuple, Optional, Tuple

UNITS = {"bytes": 1, "KiB": 2**10, "MiB": 2**20, "GiB": 2**30}
SIZE = r"(\d{1,15}(?:\.\d+)? (?:bytes|[KMG]iB))"  # as torch writes it
# As torch, CUDA's libraries, JAX, TensorFlow and CuPy say it.
SIGNS = re.compile(
    r"(?:cuda|hip|xpu) out of memory|(?:cuda|hip) error: out of memory|cuda_error_out_of_memory"
    r"|cudaerrormemoryallocation|(?:cuda error: )?cu(?:blas|dnn)_status_alloc_failed"
    r"|allocation on device \d+ would exceed allowed memory\. \(out of memory\)"
    r"|cuda error: .{0,200}busy or unavailable|resource_exhausted: out of memory|oom when allocating tensor"
    r"|out of memory allocating [\d,]+ bytes \(allocated so far",
    re.IGNORECASE,
)
OWN_SIGN = "out of gpu memory"  # as a job may say it itself, docs/job.md
KIND = re.compile(r"[\w.]*(?:Error|Exception)\W*$")  # of an error, where it stands before its text
WHERE = re.compile(r"Exception occured in .*", re.DOTALL)  # a library's words on where that was
LETTERS = 3000  # that one such sentence takes at most
TRACEBACK = "Traceback (most recent call last):"
CHAINED = "direct cause of the following exception:"  # what is raised while another is handled may be of another kind
LAUNCHER = "ChildFailedError"  # torchrun's, which comes after that of the process that failed
ABORTED = ("terminate called", "libc++abi: terminating", "Fatal Python error")  # what follows it is long
LAST_LINES = 8  # in which a program without a traceback says what it ends of
RANK = re.compile(r"^\[(?:rank|default)\d+\]: ?", re.MULTILINE)

NOW = re.compile(rf"Tried to allocate {SIZE}\. GPU (\d+) has a total capaci?ty of {SIZE} of which {SIZE} is free\.")
ONCE = re.compile(
    rf"Tried to allocate {SIZE} \(GPU (\d+); {SIZE} total capacity; {SIZE} already allocated; {SIZE} free; "
    rf"(?:{SIZE} allowed; )?{SIZE} (cached|reserved in total by PyTorch)\)"
)
ASYNC = re.compile(
    rf"Allocation on device (\d+) would exceed allowed memory\. \(out of memory\)\s+Currently allocated\s*: {SIZE}\s+"
    rf"Requested\s*: {SIZE}\s+Device limit\s*: {SIZE}\s+Free \(according to CUDA\)\s*: {SIZE}"
)
OF_TORCH = re.compile(
    rf"Of the allocated memory {SIZE} is allocated by PyTorch, .*?and {SIZE} is reserved by PyTorch but unallocated"
)
THIS_PROCESS = re.compile(rf"this process has {SIZE} memory in use")
PROCESS = re.compile(rf"Process (\d+) has {SIZE} memory in use")
ALLOWED = re.compile(rf"{SIZE} allowed; ")
BYTES = re.compile(r"allocat(?:e|ing) (\d[\d,]*) bytes")
OWN_LIMIT = "per_process_memory_fraction limit"


class Said(NamedTuple):
    """What was said of it; None: not told."""

    before: str = ""  # on the same line
    index: Optional[int] = None  # of the card, among those that the command sees
    needed_bytes: Optional[int] = None
    total_bytes: Optional[int] = None
    free_bytes: Optional[int] = None
    kept_bytes: Optional[int] = None  # by this process's torch
    ours_bytes: Optional[int] = None  # of this process, with what is not torch's
    others: Tuple[Tuple[int, int], ...] = ()  # numbers of processes, bytes; without `ours_bytes` this one's among them
    allowed_bytes: Optional[int] = None  # by a limit that the command has set itself
    at_own_limit: bool = False


def in_error(text: Optional[str]) -> Optional[Said]:
    """Return what the text of an error tells of a full card; None where it is of something else."""
    text = text or ""
    sign = SIGNS.search(text)
    if sign is None:
        first_line = text.strip().partition("\n")[0]
        return Said(before=first_line) if OWN_SIGN in first_line.lower() else None
    before = KIND.sub("", WHERE.sub("", text[: sign.start()])).rstrip(": \n").rpartition("\n")[2]
    return _numbers(text[sign.start() : sign.start() + LETTERS])._replace(before=before)


def in_last_words(text: str) -> Optional[Said]:
    """Return what the end of a program's stderr tells of a full card, where that is what it died of.

    A program may go on after it, with smaller batches for example, and die of something else.
    """
    last = _last_error(RANK.sub("", text))
    sign = SIGNS.search(last)
    return None if sign is None else in_error(last[sign.start() :])


def _last_error(text: str) -> str:
    """Return the last traceback with those that led to it, a launcher's own left out; without one the last lines."""
    parts = text.split(TRACEBACK)
    if len(parts) == 1 and not any(each in text for each in ABORTED):
        return "\n".join(text.rstrip().splitlines()[-LAST_LINES:])
    if len(parts) > 2 and LAUNCHER in parts[-1]:
        parts.pop()
    last = [parts.pop()]
    while len(parts) > 1 and parts[-1].rstrip().endswith(CHAINED):
        last.insert(0, parts.pop())
    return "".join(last)


def _numbers(text: str) -> Said:
    """Return the numbers of one sentence; those that contradict each other are none."""
    said = _of_async(text) or _of_one_allocator(text) or _of_another(text)
    at_own_limit = OWN_LIMIT in text or _exceeds_allowed(said)
    total, parts = said.total_bytes, (said.free_bytes, said.kept_bytes, said.ours_bytes)
    if total is not None and any(part is not None and part > total for part in parts):
        return Said(index=said.index, at_own_limit=at_own_limit)
    return said._replace(at_own_limit=at_own_limit)


def _of_one_allocator(text: str) -> Optional[Said]:
    """Read what torch's own allocator says, in its words of 2023 and later or of before."""
    now, once = NOW.search(text), ONCE.search(text)
    if once is not None:
        allocated, last = _size(once.group(4)), _size(once.group(7))
        return Said(
            index=int(once.group(2)),
            needed_bytes=_size(once.group(1)),
            total_bytes=_size(once.group(3)),
            free_bytes=_size(once.group(5)),
            kept_bytes=allocated + last if once.group(8) == "cached" else last,  # what is cached comes on top
            allowed_bytes=None if once.group(6) is None else _size(once.group(6)),
        )
    if now is None:
        return None
    of_torch, this, allowed = (each.search(text) for each in (OF_TORCH, THIS_PROCESS, ALLOWED))
    return Said(
        index=int(now.group(2)),
        needed_bytes=_size(now.group(1)),
        total_bytes=_size(now.group(3)),
        free_bytes=_size(now.group(4)),
        kept_bytes=None if of_torch is None else _size(of_torch.group(1)) + _size(of_torch.group(2)),
        ours_bytes=None if this is None else _size(this.group(1)),
        others=tuple((int(each.group(1)), _size(each.group(2))) for each in PROCESS.finditer(text)),
        allowed_bytes=None if allowed is None else _size(allowed.group(1)),
    )


def _of_async(text: str) -> Optional[Said]:
    """Read what CUDA's own allocator says through torch (cudaMallocAsync)."""
    found = ASYNC.search(text)
    if found is None:
        return None
    kept, needed, total, free = (_size(each) for each in found.groups()[1:])
    return Said(index=int(found.group(1)), needed_bytes=needed, total_bytes=total, free_bytes=free, kept_bytes=kept)


def _of_another(text: str) -> Said:
    """Read what JAX and CuPy say: how much was asked for."""
    found = BYTES.search(text)
    return Said() if found is None else Said(needed_bytes=int(found.group(1).replace(",", "")))


def _exceeds_allowed(said: Said) -> bool:
    if said.allowed_bytes is None or said.kept_bytes is None or said.needed_bytes is None:
        return False
    return said.kept_bytes + said.needed_bytes > said.allowed_bytes


def _size(text: str) -> int:
    number, unit = text.split()
    return int(float(number) * UNITS[unit])
