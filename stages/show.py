"""Show the results that are there, measured here or as git has them: the table, and the page reports/faceoff.html.

It measures nothing, and changes nothing else. What `make show` does.

    python -m stages.show
"""

from rich.console import Console

from stages import records
from stages.errors import run_entry
from stages.harness.comparison import face_off
from stages.harness.params import schema
from stages.harness.report import pages, table
from stages.workload.probes import cpu


def main() -> int:
    """Compare what is there, write the page and show the table."""
    found = face_off.read(schema.load(), cpu.warnings)
    pages.write(found)
    table.show(found.compared, Console())
    print(f"\nAs a page: {records.PAGE_PATH}.")
    return 0


if __name__ == "__main__":
    run_entry(main, to_the_end=True)
