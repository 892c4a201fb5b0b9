"""The job's own measurements: its `measure` command, run inside the image within the time that is left.

Runs inside images: Python 3.7 syntax, standard library only.
"""

import json
import os
from typing import Optional, Tuple

from stages import contract
from stages.contract import JobMeasurement
from stages.errors import FaceoffError
from stages.records import Facts, ImageTask, data_dir
from stages.workload.scratch import scratch_folder
from stages.workload.supervisor import command, reasons
from stages.workload.supervisor.follower import Follower


def run(
    task: ImageTask, facts: Facts, seconds: float, start_seconds: float = 0.0
) -> Tuple[Tuple[JobMeasurement, ...], Optional[str]]:
    """Return what the command told in so many seconds, and why that is not all, if so.

    `start_seconds`: how much later it is ended, since beginning with a GPU is no measurement.
    """
    if task.measure is None or seconds <= 0:
        return (), "no time was left for it: raise profile.measure_seconds in params.yaml"
    with scratch_folder(task.image) as folder:
        path = folder / "events.jsonl"
        path.touch()
        follower = Follower(path)
        seam = {
            contract.EVENTS: str(path),
            contract.DATA: str(data_dir(task.job.name).absolute()),
            contract.CELL: json.dumps(document(task, facts, seconds)),
        }
        try:
            ended = command.run(
                task.measure,
                task.job.directory,
                {**os.environ, **seam},
                follower.look,
                limit_seconds=seconds + start_seconds,
            )
            follower.finish(ended.code)
            if ended.overdue:
                raise FaceoffError(
                    f"not done within {seconds + start_seconds:.0f} s: raise profile.measure_seconds in params.yaml"
                )
            reasons.check(ended, follower.events.error, follower.problem, None)
        except FaceoffError as error:
            return follower.events.measurements, str(error).replace(str(path), "its events")
        return follower.events.measurements, None


def document(task: ImageTask, facts: Facts, seconds: float) -> dict:
    """Return what FACEOFF_CELL tells the command."""
    return {
        "job": task.job.name,
        "section": json.loads(task.job.section_json),
        "image": task.image,
        "variants": [cell.belongs.variant.parameters for cell in task.cells],
        "usable_cpus": facts.hardware.limits.usable_cpus,
        "seconds": seconds,
    }
