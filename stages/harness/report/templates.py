"""How pages are written of templates: strictly, and with all text escaped."""

from pathlib import Path

import jinja2


def environment(folder: Path) -> jinja2.Environment:
    """Return what renders the folder's templates: an unknown name is an error, and no text of a record is HTML."""
    return jinja2.Environment(
        loader=jinja2.FileSystemLoader(folder),
        autoescape=True,
        undefined=jinja2.StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
