"""Stands in for stages/profile.py: the same facts in every image, and conditions that move."""

import dataclasses
import sys
import time

from stages import codec, records
from stages.errors import run_entry
from tests import results


def main() -> int:
    image = sys.argv[sys.argv.index("--image") + 1]
    codec.write(records.facts_path(image), results.facts(image))
    profile = results.profile(image)
    moved = dataclasses.replace(profile.conditions, memory_available_bytes=time.time_ns())
    codec.write(records.profile_path(image), dataclasses.replace(profile, conditions=moved))
    return 0


if __name__ == "__main__":
    run_entry(main)
