"""Stands in for stages/preflight_inside.py: refuses where there is a file `refuse-inside`."""

import sys
from pathlib import Path

from stages import codec, records
from stages.errors import FaceoffError, run_entry


def main() -> int:
    if Path("refuse-inside").exists():
        raise FaceoffError("this image is refused, as the file `refuse-inside` asks")
    image = sys.argv[sys.argv.index("--image") + 1]
    codec.write(records.preflight_path(image), records.Preflight(image, ()))
    return 0


if __name__ == "__main__":
    run_entry(main)
