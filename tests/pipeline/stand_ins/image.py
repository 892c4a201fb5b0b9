"""Stands in for stages/image.py: nothing is built."""

import sys

from stages import records
from tests import results

name = sys.argv[1]
records.write(records.image_path(name), records.Image(name, None, None, None, None, results.CONTENTS))
