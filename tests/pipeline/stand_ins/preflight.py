"""Stands in for stages/preflight.py: refuses where there is a file `refuse`."""

import sys
from pathlib import Path

if Path("refuse").exists():
    sys.exit("faceoff: this machine is refused, as the file `refuse` asks")
