"""The environment as the job sees it, inside an image: metrics/<image>/facts.json, what stays the same from run to run,
and metrics/<image>/profile.json, the same with what moves.

    python -m stages.inside cuda-10.0 -- python -m stages.profile --image cuda-10.0

Runs inside images: Python 3.7 syntax.
"""

import argparse
import time
from typing import Tuple

from stages import codec, records
from stages.errors import run_entry
from stages.workload import facts, inputs
from stages.workload.probes import conditions


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--image", required=True, help="name of the image this runs in")
    image = parser.parse_args().image
    for path in (records.facts_path(image), records.profile_path(image)):
        if path.exists():
            path.unlink()
    began = time.perf_counter()
    found, import_seconds = facts.look(image)
    moment = conditions.look(records.DATA_DIR)
    looked_seconds = time.perf_counter() - began - import_seconds
    profile = records.Profile(found, moment, measurements(found), looked_seconds)
    codec.write(records.facts_path(image), found)
    codec.write(records.profile_path(image), profile)
    print("{}: {}".format(image, facts.describe(found)))
    return 0


def measurements(found: records.Facts) -> Tuple[records.Measurement, ...]:
    """What the machine can do with the recipe and the photos of this face-off."""
    params = inputs.read_params()
    seconds = params["profile"]["measure_seconds"]
    if seconds == 0:
        return ()
    from stages.workload.measure import measure  # imports numpy

    manifest = codec.read(records.MANIFEST_PATH, records.Manifest)
    photos = [records.PHOTOS_DIR / photo.path for photo in manifest.photos]
    measured: Tuple[records.Measurement, ...] = measure(
        seconds, found, inputs.read_recipe(), params["batch_sizes"], photos
    )
    return measured


if __name__ == "__main__":
    run_entry(main)
