"""Which lines of a run are shown: all that stages and jobs say, a warning once, and nothing of DVC's own.

What DVC says of stages is told in faceoff's words (stages/harness/pipeline/progress.py), its advice is not of use here.
"""

import os
import re
from collections.abc import Iterator
from typing import IO

from stages import contract

DVCS = re.compile(
    r"Running stage '.+':|> .*stages\..+|Stage '.+' didn't change, skipping|Data and pipelines are up to date\."
    r"|(Updating|Generating) lock file '.+'|WARNING: '.+' is empty\."
    r"|To track the changes with git, run:|\tgit add .+|To enable auto staging, run:|\tdvc config core\.autostage true"
    r"|Use `dvc push` to send your updates to remote storage\."
)
FAILED = re.compile(r"ERROR: failed to reproduce '(.+)': failed to run: .+, exited with (\d+)")
WARNING = re.compile(r"\w*warning: ?.*", re.IGNORECASE)  # without what is before it: a time, a place in a package


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
        self._is_left_out = warning is not None and warning[0] in self._seen
        if warning:
            self._seen.add(warning[0])
        blank, self._blank = self._blank, False
        return [] if self._is_left_out else [""] * blank + [line]


def read(stream: IO[bytes]) -> Iterator[tuple[str, bool]]:
    """Yield lines as they come, and whether the next one goes over it, as what draws progress ends its own."""
    held, passing = b"", ""
    for chunk in iter(lambda: os.read(stream.fileno(), 65536), b""):
        *ended, held = re.split(rb"(?<=[\r\n])", held + chunk.replace(b"\r\n", b"\n"))
        for line in ended:
            text = line[:-1].decode(errors="replace")
            if line.endswith(b"\r"):
                passing = contract.printable(text)
                if passing:
                    yield passing, True
            else:
                yield text or passing, False  # between the two ends of '\r\n' another chunk may begin
                passing = ""
    if held:
        yield held.decode(errors="replace"), False
