"""Check params.yaml and its images before anything is downloaded or built; --preset lays presets/NAME.yaml over it.

python -m stages.params [--preset NAME]
"""

import argparse
from pathlib import Path

from stages import codec
from stages.errors import run_entry
from stages.harness.environments import images
from stages.harness.params import schema
from stages.harness.process.locks import only_run


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--preset", metavar="NAME", help="a file of presets/, without .yaml")
    preset = parser.parse_args().preset
    if preset is not None:
        with only_run():  # or it would change under a run's feet
            codec.write_text(schema.PARAMS_PATH, schema.with_preset(preset))
    for name in schema.load().images:
        images.load(name, Path())
    return 0


if __name__ == "__main__":
    run_entry(main)
