"""Stands in for stages/evaluate.py: a cell's result at once."""

import sys

from stages import codec
from stages.errors import run_entry
from tests import results


def main() -> int:
    cell = results.cell_of(sys.argv[1:])
    codec.write(cell.evaluate_path, results.evaluated(cell))
    codec.write_text(cell.predictions_path, results.PREDICTIONS)
    return 0


if __name__ == "__main__":
    run_entry(main)
