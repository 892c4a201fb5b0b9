"""Stage evaluate: predict one cell's validation photos. Runs inside an image: Python 3.7 syntax.

python -m stages.evaluate --image host --precision fp32 --batch-size 16 --repeat 1
"""

import time

from stages.codec import write
from stages.errors import run_entry


def main() -> int:
    began = time.perf_counter()
    from stages.workload.cell import evaluate
    from stages.workload.failures import recorded
    from stages.workload.inputs import parse_cell, read_recipe

    cell = parse_cell("Evaluate one cell's trained network, without and with test-time augmentation.")
    recipe = read_recipe()
    # DVC leaves persistent outputs of an earlier run in place; none of it may be taken for this run's.
    for path in (cell.evaluate_path, cell.predictions_path):
        if path.exists():
            path.unlink()
    with recorded(cell.running_path):
        result = evaluate(cell, recipe, began)
        write(cell.evaluate_path, result)
    return 0


if __name__ == "__main__":
    run_entry(main)
