"""What a job reaches alone is measured once a setting: it explains, and costs time in each cell that measures it."""

from pathlib import Path

from stages import codec
from stages.records import Cell, Result
from tests import attempts

SCRIPT = """
import json, os
if json.loads(os.environ["FACEOFF_CELL"])["ceilings"]:
    event = {"ceilings": {"loader_samples_per_second": 8.0, "compute_samples_per_second": 4.0}}
    open(os.environ["FACEOFF_EVENTS"], "a").write(json.dumps(event) + "\\n")
"""


def measured(root: Path, cell: Cell) -> bool:
    done = attempts.attempt(root, SCRIPT, cell)
    assert done.returncode == 0, done.stderr
    return codec.read(root / cell.result_path("train"), Result).ceilings is not None


def test_one_repeat_of_each_setting_measures_them(tmp_path: Path) -> None:
    root = attempts.make(tmp_path, repeats=[1, 2], variants={"plain": {}, "other": {}})
    assert measured(root, Cell("host", "plain", 1))
    assert not measured(root, Cell("host", "plain", 2))
    assert measured(root, Cell("host", "other", 1))
    assert measured(root, Cell("host", "plain", 1))  # again, in place of the one that had them


def test_a_result_that_is_cut_short_does_not_count(tmp_path: Path) -> None:
    root = attempts.make(tmp_path, repeats=[1, 2])
    assert measured(root, Cell("host", "plain", 1))
    path = root / Cell("host", "plain", 1).result_path("train")
    path.write_bytes(path.read_bytes()[:-100])
    assert measured(root, Cell("host", "plain", 2))
