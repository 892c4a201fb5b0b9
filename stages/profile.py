"""Stage profile: the environment as the job sees it, inside an image.

    python -m stages.profile --task models/cuda-10.0.task.json [--preflight]

Writes metrics/<image>/facts.json, what stays the same from run to run, and metrics/<image>/profile.json, the same with
what moves and what was measured; then, with --preflight, does what stages.preflight_inside does: in one process, since
to start one takes time, in a container more. Runs inside images: Python 3.7 syntax.
"""

import argparse
import os
import time
from pathlib import Path

from stages import codec, records
from stages.errors import FaceoffError, run_entry
from stages.visible_cards import VISIBLE
from stages.workload import facts, job_cards, preflight
from stages.workload.measure import measure
from stages.workload.measure.process import MeasuringProcess
from stages.workload.probes import conditions
from stages.workload.scratch import leave_nothing_compiled


def main() -> int:
    parser = argparse.ArgumentParser(prog="python -m stages.profile")
    parser.add_argument("--task", required=True, type=Path, help="file that stages.inside has left")
    parser.add_argument("--preflight", action="store_true", help="look too whether the cells can run")
    arguments = parser.parse_args()
    task = codec.read(arguments.task, records.ImageTask)  # type: records.ImageTask
    if task.job.total == records.WALL:  # to which the job's imports belong
        leave_nothing_compiled()
    for path in (records.facts_path(task.image), records.profile_path(task.image)):
        if path.exists():
            path.unlink()
    began = time.perf_counter()
    with MeasuringProcess() as process:
        found, import_seconds = facts.look(task.image, process)
        check_cards(task, found)
        moment = conditions.look(records.DATA_DIR, visible=os.environ.get(VISIBLE))
        looked_seconds = time.perf_counter() - began - import_seconds
        measured = measure(task, found, process) if task.measure_seconds else ()
    codec.write(records.facts_path(task.image), found)
    codec.write(records.profile_path(task.image), records.Profile(found, moment, measured, looked_seconds))
    print(f"{task.image}: {facts.describe(found)}")
    return preflight.run(task, found, moment) if arguments.preflight else 0


def check_cards(task: records.ImageTask, found: records.Facts) -> None:
    """Raise FaceoffError where the image has or uses no card, and shall."""
    problem = job_cards.of_image(task, found)
    if problem is not None and problem.is_fatal:
        raise FaceoffError(f"image {task.image}: {problem.line}")


if __name__ == "__main__":
    run_entry(main)
