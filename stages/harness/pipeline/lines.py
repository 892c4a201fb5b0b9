"""Which lines of a run are shown: all that stages and jobs say, a warning once, and nothing of DVC's own.

What DVC says of stages is told in faceoff's words (stages/harness/pipeline/progress.py), its advice is not of use here.
"""

import os
import re
from collections import deque
from typing import IO

from stages import contract

DVCS = re.compile(
    r"Running stage '.+':|> exec .+|Stage '.+' didn't change, skipping|Data and pipelines are up to date\."
    r"|(Updating|Generating) lock file '.+'|WARNING: '.+' is empty\."
    r"|To track the changes with git, run:|\tgit add .+|To enable auto staging, run:|\tdvc config core\.autostage true"
    r"|Use `dvc push` to send your updates to remote storage\."
    r"|faceoff: SIG[A-Z]+: stopping"  # of a stage; whoever was told to stop has said so
)
FAILED = re.compile(r"ERROR: failed to reproduce '(.+)': failed to run: .+, exited with (\d+)")
# A warning without what is before it, a time or a place in a package: Python's, and that of torch's own code in C++.
WARNING = re.compile(r"\w*[Ww](?:arning|ARNING): ?(.*)|\bW\d* ?[\d:.]+ +(?:\d+ )?([\w/]+\.(?:cpp|cc|cu|h):\d+\].*)")


class Lines:
    """The lines of one stream of a run. `seen`: warnings that were shown, in other streams too."""

    def __init__(self, seen: set[str]) -> None:
        self.failed: dict[str, int] = {}  # stages that DVC says have failed: their exit code
        self._seen = seen
        self._blank = self._is_left_out = False

    def shown(self, line: str) -> list[str]:
        """Return the line, after an empty one that came before it, or nothing where it is left out."""
        if not line.strip():
            self._blank = True  # DVC puts one between two stages
            return []
        failed = FAILED.fullmatch(line)
        if failed:
            self.failed[failed[1]] = int(failed[2])
        if failed or DVCS.fullmatch(line):
            self._blank = self._is_left_out = False
            return []
        if self._is_left_out and line[0].isspace():  # the line of code that Python shows below a warning
            return []
        warning = WARNING.search(line)
        said = (warning[1] or warning[2]) if warning else None
        self._is_left_out = said in self._seen
        if said:
            self._seen.add(said)
        blank, self._blank = self._blank, False
        return [] if self._is_left_out else [""] * blank + [line]


class Reader:
    """Reads lines as they come. Where it is interrupted, it goes on at the same place."""

    def __init__(self, stream: IO[bytes]) -> None:
        self._stream = stream
        self._ended = deque[bytes]()
        self._held, self._passing = b"", ""

    def __iter__(self) -> "Reader":
        return self

    def __next__(self) -> tuple[str, bool]:
        """Return a line, and whether the next one goes over it, as what draws progress ends its own."""
        while not self._ended:
            chunk = os.read(self._stream.fileno(), 65536)
            if not chunk and not self._held:
                raise StopIteration
            *ended, self._held = re.split(rb"(?<=[\r\n])", (self._held + (chunk or b"\n")).replace(b"\r\n", b"\n"))
            self._ended.extend(ended)
        line = self._ended.popleft()
        text = line[:-1].decode(errors="replace")
        if line.endswith(b"\r"):
            self._passing = contract.printable(text) or self._passing
            return self._passing, True
        text, self._passing = text or self._passing, ""  # between the two ends of '\r\n' another chunk may begin
        return text, False
