"""The report of a face-off: reports/faceoff.html and, for a pull request, reports/faceoff.md."""

import sys

from stages import codec, records
from stages.harness.comparison.face_off import FaceOff
from stages.harness.report import page, table


def write(found: FaceOff) -> None:
    """Write both, and say of each result that does not count why."""
    for result in found.results:
        if result.status == "refused":
            print(f"faceoff: refused: {result.reason}", file=sys.stderr)
    codec.write_text(records.REPORT_PATH, table.markdown(found.compared))
    html = page.html(found.compared, found.results, found.wanted, found.profiles, found.images)
    codec.write_text(records.PAGE_PATH, html)
