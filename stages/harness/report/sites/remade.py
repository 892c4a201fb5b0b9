"""The report of a session from elsewhere, made anew of its records: a page that was sent may run what it likes."""

from pathlib import Path

from stages import codec, records
from stages.harness.comparison.runs import read_images
from stages.harness.report import page, table
from stages.harness.sites.sessions import Session


def remake(session: Session, folder: Path) -> str | None:
    """Write the report of what lies in the folder, in place of the one that came with it.

    Returns why there is none, None where there is one.
    """
    for path in (records.REPORT_PATH, records.PAGE_PATH):
        (folder / path).unlink(missing_ok=True)
    if not (folder / records.COMPARISON_PATH).exists():
        return "it has no comparison: the run was cut off"
    try:
        compared = codec.read(folder / records.COMPARISON_PATH, records.Comparison)
        if {each.setting for each in compared.settings} != {each.setting for each in session.params.cells()}:
            return "its comparison is of other settings than its params.yaml"
        images = read_images(session.params.images, folder)
        html = page.html(compared, session.results, session.params, session.profiles, images, folder)
        markdown = table.markdown(compared)
    except Exception as error:  # whoever made the records may have made them so that a page of them is impossible
        return f"its records make none: {type(error).__name__}: {error!s:.200}"
    codec.write_text(folder / records.PAGE_PATH, html)
    codec.write_text(folder / records.REPORT_PATH, markdown)
    return None
