"""What could keep the cells from running in this image, before the first of them: metrics/<image>/preflight.json.

    python -m stages.inside cuda-10.0 -- python -m stages.preflight_inside --image cuda-10.0

The second command of stage `profile`. Ends with 1 and a line for each check that failed.

Runs inside images: Python 3.7 syntax.
"""

import argparse

from stages import checks, codec, records
from stages.errors import run_entry


def main() -> int:
    parser = argparse.ArgumentParser(prog="python -m stages.preflight_inside")
    parser.add_argument("--image", required=True, help="name of the image this runs in")
    image = parser.parse_args().image
    path = records.preflight_path(image)
    if path.exists():
        path.unlink()
    from stages.workload import preflight  # imports torch, which the help need not wait for

    found = preflight.look_over(image)
    codec.write(path, records.Preflight(image, found))
    return checks.report(found, "preflight in " + image)


if __name__ == "__main__":
    run_entry(main)
