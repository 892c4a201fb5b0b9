"""Stands in for stages/image.py: nothing is built."""

import sys

from stages import codec, records
from tests import results

name = sys.argv[1]
codec.write(records.image_path(name), results.image(name))
