"""The file Cell.steps_path: a row for each span of a training that tells its steps, with the microseconds of each.

    span,microseconds
    epochs,91204 88013 87996

Whole microseconds, so that 10,000 steps of up to 100 s take 100 kB. A record names the file's sha256 (`Steps`).

Runs inside images: Python 3.7 syntax, standard library only.
"""

import csv
import io
import re
from pathlib import Path
from typing import Iterable, List, Sequence, Tuple

from stages.codec import RecordError

COLUMNS = ("span", "microseconds")
NONE = ",".join(COLUMNS) + "\n"  # the file of a training that tells none
_STEPS = re.compile(r"[0-9]+( [0-9]+)*")

Row = Tuple[str, Tuple[float, ...]]  # a span's name, and the seconds of its steps


def joined(seconds: Sequence[float]) -> str:
    """Return the steps of one span as a row has them."""
    return " ".join(["{:.0f}".format(each * 1e6) for each in seconds])


def parted(microseconds: str) -> Tuple[float, ...]:
    """Return the seconds of what `joined` has written."""
    return tuple(int(each) / 1e6 for each in microseconds.split())


def text(rows: Iterable[Row]) -> str:
    """Return the file."""
    file = io.StringIO(newline="")
    writer = csv.writer(file, lineterminator="\n")
    writer.writerow(COLUMNS)
    writer.writerows((name, joined(seconds)) for name, seconds in rows)
    return file.getvalue()


def rows(text: str, path: Path) -> Tuple[Row, ...]:
    """Return what the file holds. Raises RecordError, by file and line, for a row that is none."""
    reader = csv.reader(io.StringIO(text, newline=""), strict=True)
    found: List[Row] = []
    try:
        for number, row in enumerate(reader):
            is_row = tuple(row) == COLUMNS if number == 0 else len(row) == 2 and _STEPS.fullmatch(row[1])
            if not is_row:
                expected = "a span and the microseconds of its steps" if number else "the columns " + ",".join(COLUMNS)
                raise RecordError("expected {}, found {!r:.80}".format(expected, ",".join(row)))
            if number:
                found.append((row[0], parted(row[1])))
    except (RecordError, csv.Error) as error:
        raise RecordError("{}, line {}: {}".format(path, reader.line_num, error)) from None
    return tuple(found)
