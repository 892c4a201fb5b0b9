"""Stands in for stages/profile.py: the same facts in every image, and conditions that move."""

import dataclasses
import sys
import time

from stages import codec, records
from tests import results

image = sys.argv[sys.argv.index("--image") + 1]
codec.write(records.facts_path(image), results.facts(image))
profile = results.profile(image)
moved = dataclasses.replace(profile.conditions, memory_available_bytes=time.time_ns())
codec.write(records.profile_path(image), dataclasses.replace(profile, conditions=moved))
