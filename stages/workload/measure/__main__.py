"""The process that measures: reads requests, writes answers, each a line of JSON. See process.py.

    python -m stages.workload.measure 5          5: the pipe to answer by, which its parent has opened

Runs inside images: Python 3.7 syntax, standard library only; what it measures with is imported when it is asked to.
"""

import importlib
import json
import os
import sys
import warnings
from typing import Iterator

from stages.errors import FaceoffError
from stages.workload.measure.sampling import NotPossible


def main() -> int:
    os.set_inheritable(int(sys.argv[1]), False)  # or what it starts and forgets would keep it open
    answers = os.fdopen(int(sys.argv[1]), "w", buffering=1)
    warnings.simplefilter("ignore")
    for line in sys.stdin:
        for answer in _answers(**json.loads(line)):
            answers.write(json.dumps(answer) + "\n")
    return 0


def _answers(module: str, function: str = "", arguments: dict = {}) -> Iterator[dict]:  # noqa: B006 - not changed
    """Import the module; with a function, all that it tells."""
    try:
        imported = importlib.import_module(module)
        for each in getattr(imported, function)(**arguments) if function else ():
            yield {"detail": each} if isinstance(each, str) else {"sample": each}
        yield {"failure": None}
    except (NotPossible, FaceoffError) as reason:
        yield {"failure": str(reason)}
    except Exception as error:  # whatever a part raises is its answer: the others go on
        yield {"failure": "{}: {}".format(type(error).__name__, (str(error).splitlines() or [""])[0])}


if __name__ == "__main__":
    sys.exit(main())
