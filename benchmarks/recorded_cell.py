"""A cell, with what fastai's own recorder reports of its epochs kept beside what faceoff reports of them.

Run inside an image by benchmarks/overhead.py. Writes a JSON list of the recorder's seconds. Python 3.7 syntax.

python recorded_cell.py OUTPUT ARGUMENT_OF_TRAIN ...
"""

import importlib
import json
import sys
from pathlib import Path

from stages import train
from stages.workload import learners


def main():
    output, seconds = Path(sys.argv[1]), []
    kind = type(learners.find())
    import_fastai = kind.import_fastai

    def import_and_record(self):
        import_fastai(self)
        importlib.import_module(kind.told_by).format_time = lambda value: seconds.append(value) or str(value)

    kind.import_fastai = import_and_record
    sys.argv = sys.argv[1:]
    train.main()
    output.write_text(json.dumps(seconds))


if __name__ == "__main__":
    main()
