"""What could keep the cells from running in this image, before the first of them: metrics/<image>/preflight.json.

    python -m stages.preflight_inside --task models/cuda-10.0.task.json [--profiled]

The second command of stage `profile`. Ends with 1 and a line for each check that failed.

Runs inside images: Python 3.7 syntax.
"""

import argparse
from pathlib import Path

from stages import checks, codec, records
from stages.errors import run_entry
from stages.workload import facts, preflight


def main() -> int:
    parser = argparse.ArgumentParser(prog="python -m stages.preflight_inside")
    parser.add_argument("--task", required=True, type=Path, help="file that stages.inside has left")
    parser.add_argument("--profiled", action="store_true", help="the image's facts have just been written")
    arguments = parser.parse_args()
    task = codec.read(arguments.task, records.ImageTask)  # type: records.ImageTask
    path = records.preflight_path(task.image)
    if path.exists():
        path.unlink()
    seen = codec.read(records.facts_path(task.image), records.Facts) if arguments.profiled else None
    found = preflight.look_over(task, seen or facts.look(task.image)[0])
    codec.write(path, records.Preflight(task.image, found))
    return checks.report(found, "preflight in " + task.image)


if __name__ == "__main__":
    run_entry(main)
