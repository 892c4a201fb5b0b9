"""What is made of a session's records, made anew of them here: a page that was sent may run what it likes."""

from pathlib import Path

from stages import codec, records
from stages.harness.comparison.runs import read_images
from stages.harness.report import page, table, tidy
from stages.harness.sites.sessions import Session

MADE = (records.REPORT_PATH, records.PAGE_PATH, records.RESULTS_PATH, records.CURVES_PATH)


def remake(session: Session, folder: Path) -> str | None:
    """Write the report and the table of what lies in the folder, in place of those that came with it.

    Returns why there is no report, None where there is one.
    """
    for path in MADE:
        (folder / path).unlink(missing_ok=True)
    try:
        return _remake(session, folder)
    except Exception as error:  # whoever made the records may have made them so that a page of them is impossible
        return f"its records make none: {type(error).__name__}: {error!s:.200}"


def _remake(session: Session, folder: Path) -> str | None:
    images = read_images(session.params.images, folder)
    of_run = session.job, session.machine, session.results, session.params.variants, session.profiles, images
    codec.write_text(folder / records.RESULTS_PATH, tidy.text(*of_run))
    if not (folder / records.COMPARISON_PATH).exists():
        return "it has no comparison: the run was cut off"
    compared = codec.read(folder / records.COMPARISON_PATH, records.Comparison)
    if {each.setting for each in compared.settings} != {each.setting for each in session.params.cells()}:
        return "its comparison is of other settings than its params.yaml"
    html = page.html(compared, session.results, session.params, session.profiles, images, folder)
    codec.write_text(folder / records.PAGE_PATH, html)
    codec.write_text(folder / records.REPORT_PATH, table.markdown(compared))
    return None
