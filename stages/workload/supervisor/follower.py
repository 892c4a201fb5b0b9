"""Follows a job's file of events while the job writes it: the same lines as contract.read_events reads, as they come.

Runs inside images: Python 3.7 syntax, standard library only.
"""

from pathlib import Path
from typing import Any, Dict, Optional

from stages import contract
from stages.codec import RecordError
from stages.contract import MOST_BYTES, Events


class Follower:
    """Takes the lines of a file that grows. The first that is wrong is its last."""

    def __init__(self, path: Path, declared: Optional[Dict[str, Any]] = None) -> None:
        self.problem = None  # type: Optional[str]
        self._path = path
        self._reader = contract.Reader(path, declared)
        self._taken_bytes = 0
        self._lines = 0
        self._rest = b""  # of a line that has not ended yet

    @property
    def events(self) -> Events:
        """Everything that was taken so far."""
        return self._reader.events()

    def look(self) -> None:
        """Take the lines that have been written since; never raises."""
        if self.problem is None:
            try:
                for line in self._new_lines():
                    self._take(line)
            except RecordError as error:
                self.problem = str(error)

    def finish(self, code: int) -> None:
        """Take the rest, the command having ended with this code: a last line may lack its end.

        Of a killed command it is not counted, of one that failed only if it is whole.
        """
        self.look()
        if self.problem is None and self._rest.strip() and code >= 0:
            try:
                self._take(self._rest)
            except RecordError as error:
                self.problem = str(error) if code == 0 else None

    def _take(self, line: bytes) -> None:
        self._lines += 1
        self._reader.take(self._lines, line)

    def _new_lines(self) -> Any:
        try:
            size = self._path.stat().st_size
            if size > MOST_BYTES:
                raise RecordError(contract.TOO_LONG.format(self._path, size, MOST_BYTES))
            if size < self._taken_bytes:
                raise RecordError(f"{self._path}: shorter than before: open it to append (mode 'a')")
            with self._path.open("rb") as file:
                file.seek(self._taken_bytes)
                new = file.read(size - self._taken_bytes)
        except FileNotFoundError:
            if self._taken_bytes:
                raise RecordError(f"{self._path}: it was removed: open it to append (mode 'a')") from None
            return []
        except OSError as error:
            raise RecordError(f"{self._path}: not readable: {error.strerror}") from None
        self._taken_bytes += len(new)
        lines = (self._rest + new).split(b"\n")
        self._rest = lines.pop()
        return lines
