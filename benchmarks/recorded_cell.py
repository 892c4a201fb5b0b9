"""The job's training, with what fastai's own recorder reports of its epochs kept beside what the job reports of them.

Run inside an image by benchmarks/overhead.py, as the job's `train`: it takes the place of jobs/dogs_cats/run.py, which
lies beside it as real_run.py. Writes a JSON list of the recorder's seconds into FACEOFF_OUTPUT. Python 3.7 syntax.
"""

import importlib
import json
import os
import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]


def main():
    """Train as run.py does, and keep what the recorder formats."""
    from jobs.dogs_cats import learners, real_run

    seconds = []
    kind = type(learners.find())
    import_fastai = kind.import_fastai

    def import_and_record(self):
        import_fastai(self)
        importlib.import_module(kind.module).format_time = lambda value: seconds.append(value) or str(value)

    kind.import_fastai = import_and_record
    code = real_run.main()
    Path(os.environ["FACEOFF_OUTPUT"], "recorder.json").write_text(json.dumps(seconds))
    return code


if __name__ == "__main__":
    sys.path[0] = str(ROOT)
    from stages.errors import run_entry

    run_entry(main)
