"""Which setting was faster, by how much: metrics/comparison.json and reports/faceoff.md, from the results of every
cell of params.yaml. A cell without a result is a status with its reason, never a number.

    python -m stages.compare
"""

import sys

from stages import records
from stages.errors import run_entry
from stages.harness import cells, comparison, params, table


def main() -> int:
    for path in (records.COMPARISON_PATH, records.REPORT_PATH):
        path.unlink(missing_ok=True)
    wanted = params.load()
    results = cells.read_all(wanted)
    for result in results:
        if result.status == "refused":
            print(f"faceoff: refused: {result.reason}", file=sys.stderr)
    compared = records.Comparison(
        baseline=wanted.compare.baseline,
        recipe=wanted.recipe,
        dataset_sha256=records.read(records.DATASET_PATH, records.Dataset).sha256,
        cpu=records.read(records.MACHINE_PATH, records.Machine).cpu,
        settings=comparison.compare(results, wanted.compare.baseline),
    )
    records.write(records.COMPARISON_PATH, compared)
    records.write_text(records.REPORT_PATH, table.markdown(compared))
    print(table.conclusion(compared))
    return 0


if __name__ == "__main__":
    run_entry(main)
