"""Stage train: one cell of the matrix. Runs inside an image: Python 3.7 syntax.

python -m stages.train --image host --precision fp32 --batch-size 16 --repeat 1
"""

import shutil
import time

from stages.codec import write
from stages.errors import run_entry


def main() -> int:
    began = time.perf_counter()
    from stages.workload.cell import train  # importing torch counts for the cell's wall time
    from stages.workload.failures import recorded
    from stages.workload.inputs import parse_cell, read_recipe

    cell = parse_cell("Train one cell and record its epochs.")
    recipe = read_recipe()
    # DVC leaves persistent outputs of an earlier run in place; none of it may be taken for this run's. A checkpoint is
    # of a run that did not end, or whose end DVC did not live to note.
    if cell.train_path.exists():
        cell.train_path.unlink()
    shutil.rmtree(str(cell.model_dir), ignore_errors=True)
    with recorded(cell.running_path):
        result = train(cell, recipe, began)
        write(cell.train_path, result)
    print("{}, repeat {}: {}".format(cell.setting, cell.repeat, result.reason or "ok"))
    return 0


if __name__ == "__main__":
    run_entry(main)
