"""What could keep the cells from running in this image, before the first of them: metrics/<image>/preflight.json.

    python -m stages.preflight_inside --task models/cuda-10.0.task.json

What stage `profile` does last, alone: `make preflight`. Ends with 1 and a line for each check that failed.

Runs inside images: Python 3.7 syntax.
"""

import argparse
import os
from pathlib import Path

from stages import codec, records
from stages.errors import run_entry
from stages.visible_cards import VISIBLE
from stages.workload import facts, preflight
from stages.workload.probes import conditions
from stages.workload.scratch import leave_nothing_compiled


def main() -> int:
    parser = argparse.ArgumentParser(prog="python -m stages.preflight_inside")
    parser.add_argument("--task", required=True, type=Path, help="file that stages.inside has left")
    task = codec.read(parser.parse_args().task, records.ImageTask)  # type: records.ImageTask
    if task.job.total == records.WALL:  # to which the job's imports belong
        leave_nothing_compiled()
    moment = conditions.look(records.DATA_DIR, visible=os.environ.get(VISIBLE))
    code = preflight.run(task, facts.look(task.image)[0], moment)  # type: int
    return code


if __name__ == "__main__":
    run_entry(main)
