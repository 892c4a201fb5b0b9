"""The end of a session that session.max_hours in params.yaml announces.

It counts from the begin of the run, which stage `machine` notes in every run of the pipeline.
Runs inside images: Python 3.7 syntax, standard library only.
"""

import datetime
import math

from stages.codec import read
from stages.records import SESSION_PATH, Session
from stages.workload.inputs import read_params


def end() -> float:
    """When the session ends, as time.time() has it; infinite where it does not."""
    hours = read_params()["session"]["max_hours"]
    if hours is None:
        return math.inf
    return datetime.datetime.fromisoformat(read(SESSION_PATH, Session).began_at).timestamp() + hours * 3600
