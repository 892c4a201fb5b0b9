"""Stands in for stages/profile.py: the same profile in every image."""

import sys

from stages import records
from tests import results

image = sys.argv[sys.argv.index("--image") + 1]
records.write(records.profile_path(image), results.profile(image))
