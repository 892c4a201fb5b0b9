"""Stands in for stages/preflight_inside.py: refuses where there is a file `refuse-inside`."""

import sys
from pathlib import Path

if Path("refuse-inside").exists():
    sys.exit("faceoff: this image is refused, as the file `refuse-inside` asks")
