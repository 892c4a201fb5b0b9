"""The seam's predictions: which items a job predicted right, by the file that it wrote.

Runs inside images: Python 3.7 syntax, standard library only.
"""

import csv
import io
from pathlib import Path
from typing import Dict, List

from stages.codec import RecordError
from stages.contract import PREDICTION_COLUMNS


def read_predictions(text: str, path: Path) -> Dict[str, bool]:
    """Item: whether it was predicted right. Raises RecordError, by file and line, for what is no prediction."""
    rows = csv.reader(io.StringIO(text, newline=""), strict=True)
    found = {}  # type: Dict[str, bool]
    try:
        for number, row in enumerate(rows):
            values = row[: len(PREDICTION_COLUMNS)]
            whole = len(values) == len(PREDICTION_COLUMNS) and all(values) and not any("\ufffd" in each for each in row)
            if number == 0:
                _check_row(
                    tuple(values) == PREDICTION_COLUMNS, "the columns " + ",".join(PREDICTION_COLUMNS) + " first", row
                )
            elif row:
                _check_row(whole, "an item, its label and what was predicted", row)
                _check_row(values[0] not in found, "each item once", row)
                found[values[0]] = values[1] == values[2]
    except (RecordError, csv.Error) as error:
        raise RecordError("{}, line {}: {}".format(path, rows.line_num, error)) from None
    if rows.line_num == 0:
        raise RecordError("{}: expected the columns {} first, found nothing".format(path, ",".join(PREDICTION_COLUMNS)))
    return found


def _check_row(holds: bool, expected: str, row: List[str]) -> None:
    if not holds:
        raise RecordError("expected {}, found {!r:.80}".format(expected, ",".join(row)))
