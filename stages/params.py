"""Check params.yaml, its job and its images before anything is downloaded or built.

--preset lays presets/NAME.yaml over it.

python -m stages.params [--preset NAME]
"""

import argparse
from pathlib import Path

from stages import codec
from stages.errors import run_entry
from stages.harness.environments import commands
from stages.harness.environments import definition as images
from stages.harness.params import jobs, schema
from stages.harness.params.schema import Params
from stages.harness.process.locks import only_run
from stages.harness.process.signals import stop_signals


@stop_signals()
def main() -> int:
    """Read the command line, and look over what it leads to."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--preset", metavar="NAME", help="a file of presets/, without .yaml")
    preset = parser.parse_args().preset
    if preset is None:
        look_over(schema.load())
        return 0
    with only_run():  # or it would change under a run's feet
        text = schema.with_preset(preset)
        look_over(schema.parse(text, f"{schema.PARAMS_PATH} with preset {preset}"))
        codec.write_text(schema.PARAMS_PATH, text)
    return 0


def look_over(wanted: Params) -> None:
    """Raise what is wrong with the images, the job's folder or, by the job's own check, its variants."""
    root = Path.cwd()
    for name in wanted.images:
        images.load(name, root)
    definition = jobs.load(wanted.job, root)
    jobs.folders(wanted.job, definition, root)
    for line in jobs.warnings(wanted.job, definition):
        print(f"warning: {line}")
    jobs.record(wanted.job, definition, wanted.section, wanted.seed, root)
    commands.check(wanted, root)


if __name__ == "__main__":
    run_entry(main, to_the_end=True)
