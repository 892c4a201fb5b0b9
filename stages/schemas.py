"""JSON schemas of every record, for who reads or writes one elsewhere: docs/schema.

    python -m stages.schemas           write them, as the records of this checkout are
    python -m stages.schemas --check   end with 1 where those that are there are of other records

They are made of the dataclasses; after a change of one, write them anew and commit them.
"""

import argparse

from stages import codec
from stages.errors import FaceoffError, run_entry
from stages.harness.report import schemas


def main() -> int:
    """Write docs/schema, or check it."""
    parser = argparse.ArgumentParser(
        prog=".venv/bin/python -m stages.schemas", description="JSON schemas of the records."
    )
    parser.add_argument("--check", action="store_true", help="write nothing; say what is not as it should be")
    check = parser.parse_args().check
    wanted = schemas.texts()
    there = {path: path.read_text(encoding="utf-8") for path in schemas.SCHEMAS_DIR.glob("*.json")}
    other = sorted(path for path in {*wanted, *there} if wanted.get(path) != there.get(path))
    if check and other:
        raise FaceoffError(
            f"{', '.join(map(str, other))}: not as the records are; run `.venv/bin/python -m stages.schemas`"
        )
    for path in other:
        if path in wanted:
            codec.write_text(path, wanted[path])
        else:
            path.unlink()
    return 0


if __name__ == "__main__":
    run_entry(main)
