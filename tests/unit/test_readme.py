"""README's table of faults names tests that are there, and all that there are."""

import re

import pytest

from tests.project import ROOT

SECTION = (ROOT / "README.md").read_text(encoding="utf-8").partition("\n## Reliability\n")[2].partition("\n## ")[0]
ROWS = [line for line in SECTION.splitlines() if line.startswith("| ")][1:]  # without the head
NAMED = re.compile(r"`(?P<file>tests/[\w/]+\.py)?(?:(?:\.\.\.)?::(?P<test>[\w*]+)(?:\[(?P<case>[^\]]+)\])?)?`")
NO_FAULTS = {  # of tests/faults and tests/engine: what they are about instead
    "tests/engine/test_image.py": "what is built and what it holds",
    "tests/engine/test_inside.py": "how a command runs in an image",
    "tests/engine/test_limits.py": "what a container may use",
    "tests/engine/test_preflight_inside.py": "what preflight finds",
    "tests/engine/test_profile.py": "what a container is seen to have",
    "tests/faults/test_preflight.py": "what preflight finds",
}


def named(row: str) -> list[tuple[str, str | None, str | None]]:
    """File, test and case of each test that the row names; without a file it is that of the name before."""
    found, file = [], ""
    for match in NAMED.finditer(row.rstrip(" |").rpartition(" | ")[2]):
        file = match["file"] or file
        found.append((file, match["test"], match["case"]))
    return found


@pytest.mark.parametrize("row", ROWS, ids=lambda row: row.split(" | ")[0].strip("| ")[:60])
def test_every_row_names_tests_that_are_there(row: str) -> None:
    found = named(row)
    assert found, "no test"
    for file, test, case in found:
        assert (ROOT / file).is_file(), file
        text = (ROOT / file).read_text(encoding="utf-8")
        pattern = (test or "test_*").replace("*", r"\w*")
        assert re.search(rf"^ *def {pattern}\(", text, re.MULTILINE), f"{file}::{test}"
        assert case is None or f'"{case}"' in text, f"{file}::{test}[{case}]"


def test_every_file_of_faults_is_named() -> None:
    there = {
        str(path.relative_to(ROOT)) for part in ("faults", "engine") for path in (ROOT / "tests" / part).glob("test_*")
    }
    assert len(ROWS) > 40
    assert there - {file for row in ROWS for file, _, _ in named(row)} == set(NO_FAULTS)


def test_what_the_legacy_images_carry_is_named_with_its_version() -> None:
    text = (ROOT / "README.md").read_text(encoding="utf-8")
    paragraph = text.partition("The legacy images knowingly carry")[2].partition("\n\n")[0]
    stated = set(re.findall(r"([A-Za-z]\w+)\s(\d+\.\d+(?:\.\d+)?)", paragraph)) - {
        ("Python", "3.7"),
        ("torch", "1.2.0"),
    }
    assert len(stated) == 7
    locked = set(re.findall(r"^(\S+?)==(\S+)", (ROOT / "docker/legacy.in").read_text(), re.MULTILINE))
    assert stated <= locked
