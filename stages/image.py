"""Stage `image`: build, pull or make the image unless it is here, check what it holds, and write that to metrics.

Looked at in every run: an image that is still what it was keeps its record, and what depends on it.

    python -m stages.image cuda-10.0
"""

import argparse
import sys
from pathlib import Path

from stages import codec, records
from stages.errors import FaceoffError, run_entry
from stages.harness.cells import failures
from stages.harness.environments import select
from stages.harness.params import schema
from stages.harness.process.dvc_lock import dvc_stage


@dvc_stage
def main() -> int:
    parser = argparse.ArgumentParser(prog=".venv/bin/python -m stages.image")
    parser.add_argument("image", help="a folder of docker/")
    name: str = parser.parse_args().image
    root = Path.cwd()
    output, wanted = root / records.image_path(name), schema.load(root)
    try:
        environment = select.environment(name, wanted, root)
        before = codec.find(output, records.Image)
        output.unlink(missing_ok=True)
        codec.write(output, environment.make(before, print))
    except FaceoffError as error:
        if wanted.on_failure == "stop":
            raise
        failures.record_image(name, str(error), (output,))
        print(f"faceoff: {error}", file=sys.stderr)
        print(f"faceoff: image {name}: recorded as failed, with its cells; the next run tries again", file=sys.stderr)
    return 0


if __name__ == "__main__":
    run_entry(main)
