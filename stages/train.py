"""Stage train: the training of one cell. Runs inside an image, where stages.inside starts it.

    python -m stages.train --task models/host/fp32-bs16/1.train.task.json

Runs inside images: Python 3.7 syntax, standard library only.
"""

from stages.errors import run_entry
from stages.workload import supervisor


def main() -> int:
    """Run this stage of the cell that --task describes."""
    code: int = supervisor.main("train")
    return code


if __name__ == "__main__":
    run_entry(main)
