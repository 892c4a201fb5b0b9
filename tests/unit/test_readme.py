"""What README names is there."""

import re
from pathlib import Path

from tests.project import ROOT

NAMED = re.compile(r"`(?P<file>tests/[\w/]+\.py)?(?:\.\.\.)?::(?P<test>[\w*]+)")


def test_every_test_that_the_table_of_faults_names_is_there():
    named, file = [], None
    for match in NAMED.finditer((ROOT / "README.md").read_text(encoding="utf-8")):
        file = match["file"] or file
        named.append((file, match["test"]))
    missing = [(file, test) for file, test in named if not is_there(ROOT / file, test)]
    assert missing == []
    assert len(named) > 40


def is_there(path: Path, test: str) -> bool:
    pattern = test.replace("*", r"\w*")
    return re.search(rf"^ *def {pattern}\(", path.read_text(encoding="utf-8"), re.MULTILINE) is not None
