"""What files of a pack hold, beside what records check: YAML of definitions, tables, text. It comes from elsewhere.

A few lines of YAML with aliases stand for gigabytes once they are written out, and a few more for billions of cells. A
cell of a table may be a formula, which the spreadsheet that opens it computes. JSON and YAML can spell half a
character, which no file and no terminal takes.
"""

import csv
import io
import json
import re
from typing import Any

import yaml

from stages.errors import FaceoffError
from stages.harness.formatting import is_formula
from stages.harness.params.jobs import JOBS_DIR
from stages.harness.params.schema import DOCKER_DIR, PARAMS_PATH

MOST_BYTES = 256 * 2**10
MOST_CELLS = 20_000
OF_YAML, OF_TABLES, OF_JSON = (".yaml", ".yml"), ".csv", ".json"
CODE = (f"{JOBS_DIR}/", f"{DOCKER_DIR}/")  # what no record lies in
MADE_ANEW = ("metrics/results.csv", "metrics/curves.csv")  # of the records, whatever came
NUMBER = re.compile(r"[-+]?[0-9.]+([eE][-+]?[0-9]+)?")
DEEPEST = 50  # what nests by the thousand takes its reader hours
OPENING = (
    yaml.FlowSequenceStartToken,
    yaml.FlowMappingStartToken,
    yaml.BlockSequenceStartToken,
    yaml.BlockMappingStartToken,
)
CLOSING = (yaml.FlowSequenceEndToken, yaml.FlowMappingEndToken, yaml.BlockEndToken)
HALF = re.compile(rb"\\ud[89a-f]", re.IGNORECASE)  # of a pair that stands for a character, as JSON spells it
AXES = ("repeats", "images", "variants")


def check(name: str, content: bytes) -> None:
    """Raise FaceoffError for a file that a pack should not hold, by its name and what is in it."""
    if name.endswith(OF_YAML):
        _check_yaml(name, content)
    elif name.endswith(OF_TABLES) and name not in MADE_ANEW:
        _check_table(name, content)
    elif name.endswith(OF_JSON) and not name.startswith(CODE) and HALF.search(content):
        _check_pairs(name, content)


def _check_yaml(name: str, content: bytes) -> None:
    if len(content) > MOST_BYTES:
        raise FaceoffError(f"{name}: longer than {MOST_BYTES // 2**10} KiB: expected a definition")
    try:
        _check_tokens(name, content)
        found = yaml.safe_load(content) if name == str(PARAMS_PATH) else {}
    except FaceoffError:
        raise
    except Exception as error:  # beside its own errors, what int() and date() say
        raise FaceoffError(f"{name}: not readable as YAML: {' '.join(str(error).split()):.200}") from None
    if _cells(found) > MOST_CELLS:
        raise FaceoffError(f"{name}: a matrix of more than {MOST_CELLS:,} cells")


def _check_table(name: str, content: bytes) -> None:
    """Raise FaceoffError for a cell that a spreadsheet would compute. Numbers below 0 are none."""
    reader = csv.reader(io.StringIO(content.decode("utf-8", errors="replace"), newline=""))
    try:
        for row in reader:
            for cell in row:
                if is_formula(cell) and not NUMBER.fullmatch(cell):
                    found = f"{name}, line {reader.line_num}: {cell!r:.80}"
                    raise FaceoffError(f"{found} is a formula to a spreadsheet: expected text or a number")
    except csv.Error as error:
        raise FaceoffError(f"{name}, line {reader.line_num}: not readable as CSV: {error}") from None


def _check_pairs(name: str, content: bytes) -> None:
    """Raise FaceoffError for half a character; what is no JSON is told where it is read."""
    try:
        json.dumps(json.loads(content), ensure_ascii=False).encode()
    except UnicodeEncodeError as error:
        half = error.object[error.start]
        raise FaceoffError(f"{name}: {half!r} is half a character, which is no text: expected its other half") from None
    except (ValueError, RecursionError):
        pass


def _check_tokens(name: str, content: bytes) -> None:
    """Raise FaceoffError at the first alias, and where it nests deeper than any definition does."""
    depth = 0
    for each in yaml.scan(content, yaml.SafeLoader):
        if isinstance(each, yaml.AliasToken):
            raise FaceoffError(f"{name}: has an alias (*name): expected YAML without: write out what it stands for")
        if isinstance(each, yaml.ScalarToken):
            each.value.encode()  # half a character is refused here
        depth += isinstance(each, OPENING) - isinstance(each, CLOSING)
        if depth > DEEPEST:
            raise FaceoffError(f"{name}: nests deeper than {DEEPEST} levels: expected a definition")


def _cells(params: Any) -> int:
    """Return how many cells params.yaml stands for, as far as it has the axes."""
    product = 1
    for axis in AXES:
        values = params.get(axis) if isinstance(params, dict) else None
        product *= max(1, len(values)) if isinstance(values, list | dict) else 1
    return product
