"""Run the pipeline, then add repeats until every verdict is settled, or the time is spent.

python -m stages.until --hours 2

What `make until` does. Repeats are added to params.yaml and stay there, and so does how many there were at each look
(compare.looks), for looking has its price. Only new repeats are run.
"""

import argparse
import time

from rich.console import Console

from stages import codec, records
from stages.errors import run_entry
from stages.harness.comparison.more_repeats import extension, unsettled
from stages.harness.params import schema
from stages.harness.params.overrides import merged
from stages.harness.params.schema import Params
from stages.harness.pipeline import repro
from stages.harness.process.locks import only_run
from stages.harness.results.read import read_all


def main() -> int:
    """Hold the lock of the checkout meanwhile."""
    parser = argparse.ArgumentParser(
        prog=".venv/bin/python -m stages.until", description="Add repeats until all is settled."
    )
    parser.add_argument("--hours", type=float, required=True, help="after which no more repeats are added")
    hours = parser.parse_args().hours
    with only_run():
        return until(time.monotonic() + 3600 * hours)


def until(end: float) -> int:
    """Run, and add repeats, until it is that late by time.monotonic(). The exit code."""
    console = Console()
    while True:
        wanted = schema.load()
        code = repro.repro(wanted, console)
        if code:
            return code
        compared = codec.read(records.COMPARISON_PATH, records.Comparison)
        if not unsettled(compared):
            print("faceoff: every verdict is settled, as far as repeats can settle it")
            return 0
        planned = extension(compared, read_all(wanted), end - time.monotonic())
        print(f"faceoff: {planned.words}")
        if not planned.repeats:
            return 0
        extend(wanted, planned.repeats)


def extend(wanted: Params, more: int) -> None:
    """Add so many repeats to params.yaml, and the look at those so far."""
    last = max(wanted.repeats)
    changed = {
        "repeats": [*wanted.repeats, *range(last + 1, last + 1 + more)],
        "compare": {"looks": [*wanted.compare.looks, len(wanted.repeats)]},
    }
    codec.write_text(schema.PARAMS_PATH, merged(schema.PARAMS_PATH.read_text(encoding="utf-8"), changed))


if __name__ == "__main__":
    run_entry(main, to_the_end=True)
