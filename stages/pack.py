"""Make one zip of what a run left, to be collected on another machine: params, definitions, metrics, report.

    python -m stages.pack
    python -m stages.pack --output FILE

Data and models stay here, and so do secrets.
"""

import argparse
import sys
from pathlib import Path

from stages import variables
from stages.errors import run_entry
from stages.harness.process.locks import only_run
from stages.harness.process.signals import stop_signals
from stages.harness.sites.pack import pack
from stages.units import amount


@stop_signals()
def main() -> int:
    """Pack, and say where it lies and what stayed here."""
    parser = argparse.ArgumentParser(prog=".venv/bin/python -m stages.pack", description="One zip of what a run left.")
    parser.add_argument("--output", metavar="FILE", type=Path, help="where to; by itself a file of reports/")
    output = parser.parse_args().output
    with only_run():
        path, index, left_out = pack(output)
    for each in left_out:
        print(f"faceoff: not packed: {variables.shown(each)}", file=sys.stderr)
    print(f"{path}: session {index.session}, {len(index.files)} files, {amount(path.stat().st_size)}.")
    return 0


if __name__ == "__main__":
    run_entry(main)
