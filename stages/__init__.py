"""faceoff's pipeline: an entry for each stage and command, and what they share. Read inside images too: Python 3.7."""

import sys
from types import TracebackType
from typing import Optional, Type

OWN = ("stages", "jobs", "reach", "benchmarks", "tests")


def _say_which_python(kind: Type[BaseException], error: BaseException, trace: Optional[TracebackType]) -> None:
    """Tell in one line of a Python that is not .venv's, or of a .venv that is not whole, instead of by a traceback."""
    lacks = isinstance(error, ModuleNotFoundError) and (error.name or "").partition(".")[0] not in OWN
    if lacks or (issubclass(kind, (ImportError, SyntaxError)) and sys.version_info < (3, 11)):
        advice = "run it with .venv/bin/python; where that fails too: `rm -r .venv`, then `make preflight`"
        print("faceoff: {} lacks what this needs ({}): {}".format(sys.executable, error, advice), file=sys.stderr)
    else:
        sys.__excepthook__(kind, error, trace)


if sys.argv[:1] == ["-m"]:  # `python -m stages.X` itself, and no job that imports what it shares with it
    sys.excepthook = _say_which_python
